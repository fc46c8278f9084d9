"""The report of a run: plain figures with their units in their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError

from squeeze.core.metrics import Quality
from squeeze.errors import UsageError
from squeeze.schema import Frozen
from squeeze.stages.gate.stage import GateResult
from squeeze.stages.prune.stage import PruneResult
from squeeze.stages.quantize.stage import QuantizeResult
from squeeze.stages.search.stage import SearchResult

__all__ = ["VERSION", "ModelRow", "RunReport"]

VERSION: Literal[1] = 1


class ModelRow(Frozen):
    """One model of the chain, from the teacher to the smallest file; what was not measured is None."""

    name: str
    """`teacher`, `student (torch)`, or the exported form such as `int8-dynamic`"""
    quality: Mapping[str, Quality] = {}
    """by split: validation, test and the further tests"""
    retention: float | None = None
    """share of the teacher's macro-F1 on the test split; 1.0 is all of it"""
    embedding_parameters: int | None = None
    other_parameters: int | None = None
    size_bytes: int | None = None
    """what is shipped: weights, and the tokenizer for exported files"""
    p50_ms: float | None = None
    p95_ms: float | None = None


class RunReport(Frozen):
    """The JSON document of `squeeze report`."""

    kind: Literal["run-report"] = "run-report"
    version: Literal[1] = VERSION
    name: str
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    """splits with figures, `test` first"""
    rows: tuple[ModelRow, ...]
    search: SearchResult | None = None
    """what the student was chosen from"""
    prune: PruneResult | None = None
    """what was cut, and what recovery gave back"""
    quantize: QuantizeResult | None = None
    """what rounding took, and what training gave back"""
    gate: GateResult | None = None
    digests: Mapping[str, str]
    """sha256 of every artefact by kind"""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a report that `squeeze report --json` wrote.

        Raises:
            UsageError: the file cannot be read or is not a report of this version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "document"
            message = f"{path}: not a run report of version {VERSION} ({where}: {first['msg']})"
            raise UsageError(
                message, hint="make one with: squeeze report RUN --json > report.json"
            ) from error
