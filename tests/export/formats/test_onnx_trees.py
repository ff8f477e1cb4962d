"""Trees of every kind as the operator TreeEnsemble of ONNX."""

from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

import stackfuse as sf
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.converters.shared.tree_sums import tree_means, tree_sums
from stackfuse._export.formats import onnx_trees
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from stackfuse._export.graph.trees import Tree, TreeSums
from tests.support.cases import name
from tests.support.networks import build_classifier

FAMILIES = [
    DecisionTreeClassifier(random_state=0),
    DecisionTreeRegressor(max_depth=4, random_state=0),
    RandomForestClassifier(7, random_state=0),
    RandomForestRegressor(7, random_state=0),
    ExtraTreesClassifier(5, random_state=0),
    ExtraTreesRegressor(5, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    GradientBoostingRegressor(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3),
    HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=3),
    AdaBoostClassifier(n_estimators=4, random_state=0),
    AdaBoostRegressor(n_estimators=4, random_state=0),
    BaggingClassifier(n_estimators=4, max_features=3, random_state=0),
    BaggingRegressor(n_estimators=4, max_features=3, random_state=0),
    RandomTreesEmbedding(3, max_depth=3, random_state=0),
    XGBClassifier(n_estimators=4, max_depth=3),
    XGBRegressor(n_estimators=4, max_depth=3),
    LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1),
    LGBMRegressor(n_estimators=4, min_child_samples=5, verbose=-1),
    CatBoostClassifier(iterations=4, depth=3, verbose=0, allow_writing_files=False),
]

TAKES_MISSING = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    XGBClassifier,
    XGBRegressor,
    LGBMClassifier,
    LGBMRegressor,
    CatBoostClassifier,
)


def kinds_of_nodes(path):
    """Count operators, without the tree of two leaves that finds refused rows."""
    return Counter(node.op_type for node in onnx.load(path).graph.node if not refuses(node))


def refuses(node):
    leaves = [entry.t for entry in node.attribute if entry.name == "leaf_weights"]
    weights = onnx.numpy_helper.to_array(leaves[0]) if leaves else np.zeros(0)
    return len(weights) == 2 and np.isnan(weights[1])


def outputs_of(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x})))


def hard_rows(model, X):
    """Return rows on thresholds, beside them, and with numbers of every special kind."""
    layers = build_graph(model, X, Build(native_trees=True)).model.layers
    trees = [tree for layer in layers if isinstance(layer, TreeSums) for tree in layer.trees]
    rows = []
    for tree in trees:
        for node in np.flatnonzero(tree.left >= 0)[:20]:
            threshold = tree.threshold[node]
            with np.errstate(over="ignore"):
                narrow = np.float32(threshold)
                beside = np.nextafter(narrow, np.array([-np.inf, np.inf], np.float32))
            for value in (threshold, *np.nextafter(threshold, [-np.inf, np.inf]), narrow, *beside):
                row = X[len(rows) % len(X)].copy()
                row[tree.feature[node]] = value
                rows.append(row)
    for value in (np.nan, np.inf, -np.inf, 1e-40, -1e-40, 1e-310, -0.0):
        for column in range(X.shape[1]):
            row = X[column].copy()
            row[column] = value
            rows.append(row)
    return np.array([*rows, np.full(X.shape[1], np.nan)])


def expected_of(model, rows):
    """Return the model's outputs of rows; NaN for those that it refuses, with the label -1."""
    try:
        return expected_outputs(model, rows)
    except Exception:  # of some row
        found = []
        for row in rows:
            try:
                found.append(expected_outputs(model, row[None]))
            except Exception:
                found.append(None)
    known = next(outputs for outputs in found if outputs is not None)
    refused = {k: np.full_like(y, -1 if k == "label" else np.nan) for k, y in known.items()}
    parts = [refused if outputs is None else outputs for outputs in found]
    return {k: np.concatenate([part[k] for part in parts]) for k in known}


@pytest.mark.parametrize("model", FAMILIES, ids=name)
def test_every_family_is_an_operator_and_exact(iris, model, tmp_path):
    X, y = iris
    rng = np.random.default_rng(0)
    X = X - 3.0  # thresholds of both signs
    if isinstance(model, TAKES_MISSING):
        X[rng.random(X.shape) < 0.1] = np.nan
    model = clone(model).fit(X, y)
    path = tmp_path / "model.onnx"
    sf.export(model, path, verify=X)
    kinds = kinds_of_nodes(path)
    assert kinds["TreeEnsemble"] == 1
    # Some numbers that must stay exact are looked up, a decision of AdaBoost is too.
    assert kinds["Gather"] <= 2
    assert kinds["Loop"] == 0
    rows = hard_rows(model, X)
    got = outputs_of(path, rows)
    for key, wanted in expected_of(model, rows).items():
        if key == "label":
            assert_array_equal(got[key], wanted)
        else:
            atol = 1e-6 if isinstance(model, XGBClassifier | XGBRegressor) else 1e-13
            assert_allclose(got[key], wanted, rtol=0, atol=atol)


def test_the_second_column_of_several_trees(iris, tmp_path):
    """tf2onnx moves a transpose behind a slice; it changed the slice's starts with its axes."""
    X, y = iris
    model = OneVsRestClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)).fit(X, y)
    sf.export(model, tmp_path / "trees.onnx", verify=X)
    session = onnxruntime.InferenceSession(tmp_path / "trees.onnx")
    (proba,) = session.run(["probabilities"], {"x": X})
    assert_allclose(proba, model.predict_proba(X), rtol=1e-15)


def test_the_second_column_of_a_network_that_transposes(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 4, 3))
    inputs = keras.Input((4, 3), dtype="float64")
    turned = keras.layers.Permute((2, 1), dtype="float64")(inputs)
    columns = [(turned + k)[:, 1] for k in range(3)]
    model = keras.Model(inputs, keras.layers.Concatenate(dtype="float64")(columns))
    sf.export(model, tmp_path / "turned.onnx", verify=X)
    session = onnxruntime.InferenceSession(tmp_path / "turned.onnx")
    (y,) = session.run(None, {session.get_inputs()[0].name: X})
    assert_allclose(y, np.hstack([X[:, :, 1] + k for k in range(3)]), rtol=1e-15)


def test_sums_are_equal_to_the_last_bit(iris, diabetes, tmp_path):
    """The label of a row may hang on it; only single sums may differ."""
    path = tmp_path / "model.onnx"
    models = RandomForestClassifier(37, max_depth=3), GradientBoostingClassifier(n_estimators=9)
    for model in models:
        X, y = iris
        model.set_params(random_state=0).fit(X[::2], y[::2])
        sf.export(model, path, verify=X)
        for rows in (X, X[:1]):
            expected, got = expected_outputs(model, rows), outputs_of(path, rows)
            assert_array_equal(got["label"], expected["label"])
            if isinstance(model, RandomForestClassifier):
                assert_array_equal(got["probabilities"], expected["probabilities"])
            else:  # the exponential function of another library
                assert_allclose(got["probabilities"], expected["probabilities"], rtol=1e-15)


TWO_CLASSES = [
    # a model, the most operators of its file
    (GradientBoostingClassifier(n_estimators=30), 8),
    (GradientBoostingClassifier(n_estimators=30, init="zero"), 8),
    (HistGradientBoostingClassifier(max_iter=30, min_samples_leaf=3), 9),
    (LGBMClassifier(n_estimators=30, min_child_samples=5, verbose=-1), 14),
    (RandomForestClassifier(60, max_depth=3), 6),
    (ExtraTreesClassifier(60), 6),
    (RandomForestClassifier(20, max_depth=3), 19),
]


@pytest.mark.parametrize(("model", "most"), TWO_CLASSES, ids=name)
def test_two_classes_take_few_operators(iris, model, most, tmp_path):
    X, y = iris
    model = clone(model).set_params(random_state=0).fit(X, y == 1)
    path = tmp_path / "model.onnx"
    sf.export(model, path, verify=X)
    assert kinds_of_nodes(path).total() <= most
    rows = hard_rows(model, np.vstack([X, X + 1e3]))
    rows = np.vstack([rows[:300:3], rows[-100:]])
    expected = expected_of(model, rows)
    for some in (slice(None), slice(0, 1), slice(-1, None), slice(0, 0)):
        got = outputs_of(path, rows[some])
        assert_array_equal(got["label"], expected["label"][some])
        atol = 1e-15
        assert_allclose(got["probabilities"], expected["probabilities"][some], rtol=0, atol=atol)


def test_two_classes_of_words_in_a_search_and_a_stack(iris, tmp_path):
    """As people have them: a frame, a scaler in front, defaults, and rows that are refused."""
    X, y = iris
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    words = np.where(y == 1, "yes", "no")
    forest = RandomForestClassifier(60, random_state=0)
    boosting = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0))
    search = GridSearchCV(boosting, {"gradientboostingclassifier__n_estimators": [5, 10]}, cv=2)
    stack = sf.StackingClassifier([("forest", forest), ("boosting", boosting)], cv=2)
    for model, checked in ((search, {"verify": frame}), (stack, {})):
        model.fit(frame, words)
        sf.export(model, tmp_path / "model.onnx", **checked)
        rows = np.vstack([X, [[np.nan, 1, 1, 1], [1, np.inf, 1, 1], [1, 1, 1e39, 1]]])
        got = outputs_of(tmp_path / "model.onnx", rows)
        label, proba = got["label"], got["probabilities"]
        assert_array_equal(model.classes_[label[:-3]], model.predict(frame))
        assert_allclose(proba[:-3], model.predict_proba(frame), rtol=0, atol=1e-13)
        assert_array_equal(label[-3:], [-1, -1, -1])
        assert np.isnan(proba[-3:]).all()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_numbers_and_their_refused_rows_by_one_operator(diabetes, n_threads, tmp_path):
    X, y = diabetes
    for model in (
        GradientBoostingRegressor(n_estimators=90, random_state=0),
        RandomForestRegressor(90, max_depth=3, random_state=0),
    ):
        sf.export(model.fit(X, y), tmp_path / "model.onnx", verify=X)
        assert kinds_of_nodes(tmp_path / "model.onnx")["TreeEnsemble"] == 1
        assert kinds_of_nodes(tmp_path / "model.onnx").total() <= 3
        rows = hard_rows(model, X)[-150:]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
        expected = expected_of(model, rows)["prediction"]
        assert_allclose(session.run(None, {"x": rows})[0], expected, rtol=1e-14)


def test_classes_that_are_equal_but_for_the_last_digit(tmp_path):
    """Few trees that depend on whole numbers give such rows: 1/3 + 2/3 + 1/2 in another order."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (600, 6)).astype(float)
    y = (X.sum(axis=1) + rng.normal(size=600) * 2 > 6).astype(int)
    model = RandomForestClassifier(4, max_depth=8, random_state=0).fit(X[:300], y[:300])
    sf.export(model, tmp_path / "model.onnx", verify=X[:10])
    rows = np.indices([3] * 6).reshape(6, -1).T.astype(float)
    second, label = model.predict_proba(rows)[:, 1], model.predict(rows)
    assert np.sum((np.abs(second - 0.5) < 1e-12) & ((second > 0.5) != label)) == 6
    assert_array_equal(outputs_of(tmp_path / "model.onnx", rows)["label"], label)


def test_splits_on_categories(iris, tmp_path):
    X, y = iris
    rng = np.random.default_rng(0)
    codes = (3 * y + rng.integers(0, 4, len(y))).astype(float)
    table = np.column_stack([X[:, 0], codes * 10, X[:, 1] + rng.normal(size=len(y)), codes % 3])
    train, y = np.tile(table, (4, 1)), np.tile(y, 4)
    model = HistGradientBoostingClassifier(
        max_iter=5, min_samples_leaf=3, categorical_features=[1, 3]
    ).fit(train, y)
    strange = table.copy()
    strange[::7, 1] = [np.nan, 55.0, -10.0, 1e9, 10.5] * 4 + [0.0, -0.0]
    strange[::5, 0] = np.nan
    path = tmp_path / "model.onnx"
    sf.export(model, path, verify=strange)
    assert kinds_of_nodes(path)["TreeEnsemble"] == 1
    got = outputs_of(path, strange)
    assert_array_equal(got["label"], model.predict(strange))
    assert_allclose(got["probabilities"], model.predict_proba(strange), rtol=0, atol=1e-14)


def test_splits_on_strings(iris, tmp_path):
    X, y = iris
    words = np.array(["ash", "birch", "cedar", "elm"])
    frame = pd.DataFrame({"a": X[:, 0], "word": words[(y + (X[:, 1] > 3)) % 4]})
    model = HistGradientBoostingClassifier(
        categorical_features=["word"], max_iter=4, min_samples_leaf=3
    ).fit(frame, y)
    strange = frame.copy()
    strange.loc[::9, "word"] = "unheard of"
    sf.export(model, tmp_path / "model.onnx", verify=strange)
    assert kinds_of_nodes(tmp_path / "model.onnx")["TreeEnsemble"] == 1


def test_a_stack_of_networks_and_trees_is_one_file(iris, tmp_path):
    X, y = iris
    stack = sf.StackingClassifier(
        [
            ("net", sf.KerasClassifier(build_classifier, epochs=2, random_state=0)),
            ("forest", RandomForestClassifier(5, random_state=0)),
            ("boosting", GradientBoostingClassifier(n_estimators=3, random_state=0)),
            ("hist", HistGradientBoostingClassifier(max_iter=3)),
        ],
        LogisticRegression(max_iter=1000),
        cv=2,
        random_state=0,
    ).fit(X, y)
    path = tmp_path / "stack.onnx"
    sf.export(stack, path, verify=X)
    kinds = kinds_of_nodes(path)
    assert kinds["TreeEnsemble"] == 3
    got = outputs_of(path, X)
    assert_array_equal(stack.classes_[got["label"]], stack.predict(X))
    assert_allclose(got["probabilities"], stack.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_both_precisions(diabetes, precision, tmp_path):
    X, y = diabetes
    X = X.astype(np.float32).astype(np.float64)
    path = tmp_path / "model.onnx"
    for model in (RandomForestRegressor(5, random_state=0), HistGradientBoostingRegressor()):
        sf.export(model.fit(X, y), path, verify=X, precision=precision)
        got = outputs_of(path, X.astype(precision))["prediction"]
        tolerance = 1e-13 if precision == "float64" else 1e-6
        assert_allclose(got, model.predict(X), rtol=tolerance)


def test_more_leaves_than_float32_can_count(iris, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_trees, "_MAX_LEAVES_IN_FLOAT32", 5)
    X, y = iris
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    sf.export(model, tmp_path / "model.onnx", verify=X)
    got = outputs_of(tmp_path / "model.onnx", X)
    assert_array_equal(got["probabilities"], model.predict_proba(X))


def test_the_file_is_small(tmp_path):
    """At most 24 bytes per node, with two classes and with numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 20))
    path = tmp_path / "model.onnx"
    for model, y in (
        (RandomForestClassifier(20, max_depth=8, random_state=0), X[:, 0] * X[:, 1] > 0),
        (RandomForestRegressor(20, max_depth=8, random_state=0), X[:, 0] * X[:, 1]),
    ):
        report = sf.export(model.fit(X, y), path, verify=X[:50])
        n_nodes = sum(tree.tree_.node_count for tree in model.estimators_)
        assert report.n_bytes < 24 * n_nodes + 20_000


class SumOfTrees(RegressorMixin, BaseEstimator):
    """Adds up, or averages, given trees."""

    def __init__(self, trees=(), n_outputs=1, average=False):
        self.trees = trees
        self.n_outputs = n_outputs
        self.average = average

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        layer = TreeSums(self.trees, self.n_outputs, "float64", self.average)
        return np.asarray(layer._compute(np.asarray(X, np.float64), 0))


@sf.converter_for(SumOfTrees)
def _convert_trees(estimator, x, method):
    combined = tree_means if estimator.average else tree_sums
    return combined(x, estimator.trees, estimator.n_outputs)


def a_tree(rng, n_features, n_values, depth):
    """Return a random tree, with special numbers among its thresholds."""
    special = np.array([np.inf, 0.0, -0.0, -1e-310, 1e-40, -1e-40, 1e300, -1e300])
    feature, threshold, left, right, missing, depths = [], [], [], [], [], [0]
    node = 0
    while node < len(depths):
        is_leaf = depths[node] == depth or (depths[node] and rng.random() < 0.3)
        feature.append(-2 if is_leaf else rng.integers(n_features))
        threshold.append(rng.choice(special) if rng.random() < 0.2 else rng.normal())
        left.append(-1 if is_leaf else len(depths))
        right.append(-1 if is_leaf else len(depths) + 1)
        missing.append(rng.random() < 0.5)
        depths += [] if is_leaf else [depths[node] + 1] * 2
        node += 1
    return Tree(
        np.array(feature),
        np.array(threshold),
        np.array(left),
        np.array(right),
        np.array(missing),
        rng.normal(size=(node, n_values)),
    )


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(("n_values", "n_outputs"), [(1, 1), (1, 3), (2, 2), (5, 5)])
def test_random_trees(n_values, n_outputs, average, tmp_path):
    """The operator, the layer in numpy and the descent agree, also on a tree of a single leaf."""
    rng = np.random.default_rng(n_outputs)
    trees = [a_tree(rng, 4, n_values, depth) for depth in (0, 1, 2, 3, 5, 7)]
    X = rng.normal(size=(200, 4))
    usual = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300]
    X[:100] = np.where(rng.random((100, 4)) < 0.4, rng.choice(usual, (100, 4)), X[:100])
    model = SumOfTrees(trees, n_outputs, average).fit(X)
    path = tmp_path / "model.onnx"
    sf.export(model, path, verify=False)
    tiny = X.copy()  # TensorFlow takes them for zero, so the descent is not given them
    tiny[:, 0] = rng.choice([1e-310, -1e-310, 1e-40, -1e-40], len(X))
    for rows in (X, X[:1], X[:0], tiny):
        got = outputs_of(path, rows)["prediction"]
        assert got.shape == (len(rows), n_outputs)
        assert_allclose(got, model.predict(rows), rtol=1e-14, atol=1e-14)
    for rows in (X, X[:1], X[:0]):
        got = np.asarray(sf.to_keras(model)(rows)["prediction"])
        assert_allclose(got, model.predict(rows), rtol=1e-14, atol=1e-14)
