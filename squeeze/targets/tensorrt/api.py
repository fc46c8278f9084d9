"""The `tensorrt` module, and the one place where its majors differ.

TensorRT 10 (JetPack 6 and 7) and 11 share nearly all of what is needed here. What differs:

- Precision. 11 has strongly typed networks only, and its builder has no precision flags any more. 10 has
  them too, but a network can be created strongly typed, and ours always is: an engine of either major
  computes in the types that the graph says.
- Flags of a network. 10 must be told to be strongly typed; 11 ignores the flag and calls it deprecated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from squeeze.errors import MissingBackend
from squeeze.runtime import need

__all__ = ["MAJORS", "Api", "load"]

MAJORS = (10, 11)
KEPT = 3  # messages that are shown when a step fails


@dataclass(frozen=True)
class Api:
    """An imported `tensorrt`.

    Attributes:
        trt: the module.
        version: its version, such as `10.3.0`.
        log: the logger that every object is made with; keeps errors, so that a failure can give its reason.
        errors: what the logger has kept.
    """

    trt: Any
    version: str
    log: Any
    errors: list[str] = field(default_factory=list)

    @property
    def major(self) -> int:
        """10 or 11."""
        return int(self.version.split(".")[0])

    @property
    def network_flags(self) -> int:
        """What `create_network` is given, so that the graph alone decides on precision."""
        return 1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if self.major == 10 else 0

    def reason(self) -> str:
        """The last errors as one line."""
        return "; ".join(self.errors[-KEPT:]) or "TensorRT gives no reason"


def load() -> Api:
    """Import TensorRT.

    Raises:
        MissingBackend: it is not installed, does not load, or is of another major.
    """
    trt = need("tensorrt", extra="gpu")
    version = str(trt.__version__)
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) not in MAJORS:
        known = " or ".join(map(str, MAJORS))
        raise MissingBackend(f"tensorrt {version} is not supported", hint=f"install TensorRT {known}")
    errors: list[str] = []
    return Api(trt, version, _logger(trt, errors), errors)


def _logger(trt: Any, errors: list[str]) -> Any:
    """A logger that keeps errors and says nothing: progress is shown by whoever calls."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the base class must be called by name (its documentation)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(" ".join(msg.split()))

    return Log()
