"""From the device that is asked for to its rates: a file, a stored calibration, or a row of the table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squeeze.errors import UsageError
from squeeze.estimates import calibration, table
from squeeze.estimates.calibration import Calibration
from squeeze.estimates.rates import Rates

__all__ = ["Known", "find"]


@dataclass(frozen=True)
class Known:
    """A device that can be estimated.

    Attributes:
        rates: in the middle.
        spread: factor from the middle to the ends.
        source: where the figures come from.
        calibrated: whether the device itself was measured.
        longest: tokens of the longest text that it was measured with.
    """

    rates: Rates
    spread: float
    source: str
    calibrated: bool
    longest: int | None = None


def find(device: str, threads: int, folder: Path) -> Known:
    """Look a device up; a stored calibration goes before the row of the table of the same name.

    Args:
        device: what stands behind `estimate:`.
        threads: asked for.
        folder: of stored calibrations.

    Raises:
        UsageError: nobody knows it, or not with so many threads.
    """
    if device.endswith(".json"):
        return _calibrated(Calibration.read(Path(device)), threads)
    kept = calibration.stored(folder)
    if device in kept:
        return _calibrated(Calibration.read(kept[device]), threads)
    row = table.rows().get(device)
    if row is None:
        raise UsageError(
            f"estimate:{device}: no such device is known",
            hint=f"one of {', '.join(dict.fromkeys((*kept, *table.rows())))}; see `squeeze device list`",
        )
    return Known(row.rates(threads), row.width(threads), row.source, calibrated=False)


def _calibrated(found: calibration.Calibration, threads: int) -> Known:
    if found.threads != threads:
        raise UsageError(
            f"threads {threads}: {found.target} was calibrated with {found.threads}",
            hint=f"--threads {found.threads}",
        )
    longest = max(each.length for each in found.samples)
    return Known(found.rates, found.spread, found.source, calibrated=True, longest=longest)
