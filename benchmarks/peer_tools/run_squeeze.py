"""Files of squeeze, opened as squeeze opens them by default."""

from __future__ import annotations

from pathlib import Path

from serving import Model, serve

from squeeze.targets.ort import open_session


def open_model(path: str, length: int | None) -> Model:
    """A session on one thread; any length."""
    assert length is None
    session = open_session(Path(path), threads=1)
    return Model([each.name for each in session.get_inputs()], lambda feed: session.run(None, feed)[0])


if __name__ == "__main__":
    serve(open_model)
