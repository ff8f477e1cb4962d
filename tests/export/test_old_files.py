"""Files that an older stackfuse wrote can still be read, checked and run."""

import io
import shutil
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from rich.console import Console
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._cli import inspect as _inspect

#: LogisticRegression(max_iter=1000) fitted on iris, by manifests of version 3.
OLD = Path(__file__).parent / "old_files"

FILES = ["iris.keras", "iris_saved_model", "iris.onnx", "iris.tflite", "iris.xml"]


@pytest.mark.parametrize("name", FILES)
def test_an_old_file_is_inspected_and_run(name):
    X, y = load_iris(return_X_y=True)
    assert _inspect.read_manifest(OLD / name)["manifest_version"] == 3
    shown = io.StringIO()
    assert _inspect.inspect(OLD / name, Console(file=shown, width=200), run=True) == 0
    assert "8 golden rows agree" in shown.getvalue()
    got = _inspect.outputs_of(OLD / name, {"x": X})
    expected = LogisticRegression(max_iter=1000).fit(X, y).predict_proba(X)
    assert_allclose(got["probabilities"], expected, atol=1e-3)  # other versions of scikit-learn


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "iris.keras"
    shutil.copy(OLD / "iris.keras", path)
    X, y = load_iris(return_X_y=True)
    sf.export(LogisticRegression(max_iter=1000).fit(X, y), path, verify=X)
    assert _inspect.read_manifest(path)["manifest_version"] == 5
