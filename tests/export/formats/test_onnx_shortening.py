"""Shorter ONNX graphs give the same numbers, bit for bit, with fewer operators."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

import stackfuse as sf
from stackfuse._export.formats import onnx as _onnx
from stackfuse._export.formats.onnx_trees import largest_rounded_to
from stackfuse._export.formats.shorter_onnx import refusing_tree, shorten


def linear(model):
    """Return what `table_bases` puts around a linear model."""
    return make_pipeline(SimpleImputer(), StandardScaler(), model)


def network(build):
    """Return what `table_bases` puts around a network, one that is small."""
    small: dict[str, Any] = {"width": 8, "n_frequencies": 3, "embedding": 2}
    normal = QuantileTransformer(output_distribution="normal", n_quantiles=10)
    return make_pipeline(
        SimpleImputer(), normal, sf.KerasClassifier(build, random_state=0, **small)
    )


def stack_of(kind, *models, **settings):
    """Return a stack of bases."""
    bases = [(f"base {k}", model) for k, model in enumerate(models)]
    return kind(bases, cv=2, random_state=0, **settings)


#: The most operators of a file, and how many were left out of it.
CASES = [
    (RandomForestClassifier(5, max_depth=3, random_state=0), 23, 10),
    (RandomForestRegressor(5, max_depth=3, random_state=0), 6, 6),
    (GradientBoostingRegressor(n_estimators=5), 8, 11),
    (GradientBoostingClassifier(n_estimators=5), 20, 14),
    (LogisticRegression(max_iter=500), 9, 10),
    (linear(LogisticRegression(max_iter=500)), 13, 47),
    (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(), [0]), (StandardScaler(), [1, 2]), remainder="drop"
            ),
            LogisticRegression(max_iter=500),
        ),
        33,
        28,
    ),
    (
        stack_of(
            sf.StackingClassifier,
            linear(LogisticRegression(max_iter=500)),
            RandomForestClassifier(5, max_depth=3, random_state=0),
            XGBClassifier(n_estimators=5, max_depth=3),
            final_estimator=sf.PoolClassifier(pool="logarithmic"),
        ),
        54,
        84,
    ),
    (
        stack_of(
            sf.StackingClassifier,
            linear(LogisticRegression(max_iter=500)),
            network(sf.models.mlp_plr),
            final_estimator=LogisticRegression(max_iter=500),
        ),
        71,
        70,
    ),
    (
        stack_of(
            sf.StackingRegressor,
            linear(LinearRegression()),
            RandomForestRegressor(5, max_depth=3, random_state=0),
            XGBRegressor(n_estimators=5, max_depth=3),
        ),
        16,
        93,
    ),
]


def outputs_of(model, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads add up trees in another order
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": rows})


@pytest.mark.parametrize(
    ("case", "precision"),
    [*((case, "float64") for case in CASES), *((CASES[k], "float32") for k in (3, -1, -3))],
    ids=lambda case: case if isinstance(case, str) else type(case[0]).__name__,
)
def test_shorter_graphs_give_the_same_bits(case, precision, iris, tmp_path, monkeypatch):
    (X, y), (model, most, fewer) = iris, case
    X = np.round(X)
    model.fit(X, y)
    monkeypatch.setattr(_onnx, "shorten", lambda model: None)
    sf.export(model, tmp_path / "long.onnx", verify=False, precision=precision)
    long, short = (onnx.load(tmp_path / "long.onnx") for _ in range(2))
    shorten(short)
    hard = [np.nan, np.inf, -np.inf, 1e39, -1e39, 3.4e38, 1e308, -1e308, 1e300, 0.0]
    rows = np.vstack([X, *(np.where(np.eye(4, dtype=bool), value, X[:4]) for value in hard)])
    rows = np.vstack([rows, np.full((1, 4), np.nan), [[np.nan, np.inf, 1e39, 0.0]]])
    with np.errstate(over="ignore"):
        rows = rows.astype(precision)
    for some in (rows, rows[:1], rows[-1:], rows[:0]):
        for before, after in zip(outputs_of(long, some), outputs_of(short, some)):
            assert before.dtype == after.dtype
            assert_array_equal(after, before)
    counts = len(short.graph.node), len(long.graph.node)
    if precision == "float64":
        assert counts[0] <= most
        assert counts[1] - counts[0] >= fewer


@pytest.mark.parametrize("takes_missing", [True, False])
@pytest.mark.parametrize("limit", [float(np.finfo(np.float64).max), 3.5e38])
@pytest.mark.parametrize("width", [1, 3])
def test_a_tree_refuses_rows(width, limit, takes_missing):
    from onnx import TensorProto, helper

    node = helper.make_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        **refusing_tree.attributes(width, limit, takes_missing=takes_missing),
    )
    tensors = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in "xy"]
    graph = helper.make_graph([node], "tree", tensors[:1], tensors[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    values = [0.0, -0.0, 1e-310, 5.0, limit, -limit, 4e38, -4e38, np.inf, -np.inf, np.nan]
    rows = np.vstack(
        [np.where(np.arange(width) == k, v, 1.0) for k in range(width) for v in values]
    )
    refused = np.any(np.abs(rows) > limit, axis=1)
    if not takes_missing:
        refused |= np.any(np.isnan(rows), axis=1)
    (got,) = outputs_of(model, rows)
    assert_array_equal(got[:, 0], np.where(refused, np.nan, 0.0))


def test_thresholds_do_the_rounding_to_float32():
    rng = np.random.default_rng(0)
    largest, smallest = (float(getattr(np.finfo(np.float32), n)) for n in ("max", "tiny"))
    special = [0.0, -0.0, 1e-310, -1e-310, 1e-45, -1e-45, largest, -largest, smallest, -smallest]
    wide = rng.normal(size=2000) * 10.0 ** rng.integers(-46, 38, 2000)
    thresholds = np.concatenate([special, [1e300, -1e300, np.inf, -np.inf], wide])
    thresholds = np.concatenate([thresholds, wide.astype(np.float32).astype(np.float64)])
    last = largest_rounded_to(thresholds)
    with np.errstate(over="ignore"):
        rounded, above = (v.astype(np.float32) for v in (last, np.nextafter(last, np.inf)))
    assert np.all(rounded <= thresholds)
    assert np.all((above > thresholds) | (thresholds == np.inf))


@pytest.mark.parametrize(
    ("loss", "n_classes"), [("log_loss", 2), ("log_loss", 3), ("exponential", 2)]
)
def test_a_constant_start_of_boosting_is_scikit_learns(loss, n_classes, iris, tmp_path):
    """It was a logarithm, which converters to ONNX compute in float32: 3e-8 away."""
    X, y = iris
    model = GradientBoostingClassifier(loss=loss, n_estimators=5).fit(
        X, np.minimum(y, n_classes - 1)
    )
    sf.export(model, tmp_path / "model.onnx", verify=X)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    got = session.run(["probabilities"], {"x": X})[0]
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=0, atol=1e-15)


def test_the_graph_is_copied_once_for_all_optimizers(monkeypatch, tmp_path):
    """tf2onnx copies it before each of eleven optimizers, several times."""
    import copy

    from tf2onnx import optimizer
    from tf2onnx.graph import Graph

    copied = []

    class Copy:
        @staticmethod
        def deepcopy(part):
            copied.append(part)
            return copy.deepcopy(part)

    monkeypatch.setattr(optimizer, "copy", Copy)
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = LinearRegression().fit(X, X[:, 0])
    sf.export(model, tmp_path / "model.onnx", verify=X)
    assert sum(isinstance(part, Graph) for part in copied) == 1


def test_an_optimizer_that_fails_is_left_out(monkeypatch, tmp_path):
    class Failing(_onnx._Together):
        def optimize(self, graph, iteration):
            raise ValueError("not this one")

    optimizers = _onnx._optimizers()
    monkeypatch.setattr(_onnx, "_optimizers", lambda: {**optimizers, "new": lambda: Failing({})})
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = LinearRegression().fit(X, X[:, 0])
    sf.export(model, tmp_path / "model.onnx", verify=X)
    compute = sf.formats.named("onnx").load(str(tmp_path / "model.onnx"))
    np.testing.assert_allclose(compute({"x": X})["prediction"], X[:, 0], atol=1e-12)
