"""Write a first profile for a model and a data file, with a recipe that ends soon on this machine."""

from __future__ import annotations

from squeeze.init.writing import Wanted, Written, write

__all__ = ["Wanted", "Written", "write"]
