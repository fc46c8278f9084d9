"""Devices that tests share, each started once: a server on this machine, an Android device beside it."""

from __future__ import annotations

import pytest

from tests.targets.devices import phones, servers


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with servers.serving(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture(scope="session")
def only_android(tmp_path_factory):
    with phones.running(tmp_path_factory.mktemp("phone") / "root") as made:
        yield made


@pytest.fixture
def android(only_android):
    """A device with adbd of this machine's processor, as it was when it was new."""
    yield only_android
    only_android.renew()


@pytest.fixture(scope="session")
def forms(tmp_path_factory):
    """A student in the forms that are shipped, each also in ONNX Runtime's own format."""
    from squeeze.graphs import int8, lean, ort_format, static
    from squeeze.graphs.calibration import calibrate
    from tests import tiny  # with torch: for those tests only that ask for it

    folder = tmp_path_factory.mktemp("forms")
    made = {form: folder / f"{form}.onnx" for form in ("fp32", "int8-dynamic", "int8-static")}
    lean.export(tiny.encoder(labels=4), made["fp32"], 20)
    feeds = []
    for seed in range(8):
        ids, mask = tiny.batch(1, 11, seed)
        feeds.append({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    int8.quantize(made["fp32"], made["int8-dynamic"])
    static.quantize(made["fp32"], made["int8-static"], calibrate(made["fp32"], feeds, "minmax", 1))
    for form, path in list(made.items()):
        made[f"{form} ort"] = path.with_suffix(".ort")
        ort_format.convert(path, made[f"{form} ort"])
    return made
