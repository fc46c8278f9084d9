from __future__ import annotations

import logging

from squeeze import pipeline
from squeeze.graphs import difference
from squeeze.graphs.complaints import complaints
from squeeze.progress import Silent
from squeeze.report.evidence import gather
from tests import finished_run

LOGGER = logging.getLogger("onnx_ir.passes.common.shape_inference")


def complain() -> None:
    """As the pass does with a node whose name is no UTF-8."""
    LOGGER.warning("Shape inference failed", exc_info=ValueError("no UTF-8"))


def test_a_traceback_becomes_a_line_and_stays_off_the_terminal(caplog):
    with complaints() as found:
        complain()
        LOGGER.warning("input %r is in no scope", "x")
        LOGGER.info("nothing of interest")
    assert found == ["no UTF-8", "input 'x' is in no scope"]
    assert caplog.records == []


def test_a_report_on_a_file_that_onnx_ir_complains_about(tmp_path, monkeypatch, caplog):
    compare = difference.by_site

    def complaining(*args, **more):
        complain()
        return compare(*args, **more)

    monkeypatch.setattr(difference, "by_site", complaining)
    run = finished_run.make(tmp_path / "run")
    found = gather("demo", pipeline.open_stages(run), Silent())
    assert found.inside is not None
    assert found.inside.differences
    assert caplog.records == []
