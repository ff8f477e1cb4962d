"""One export to several files."""

from typing import Any

import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression, Ridge

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._export import exporting

NAMES = ["file.keras", "folder", "file.onnx", "file.tflite", "file.xml"]


@pytest.fixture(scope="module")
def model(iris):
    return LogisticRegression().fit(*iris)


def test_the_graph_is_built_once_for_each_precision(iris, model, tmp_path, monkeypatch):
    X, _ = iris
    built = []
    build_graph = exporting.build_graph

    def build(estimator, rows, build):
        built.append(build.precision)
        return build_graph(estimator, rows, build)

    monkeypatch.setattr(exporting, "build_graph", build)
    paths = [tmp_path / name for name in NAMES]
    reports = sf.export(model, paths, verify=X)
    assert built == ["float64", "float32"]
    assert [report.path for report in reports] == paths
    assert [r.format for r in reports] == ["keras", "saved_model", "onnx", "litert", "openvino"]
    assert all(report.n_rows == 150 for report in reports)
    for path in paths:
        got = _inspect.outputs_of(path, {"x": X})
        assert_allclose(got["probabilities"], model.predict_proba(X), atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, "file.bin"}


def test_nothing_is_written_if_one_file_cannot_be(model, tmp_path):
    class Inverse(Ridge):
        pass

    @sf.converter_for(Inverse)
    def _inverse(estimator, x, method):
        from keras import ops

        return ops.erfinv(ops.tanh(x[:, 0] * 0.0))

    odd = Inverse().fit([[0.0], [0.0]], [0.0, 0.0])
    with pytest.raises(sf.NotConvertible, match="LiteRT cannot run Erfinv"):
        sf.export(odd, [tmp_path / "a.keras", tmp_path / "b.tflite"], verify=[[0.0], [0.0]])
    assert not list(tmp_path.iterdir())


def test_what_a_list_of_paths_must_be(model, tmp_path):
    with pytest.raises(ValueError, match="path is an empty list"):
        sf.export(model, [], verify=False)
    with pytest.raises(ValueError, match=r"Two of the paths lead to .*a\.keras"):
        sf.export(model, [tmp_path / "a.keras", str(tmp_path / "a.keras")], verify=False)
    paths: Any = [tmp_path / "a.keras", tmp_path / "b.keras"]
    with pytest.raises(ValueError, match="format='keras' works with one path"):
        sf.export(model, paths, format="keras")
    assert sf.export(model, [tmp_path / "a.keras"], verify=False)[0].n_rows == 0
