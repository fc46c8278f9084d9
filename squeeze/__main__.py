"""`python -m squeeze` is the same as `squeeze`."""

from __future__ import annotations

import sys

from squeeze.cli import main

if __name__ == "__main__":
    sys.exit(main())
