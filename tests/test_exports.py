"""The cache of exported graphs gives the files that torch's exporter writes."""

from __future__ import annotations

from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from tests import tiny
from tests.exports import REAL, ExportCache

CHANGES = {
    "layers": (LayerShape(heads=3, ffn=24), LayerShape(heads=2, ffn=40)),
    "embedding": EmbeddingShape(kind="product", width=24, subvectors=8, codewords=16),
    "relative_bias": True,
}


def test_a_second_student_of_a_shape_gets_the_file_that_torch_exports(tmp_path, monkeypatch):
    cache = ExportCache(tmp_path / "cache")
    cache.export(tiny.encoder(seed=0, **CHANGES), tmp_path / "first.onnx", 20)
    student = tiny.encoder(seed=1, **CHANGES)
    REAL(student, tmp_path / "exported.onnx", 20)
    monkeypatch.setattr("tests.exports.REAL", None)
    cache.export(student, tmp_path / "cached.onnx", 20)
    assert (tmp_path / "cached.onnx").read_bytes() == (tmp_path / "exported.onnx").read_bytes()
    assert (tmp_path / "cached.onnx").read_bytes() != (tmp_path / "first.onnx").read_bytes()


def test_what_changes_the_graph_is_exported_again(tmp_path, monkeypatch):
    exported = []

    def export(student, path, opset):
        exported.append(opset)
        path.write_bytes(b"")

    monkeypatch.setattr("tests.exports.REAL", export)
    cache = ExportCache(tmp_path)
    students = [tiny.encoder(), tiny.encoder(labels=3), tiny.encoder(activation="relu"), tiny.encoder()]
    students[3].layers[1].load_state_dict(students[3].layers[0].state_dict())  # the graph may store them once
    for student in (*students, tiny.encoder(seed=1)):
        cache.export(student, tmp_path / "file.onnx", 20)
    cache.export(students[0], tmp_path / "file.onnx", 19)
    assert exported == [20, 20, 20, 20, 19]
