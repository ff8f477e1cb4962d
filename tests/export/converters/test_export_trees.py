import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
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
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

import stackfuse as sf
from stackfuse._export.converters.shared import descent as _descent
from tests.support.cases import SCALERS, name
from tests.support.parity import assert_parity


def graph_outputs(estimator, X):
    return {key: np.asarray(y) for key, y in sf.to_keras(estimator)(X).items()}


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3),
    ],
    ids=name,
)
@pytest.mark.parametrize("digits", [1, 17])
def test_rows_on_the_thresholds_of_trees(iris, model, digits):
    """Rows on each threshold, one float above and one below, in float32 and in float64."""
    X, y = iris
    X = X.round(digits)
    model = clone(model).fit(X, y)
    if hasattr(model, "_predictors"):
        nodes = [tree.nodes for stage in model._predictors for tree in stage]
        edges = [
            (n["feature_idx"], n["num_threshold"]) for ns in nodes for n in ns if not n["is_leaf"]
        ]
    else:
        trees = np.ravel(getattr(model, "estimators_", [model]))
        edges = [
            (f, t)
            for tree in trees
            for f, t in zip(tree.tree_.feature, tree.tree_.threshold)
            if f >= 0
        ]
    rows = []
    for feature, threshold in edges:
        values = [threshold, *np.nextafter(threshold, [-np.inf, np.inf])]
        as_float32 = np.float32(threshold)
        infinities = np.array([-np.inf, np.inf], np.float32)
        values += [as_float32, *np.nextafter(as_float32, infinities)]
        for value in values:
            if 0 < abs(value) < 1e-30:
                continue  # TensorFlow takes denormal numbers for 0
            row = X[len(rows) % len(X)].copy()
            row[feature] = value
            rows.append(row)
    rows = np.array(rows)
    got = graph_outputs(model, rows)
    assert_array_equal(got["label"], model.predict(rows))
    assert_allclose(got["probabilities"], model.predict_proba(rows), atol=1e-14)


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        (DecisionTreeClassifier(random_state=0), True),
        (RandomForestClassifier(5, random_state=0), True),
        (HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3), True),
        (HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3), False),
    ],
    ids=str,
)
def test_missing_values(iris, model, seen):
    X, y = iris
    holes = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.3, np.nan, X)
    model = clone(model).fit(holes if seen else X, y)
    got = graph_outputs(model, holes)
    assert_allclose(got["probabilities"], model.predict_proba(holes), atol=1e-14)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".xml"])
def test_splits_that_tell_the_missing_values_alone(suffix, tmp_path):
    """Their threshold is infinity, which LiteRT does not know as a constant."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    X[rng.random(400) < 0.1, 0] = np.nan
    y = np.nan_to_num(X[:, 0]) + rng.normal(size=400) + 2 * np.isnan(X[:, 0])
    forest = RandomForestRegressor(20, min_samples_leaf=3, random_state=0).fit(X, y)
    assert any(np.isinf(tree.tree_.threshold).any() for tree in forest)
    report = sf.export(forest, tmp_path / f"forest{suffix}", verify=X)
    assert report.max_difference < 1e-5
    assert report.n_rows == 400


@pytest.mark.parametrize("path", ["model.keras", "model"])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_compiling_moves_no_value_across_a_threshold(scaler, path, tmp_path):
    """Histogram boosting puts thresholds on the values themselves: one last bit decides."""
    X, y = load_breast_cancer(return_X_y=True)
    model = HistGradientBoostingClassifier(max_iter=20)
    model = make_pipeline(clone(scaler), StandardScaler(), model).fit(X, y)
    report = sf.export(model, tmp_path / path, verify=X)
    assert (report.max_difference or 0) < 1e-13


def test_compiled_forests_below_histogram_boosting(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    forest = RandomForestClassifier(30, random_state=0)
    final = HistGradientBoostingClassifier(max_iter=20)
    bases = [("rf", forest), ("scaled", make_pipeline(StandardScaler(), LogisticRegression()))]
    stack = sf.StackingClassifier(bases, final, cv=2, passthrough=True, random_state=0).fit(X, y)
    for path in ("stack.keras", "stack"):
        assert (sf.export(stack, tmp_path / path, verify=X).max_difference or 0) < 1e-13


FIRST = [
    LogisticRegression(max_iter=500),
    RandomForestClassifier(3, random_state=0),
    "zero",
]


@pytest.mark.parametrize("first", FIRST, ids=name)
@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
def test_what_gradient_boosting_starts_from(iris, cancer, first, loss, tmp_path):
    X, y = cancer
    model = GradientBoostingClassifier(loss=loss, init=first, n_estimators=3, random_state=0)
    # scikit-learn gives the first estimator float32, in which a linear model then computes.
    tolerance = 1e-6 if isinstance(first, LogisticRegression) else 1e-13
    assert_parity([model.fit(X, y)], X, tmp_path / "two.keras", tolerance)
    if loss == "log_loss":
        X, y = iris
        assert_parity([clone(model).fit(X, y)], X, tmp_path / "three.keras", tolerance)


def test_losses(diabetes, tmp_path):
    X, y = diabetes
    models = [
        *(
            GradientBoostingRegressor(loss=loss, n_estimators=4, random_state=0)
            for loss in ("squared_error", "absolute_error", "huber", "quantile")
        ),
        GradientBoostingRegressor(init=DecisionTreeRegressor(max_depth=2), n_estimators=3),
        *(
            HistGradientBoostingRegressor(loss=loss, max_iter=4)
            for loss in ("squared_error", "absolute_error", "gamma", "poisson")
        ),
        HistGradientBoostingRegressor(loss="quantile", quantile=0.8, max_iter=4),
        HistGradientBoostingRegressor(monotonic_cst=[1] * 10, interaction_cst="pairwise"),
        ExtraTreesRegressor(4, criterion="absolute_error", random_state=0),
    ]
    assert_parity([model.fit(X[::2], y[::2]) for model in models], X, tmp_path / "all.keras")
    linear = GradientBoostingRegressor(init=LinearRegression(), n_estimators=3).fit(X, y)
    assert_parity([linear], X, tmp_path / "linear.keras", 1e-6)


def test_several_outputs(iris, diabetes, tmp_path):
    X, y = iris
    X = X * 1.5
    several = np.column_stack([y, X[:, 0] > 0, np.where(y == 1, 7, 3)])
    models = [
        DecisionTreeClassifier(max_depth=3, random_state=0),
        ExtraTreeClassifier(random_state=0),
        RandomForestClassifier(5, random_state=0),
        ExtraTreesClassifier(5, bootstrap=True, random_state=0),
    ]
    models = [model.fit(X[::2], several[::2]) for model in models]
    models.append(RandomTreesEmbedding(4, max_depth=3, random_state=0).fit(X[::2]))
    models[-1].set_params(sparse_output=False).fit(X[::2])
    assert_parity(models, X, tmp_path / "classes.keras")
    X, y = diabetes
    targets = np.column_stack([y, -(y**2)])
    models = [DecisionTreeRegressor(max_depth=3), RandomForestRegressor(5, random_state=0)]
    models = [model.fit(X[::2], targets[::2]) for model in models]
    assert_parity(models, X, tmp_path / "numbers.keras")


def test_sums_are_equal_to_the_last_bit(diabetes):
    """A tree behind a sum over trees decides by its last bit."""
    X, y = diabetes
    for model in (
        RandomForestRegressor(37, random_state=0),
        GradientBoostingRegressor(n_estimators=37, random_state=0),
        HistGradientBoostingRegressor(max_iter=37),
    ):
        got = graph_outputs(model.fit(X[::2], y[::2]), X)
        assert_array_equal(got["prediction"], model.predict(X))


def with_categories(iris):
    """Return a frame of numbers and categories, and the same with unknown and missing ones."""
    X, y = iris
    rng = np.random.default_rng(0)
    codes = (3 * y + rng.integers(0, 4, len(y))).astype(float)
    noise = X + rng.normal(size=X.shape)
    frame = pd.DataFrame({"a": noise[:, 0], "code": codes * 10, "b": noise[:, 1], "few": codes % 3})
    strange = frame.copy()
    strange.loc[::7, "code"] = [np.nan, 55.0, -10.0, 1e9, 10.5] * 4 + [0.0, -0.0]
    strange.loc[::5, "a"] = np.nan
    strange.loc[3::11, "few"] = np.nan
    return frame, strange, y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("holes", [False, True])
def test_splits_on_categories(iris, n_classes, holes, tmp_path):
    frame, strange, y = with_categories(iris)
    # Rare categories take no part in splits, so every row is there four times.
    train, y = np.tile(strange if holes else frame, (4, 1)), np.tile(y, 4)
    some = y < n_classes
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3)
    only = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0, 1])
    models = [
        clone(model).set_params(categorical_features=[1, 3]).fit(train[some], y[some]),
        clone(model).set_params(categorical_features=[1]).fit(train[some], y[some]),
    ]
    trees = [tree for stage in models[0]._predictors for tree in stage]
    assert any(tree.nodes["is_categorical"].any() for tree in trees)
    assert_parity(models, strange.to_numpy(), tmp_path / "all.keras")
    only.fit(train[:, [1, 3]][some], y[some])
    assert_parity([only], strange[["code", "few"]].to_numpy(), tmp_path / "only.keras")


def test_splits_on_strings(iris, tmp_path):
    frame, strange, y = with_categories(iris)
    words = np.array(["ash", "birch", "cedar", "elm", "fir", "oak", "pine", "yew", "sorb", "box"])
    for table in (frame, strange):
        table["word"] = words[(frame["code"] / 10).astype(int)]
    strange.loc[::9, "word"] = "unheard of"
    model = HistGradientBoostingClassifier(categorical_features=["word", "few"], max_iter=5)
    model.set_params(min_samples_leaf=3).fit(frame, y)
    sf.export(model, tmp_path / "model.keras", verify=strange)


def test_more_nodes_than_float32_can_count(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 4)), rng.integers(0, 2, 600)
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    monkeypatch.setattr(_descent, "_MAX_NODES_IN_FLOAT32", 50)
    assert sf.to_keras(model)
    with pytest.raises(sf.NotConvertible, match=r"float32 cannot number the .*max_depth"):
        sf.to_keras(model, precision="float32")


@pytest.mark.slow
def test_a_large_forest_is_exported_quickly(tmp_path):
    """500 trees of depth 12: under 30 seconds and 60 MB."""
    import time

    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 20))
    y = rng.integers(0, 2, 5000)
    model = RandomForestClassifier(500, max_depth=12, random_state=0, n_jobs=-1).fit(X, y)
    start = time.perf_counter()
    report = sf.export(model, tmp_path / "model.keras", verify=X[:100])
    assert time.perf_counter() - start < 30
    assert report.n_bytes < 60e6


@pytest.mark.parametrize(
    ("scaler", "trees"),
    [
        (StandardScaler(), DecisionTreeClassifier(random_state=0)),
        (StandardScaler(with_mean=False), RandomForestClassifier(5, random_state=0)),
        (MinMaxScaler(), GradientBoostingClassifier(n_estimators=3)),
        (RobustScaler(), HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2)),
        (MaxAbsScaler(), ExtraTreesClassifier(5, random_state=0)),
    ],
    ids=name,
)
def test_thresholds_behind_scalers_split_as_in_float64_in_a_graph_of_float32(scaler, trees):
    rng = np.random.default_rng(28)
    X = rng.integers(-9, 10, (120, 4)).astype(float)
    model = make_pipeline(scaler, trees).fit(X, (X[:, 0] + X[:, 1] * X[:, 2] > 3).astype(int))
    halves = rng.integers(-20, 21, (3000, 4)) / 2  # thresholds lie there
    got = sf.to_keras(model, precision="float32")(halves.astype(np.float32))
    assert_allclose(got["probabilities"], model.predict_proba(halves), atol=1e-6)
