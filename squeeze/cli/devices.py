"""`squeeze device`: runners for phones and boards, and what such a device is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from squeeze.cli.options import AsJson
from squeeze.cli.output import emit, emit_json, note, shown, writable

if TYPE_CHECKING:
    from squeeze.artifact import Artifact

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Reach phones and boards, or guess what they would take.",
)

Target: TypeAlias = Annotated[
    str, typer.Argument(metavar="TARGET", help="adb[:SERIAL] or ssh:[USER@]HOST[:PORT].")
]
DeviceDir: TypeAlias = Annotated[
    str | None, typer.Option("--device-dir", metavar="DIR", help="Folder for our files on the device.")
]
Keep: TypeAlias = Annotated[bool, typer.Option("--keep", help="Leave the runner there for the next time.")]


@app.command(epilog="Example: squeeze device bundle --abi linux-arm64 --download")
def bundle(
    abi: Annotated[str, typer.Option(metavar="ABI", help="linux-x86_64, linux-arm64 or android-arm64.")],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what is not given from PyPI and Debian.")
    ] = False,
    library: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ONNX Runtime for the device: .whl, .aar or .so.")
    ] = None,
    header: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with onnxruntime_c_api.h somewhere in it.")
    ] = None,
    libc: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the device's C library somewhere in it.")
    ] = None,
    device_libc: Annotated[
        bool, typer.Option("--device-libc", help="Use the C library that is on the device.")
    ] = False,
    ndk: Annotated[Path | None, typer.Option(metavar="DIR", help="Android's NDK, for android-arm64.")] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="ONNX Runtime to fetch; this machine's by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the program that measures on a kind of device.

    It is kept in the user's cache folder and brought to a device when something is measured there.
    """
    from squeeze.targets.devices import abi as kinds
    from squeeze.targets.devices import bundle as bundles

    sources = bundles.Sources(
        version=version or bundles.default_version(),
        library=library,
        header=header,
        libc=libc,
        device_libc=device_libc,
        ndk=ndk,
        download=download,
    )
    with shown() as progress:
        made, new = bundles.build(kinds.find(abi), sources, bundles.home(), progress)
    _tell(made, new=new, as_json=as_json)


@app.command(epilog="Example: squeeze device show ssh:pi@raspberrypi")
def show(target: Target, keep: Keep = False, device_dir: DeviceDir = None, as_json: AsJson = False) -> None:
    """Reach a device and say what it is: system, cores, clocks, temperature."""
    from squeeze.targets.devices.address import parse
    from squeeze.targets.devices.formats import description
    from squeeze.targets.devices.visiting import Habits, visit

    _only_on_devices(target, keep=keep, device_dir=device_dir)
    with shown() as progress, visit(parse(target), Habits(keep, device_dir), progress) as session:
        device, condition = session.describe()
        name, found = session.transport.name, dict(session.properties)
    if as_json:
        facts = {"device": device.plain(), "condition": condition.plain(), "properties": found}
        emit_json({"schema": 1, "target": name, **facts})
    else:
        emit(description(name, device, condition, found))


@app.command(epilog="Example: squeeze device clean adb")
def clean(target: Target, device_dir: DeviceDir = None) -> None:
    """Remove from a device what --keep or a lost connection left there."""
    from squeeze.targets.devices.address import parse
    from squeeze.targets.devices.visiting import Habits
    from squeeze.targets.devices.visiting import clean as remove

    emit(f"{target}: nothing of ours is left in {remove(parse(target), Habits(folder=device_dir))}")


@app.command(epilog="Example: squeeze device calibrate ssh:pi@raspberrypi")
def calibrate(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="cpu, adb[:SERIAL] or ssh:[USER@]HOST[:PORT].")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; the user's cache folder by default.")
    ] = None,
    keep: Keep = False,
    device_dir: DeviceDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure small graphs on a device, one thread, so that models can be estimated for it later.

    It takes minutes and wants a quiet device. Afterwards: squeeze bench MODEL --target estimate:NAME.
    """
    from squeeze.estimates import calibration
    from squeeze.estimates.calibrate import calibrate as measure_and_fit
    from squeeze.targets.devices.visiting import Habits
    from squeeze.targets.reach import measuring

    writable(out)
    _only_on_devices(target, keep=keep, device_dir=device_dir)
    path = out or calibration.home() / f"{calibration.name_of(target)}.json"
    with shown() as progress, measuring(target, Habits(keep, device_dir), progress) as measure:
        found = measure_and_fit(target, measure, progress)
    calibration.write(found, path)
    for text in found.notes:
        note(f"note: {text}")
    if as_json:
        emit_json(found.plain())
    else:
        emit(f"{path}: {found.source}; --target estimate:{path if out else path.stem}")


@app.command("list", epilog="Example: squeeze device list --json")
def list_known(as_json: AsJson = False) -> None:
    """List the devices that estimates know: stored calibrations, then the table of specifications."""
    from squeeze.estimates import calibration, text

    if as_json:
        emit_json({"schema": 1, "devices": text.listed(calibration.home())})
    else:
        emit(text.known(calibration.home()))


def _only_on_devices(target: str, *, keep: bool, device_dir: str | None) -> None:
    from squeeze.errors import UsageError
    from squeeze.targets.devices.address import Adb, Ssh, parse

    for option, given in (("--keep", keep), ("--device-dir", device_dir is not None)):
        if given and not isinstance(parse(target), Adb | Ssh):
            raise UsageError(f"{option}: no effect with {target}", hint="it goes with adb and ssh")


def _tell(made: Artifact, *, new: bool, as_json: bool) -> None:
    size = sum((made.path / name).stat().st_size for name in made.manifest["files"])
    if as_json:
        facts = {"abi": made.result["abi"], "path": str(made.path), "digest": made.digest}
        emit_json({"schema": 1, **facts, "size_bytes": size, "built": new})
    else:
        state = "built" if new else "unchanged"
        emit(f"{made.path}: {state}, {size / 1e6:.1f} MB, digest {made.digest[:12]}")
