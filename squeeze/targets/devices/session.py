"""A visit to a device: its runner is brought there, runs plans, and all is taken away afterwards."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from squeeze.artifact import Artifact, digest_file
from squeeze.errors import MissingBackend, SqueezeError, StageFailed
from squeeze.progress import Progress
from squeeze.targets.devices.ending import explain
from squeeze.targets.devices.facts import Condition, Device
from squeeze.targets.devices.golden import Golden
from squeeze.targets.devices.plan import Plan, feed_file, write
from squeeze.targets.devices.transport import COPY_S, Transport
from squeeze.targets.subjects import external_weights

__all__ = ["Session", "runner_for"]

GRACE_S = 30.0  # what a run may take beside its own limit, before the connection is given up
KERNEL = "/proc/sys/kernel/arch"
COMPLETE = "complete"  # a file that stands in the runner's folder when all of it is there


class Session:
    """Used as a context; what goes wrong while leaving is said and hides no other error.

    Args:
        transport: how to get there.
        runners: committed bundles by ABI.
        progress: told of each step.
        keep: leave the runner on the device, so that it need not be brought again.
    """

    def __init__(
        self, transport: Transport, runners: Mapping[str, Artifact], progress: Progress, *, keep: bool = False
    ) -> None:
        self.transport = transport
        self.work = f"{transport.base}/run-{secrets.token_hex(6)}"
        self._runners, self._progress, self._keep = runners, progress, keep
        self._runner: Artifact | None = None
        self.properties: Mapping[str, str] = {}
        self._answers = 0

    def __enter__(self) -> Self:
        self.transport.open()
        try:
            self._bring()
            self.properties = self.transport.properties()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def abi(self) -> str:
        """Of the runner that is there."""
        return str(self._bundle.result["abi"])

    def describe(self) -> tuple[Device, Condition]:
        """What the device is, and how it is now."""
        answer = self._result(["describe"], GRACE_S, "describing it")
        return Device.parse(answer["device"]), Condition.parse(answer["condition"])

    def kernel(self) -> str | None:
        """Processor that the device's kernel is for, in the words of `uname -m`; None before Linux 6.1."""
        done = self.transport.run(["cat", KERNEL])
        return done.out.decode(errors="replace").strip() or None

    def bring(self, goldens: Sequence[Golden]) -> tuple[str, ...]:
        """Copy models with their weights and feeds there; returns the models' names there."""
        files: dict[str, Path] = {}
        names = []
        with tempfile.TemporaryDirectory() as folder:
            for number, each in enumerate(goldens):
                path = each.subject.path
                names.append(f"m{number}/model{path.suffix}")
                files[names[-1]] = path
                files |= {f"m{number}/{other.name}": other for other in external_weights(path)}
                files |= _feeds(each, number, Path(folder))
            self._put(files, self.work)
        return tuple(names)

    def run(self, plan: Plan, what: str) -> dict[str, Any]:
        """Let the runner do what a plan says.

        Args:
            plan: what to do.
            what: the same in words, for messages.

        Returns:
            The runner's answer, see squeeze/targets/runner/runner.c.

        Raises:
            MissingBackend: the runner cannot be started there.
            StageFailed: the model cannot be run, the connection was lost, or time is over.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plan.txt"
            path.write_text(write(plan), encoding="utf-8")
            self.transport.push({"plan.txt": path}, self.work)
        return self._result(["run", self._library(), "plan.txt"], plan.limit_s + GRACE_S, what)

    def outputs(self, answer: Mapping[str, Any], model: int) -> list[list[NDArray[Any]]]:
        """Fetch what a plan with outputs gave for a model, feed by feed."""
        feeds = answer["golden"][model]["outputs"]
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder)
            self.transport.pull([each["file"] for feed in feeds for each in feed], self.work, to)
            return [[_array(each, to) for each in feed] for feed in feeds]

    @property
    def _bundle(self) -> Artifact:
        if self._runner is None:
            raise AssertionError("a session is used as a context")
        return self._runner

    @property
    def _home(self) -> str:
        """The runner's folder on the device; another runner has another."""
        return f"{self.transport.base}/runner-{self._bundle.digest[:12]}"

    def _bring(self) -> None:
        """Make our folders and see that the runner is there, whole."""
        self._runner = runner_for(self.transport, self._runners)
        self._must(["mkdir", "-p", self.transport.base, self._home, self.work], None, "make folders")
        if self.transport.run(["cat", COMPLETE], self._home).code == 0:
            return
        size = sum(path.stat().st_size for path in self._files().values())
        self._progress.log(f"{self.transport.name}: bringing the runner there, {size / 1e6:.0f} MB")
        self._put(self._files(), self._home)
        self._must(["chmod", "700", *self._bundle.result["programs"]], self._home, "make it a program")
        self._must(["touch", COMPLETE], self._home, "mark it as complete")

    def _files(self) -> dict[str, Path]:
        return {name: self._bundle.path / name for name in self._bundle.manifest["files"]}

    def _put(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files and compare their digests there."""
        parents = sorted({str(PurePosixPath(name).parent) for name in files} - {"."})
        if parents:
            self._must(["mkdir", "-p", *parents], folder, "make folders")
        self.transport.push(files, folder)
        done = self.transport.run(["sha256sum", *files], folder, COPY_S)
        # A name with a backslash makes sha256sum begin its line with one.
        found = [
            line.split()[0].lstrip("\\") for line in done.out.decode(errors="replace").splitlines() if line
        ]
        if done.code or found != [digest_file(path) for path in files.values()]:
            reason = done.last_line or "digests differ"
            raise StageFailed(f"{self.transport.name}: files in {folder} are not what was sent ({reason})")

    def _must(self, argv: Sequence[str], folder: str | None, what: str) -> None:
        done = self.transport.run(argv, folder)
        if done.code:
            raise StageFailed(f"{self.transport.name}: cannot {what} ({done.last_line})")

    def _result(self, words: Sequence[str], timeout_s: float, what: str) -> dict[str, Any]:
        """Start the runner and read its answer; each has its own name: none is taken for an earlier one."""
        self._answers += 1
        name = f"result.{self._answers}.json"
        home = f"../{PurePosixPath(self._home).name}"
        start = [word.replace("@", home) for word in self._bundle.result["start"]]
        try:
            done = self.transport.execute([*start, *words, name], self.work, timeout_s)
        except StageFailed as error:
            raise StageFailed(f"{error.message} while {what}", hint=error.hint) from error
        if done.code:
            raise explain(self.transport.name, done, what)
        with tempfile.TemporaryDirectory() as folder:
            self.transport.pull([name], self.work, Path(folder))
            try:
                answer: dict[str, Any] = json.loads((Path(folder) / name).read_bytes())
            except ValueError as error:
                raise StageFailed(f"{self.transport.name}: the runner's answer cannot be read") from error
        return answer

    def _library(self) -> str:
        return f"../{PurePosixPath(self._home).name}/{self._bundle.result['library']}"

    def _leave(self) -> None:
        """End what still runs and remove what is ours."""
        doomed = [self.work] if self._keep or self._runner is None else [self.work, self._home]
        try:
            self.transport.stop(self.work)
            self.transport.run(["rm", "-rf", *doomed])
            if not self._keep:
                self.transport.run(["rmdir", self.transport.base])  # stays while another session uses it
        except SqueezeError as error:
            self._progress.log(f"{error.message}; files may be left there in {self.transport.base}")


def runner_for(transport: Transport, runners: Mapping[str, Artifact]) -> Artifact:
    """The best of the bundles that a device can run.

    Raises:
        MissingBackend: there is none, and how to make one.
    """
    wanted = transport.abis()
    found = [runners[abi] for abi in wanted if abi in runners]
    if not found:
        raise MissingBackend(
            f"{transport.name}: there is no runner for {wanted[-1]} yet",
            hint=f"squeeze device bundle --abi {wanted[-1]}",
        )
    return found[0]


def _feeds(each: Golden, number: int, folder: Path) -> dict[str, Path]:
    """Raw files of all inputs of a model, little-endian as the device reads them."""
    files = {}
    for at, values in enumerate(each.feeds):
        for place, value in enumerate(values.values()):
            name = feed_file(number, at, place)
            (folder / name).write_bytes(np.ascontiguousarray(value).tobytes())
            files[name] = folder / name
    return files


def _array(told: Mapping[str, Any], folder: Path) -> NDArray[Any]:
    return np.frombuffer((folder / told["file"]).read_bytes(), told["type"]).reshape(told["sizes"])
