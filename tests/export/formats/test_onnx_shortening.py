"""Shorter ONNX graphs give the same numbers, bit for bit, with fewer operators."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._export.formats import onnx as _onnx

#: The most operators of a file, and how many were left out of it.
CASES = [
    (RandomForestClassifier(5, max_depth=3, random_state=0), 26, 7),
    (RandomForestRegressor(5, max_depth=3, random_state=0), 11, 3),
    (GradientBoostingRegressor(n_estimators=5), 20, 3),
    (GradientBoostingClassifier(n_estimators=5), 30, 7),
    (LogisticRegression(max_iter=500), 20, 7),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_shorter_graphs_give_the_same_bits(case, iris, tmp_path, monkeypatch):
    import onnx
    import onnxruntime

    (X, y), (model, most, fewer) = iris, case
    model.fit(X, y)
    sf.export(model, tmp_path / "short.onnx", verify=X)
    monkeypatch.setattr(_onnx, "shorten", lambda graph: None)
    sf.export(model, tmp_path / "long.onnx", verify=X)
    hard = [np.nan, np.inf, -np.inf, 1e39, -1e39, 3.4e38, 0.0]
    rows = np.vstack([X, *(np.where(np.eye(4, dtype=bool), value, X[:4]) for value in hard)])
    rows = np.vstack([rows, np.full((1, 4), np.nan), [[np.nan, np.inf, 1e39, 0.0]]])
    outputs, counts = [], []
    for name in ("short.onnx", "long.onnx"):
        counts.append(len(onnx.load(tmp_path / name).graph.node))
        session = onnxruntime.InferenceSession(tmp_path / name)
        outputs.append(session.run(None, {"x": rows}))
        alone = session.run(None, {"x": rows[:1]})
        for one, among in zip(alone, outputs[-1]):
            assert one.shape == (1, *among.shape[1:])
    for short, long in zip(*outputs):
        assert_array_equal(short, long)
    assert counts[0] <= most
    assert counts[1] - counts[0] >= fewer


@pytest.mark.parametrize(
    ("loss", "n_classes"), [("log_loss", 2), ("log_loss", 3), ("exponential", 2)]
)
def test_a_constant_start_of_boosting_is_scikit_learns(loss, n_classes, iris, tmp_path):
    """It was a logarithm, which converters to ONNX compute in float32: 3e-8 away."""
    import onnxruntime

    X, y = iris
    model = GradientBoostingClassifier(loss=loss, n_estimators=5).fit(
        X, np.minimum(y, n_classes - 1)
    )
    sf.export(model, tmp_path / "model.onnx", verify=X)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    got = session.run(["probabilities"], {"x": X})[0]
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=0, atol=1e-15)
