"""Intervals and sets in exported graphs: what the stack itself says, in every format."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from stackfuse._cli.predict import predict
from stackfuse._export import formats
from tests.support.networks import build_regressor

TREE = DecisionTreeRegressor(max_depth=3, random_state=0)
CLASSES = [("nb", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]
ENDINGS = [".keras", "", ".onnx", ".tflite", ".xml"]


def outputs_of(path, X):
    """Return what the format's runtime computes, in another process."""
    form = formats.format_of(path, None)
    manifest = form.read_manifest(path)
    ((name, entry),) = manifest["inputs"].items()
    return form.outputs_of(path, {name: np.asarray(X, entry["dtype"])}), manifest


def test_every_format_has_intervals(diabetes, tmp_path):
    X, y = diabetes[0].astype(np.float32).astype(np.float64), diabetes[1]
    stack = sf.StackingRegressor([("ridge", Ridge()), ("tree", TREE)], cv=3).fit(X, y)
    asked = {"coverage": 0.8, "method": "normalised"}
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    for report in sf.export(stack, paths, verify=X, coverage=asked):
        assert {*report.outputs} == {"prediction", "lower", "upper"}
        assert report.max_difference < 1e-5 * y.max()
    got, manifest = outputs_of(tmp_path / "stack.tflite", X)
    assert manifest["coverage"] == asked
    wanted = stack.predict_interval(X, **asked)
    ends = np.transpose([got["lower"], got["upper"]])
    assert_allclose(ends, wanted, atol=1e-5 * wanted.max())


def test_every_format_has_sets(cancer, tmp_path):
    X, y = cancer[0].astype(np.float32).astype(np.float64), cancer[1]
    stack = sf.StackingClassifier(CLASSES, LogisticRegression(), cv=3).fit(X, y)
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    for report in sf.export(stack, paths, coverage=0.97):
        assert {*report.outputs} == {"probabilities", "label", "set"}
    got, manifest = outputs_of(tmp_path / "stack.onnx", X)
    assert manifest["coverage"] == {"coverage": 0.97, "method": "lac"}
    assert_array_equal(got["set"], stack.predict_set(X, 0.97))
    assert np.shape(manifest["golden"]["expected"]["set"]) == (8, 2)


def test_networks_and_fold_models(diabetes):
    X, y = diabetes
    network = sf.KerasRegressor(build_regressor, epochs=1, random_state=0)
    bases = [("net", network), ("ridge", Ridge()), ("tree", TREE)]
    stack = sf.StackingRegressor(bases, LinearRegression(), cv=3, refit=False, random_state=0)
    graph = sf.to_keras(stack.fit(X, y), coverage={"coverage": 0.7, "method": "normalised"})(X)
    wanted = stack.predict_interval(X, 0.7, method="normalised")
    assert_allclose(np.transpose([graph["lower"], graph["upper"]]), wanted, rtol=1e-6)
    assert np.ptp(np.ptp(wanted, axis=1)) > 1
    assert {*sf.to_keras(stack)(X)} == {"prediction"}


@pytest.mark.parametrize("coverage", [0.1, 0.9])
def test_quantiles_and_several_outputs(coverage, diabetes):
    X, y = diabetes
    bases = [(f"q{q}", QuantileRegressor(quantile=q / 100, alpha=0)) for q in (20, 80)]
    stack = sf.StackingRegressor(bases, LinearRegression(), cv=3).fit(X, y)
    asked = {"coverage": coverage, "method": "quantile", "bounds": ("q20", "q80")}
    graph = sf.to_keras(stack, coverage=asked)(X)
    wanted = stack.predict_interval(X, **asked)
    assert_allclose(np.transpose([graph["lower"], graph["upper"]]), wanted)
    both = np.column_stack([y, X[:, 0]])
    stack = sf.StackingRegressor([("ridge", Ridge()), ("tree", TREE)], cv=3).fit(X, both)
    for method in ("absolute", "normalised"):
        graph = sf.to_keras(stack, coverage={"coverage": coverage, "method": method})(X)
        wanted = stack.predict_interval(X, coverage, method=method)
        assert_allclose(np.stack([graph["lower"], graph["upper"]], -1), wanted)


@pytest.mark.parametrize("method", ["lac", "adaptive"])
def test_sets_of_equally_likely_classes(method, iris, tmp_path):
    X, y = iris
    stack = sf.StackingClassifier(CLASSES, cv=3).fit(X.round(), y)
    asked = {"coverage": 0.95, "method": method}
    paths = [tmp_path / "stack.keras", tmp_path / "stack.tflite"]
    sf.export(stack, paths, verify=X.round(), coverage=asked)
    got, _ = outputs_of(paths[0], X.round())
    members = stack.predict_set(X.round(), 0.95, method=method)
    assert_array_equal(got["set"], members)
    pd.DataFrame(X.round()).to_csv(tmp_path / "rows.csv", index=False)
    shown = predict(paths[0], tmp_path / "rows.csv")
    assert_array_equal(shown[["0 in set", "1 in set", "2 in set"]], members)


def test_pipelines_searches_and_words(diabetes, tmp_path):
    X, y = diabetes
    frame = pd.DataFrame({"lower": X[:, 2], "word": np.where(X[:, 1] > 0, "yes", "no")})
    one_hot = make_pipeline(OneHotEncoder(sparse_output=False, handle_unknown="ignore"), Ridge())
    tree = make_pipeline(OneHotEncoder(max_categories=9, handle_unknown="ignore"), TREE)
    stack = sf.StackingRegressor([("a", one_hot), ("b", tree)], cv=3).fit(frame, y)
    report = sf.export(stack, tmp_path / "words.keras", coverage=0.9)
    assert {*report.outputs} == {"prediction", "lower", "upper"}
    frame.to_csv(tmp_path / "rows.csv", index=False)
    shown = predict(report.path, tmp_path / "rows.csv")
    assert_allclose(shown[["lower", "upper"]], stack.predict_interval(frame))
    pipe = make_pipeline(StandardScaler(), sf.StackingRegressor([("r", Ridge()), ("t", TREE)]))
    search = GridSearchCV(pipe, {"stackingregressor__r__alpha": [1.0]}, cv=2).fit(X, y)
    sf.export(search, tmp_path / "search.keras", verify=X, coverage=0.9)
    got, _ = outputs_of(tmp_path / "search.keras", X)
    best = search.best_estimator_
    wanted = best[-1].predict_interval(best[:-1].transform(X))
    assert_allclose(np.transpose([got["lower"], got["upper"]]), wanted)
    assert {*sf.to_keras(search)(X)} == {"prediction"}


def test_rows_that_are_refused_have_no_interval_and_no_set(diabetes, iris):
    X, y = diabetes
    holes = np.where([[True] + [False] * 9, [False] * 10], np.nan, X[:2])
    stack = sf.StackingRegressor([("ridge", Ridge()), ("tree", TREE)], cv=3).fit(X, y)
    got = sf.to_keras(stack, coverage=0.9)(holes)
    assert np.isnan(got["lower"]).tolist() == np.isnan(got["upper"]).tolist() == [True, False]
    X, y = iris
    got = sf.to_keras(sf.StackingClassifier(CLASSES, cv=3).fit(X, y), coverage=0.9)(
        np.where([[True] * 4, [False] * 4], np.nan, X[:2])
    )
    members = np.asarray(got["set"])
    assert members.dtype == np.int64
    assert members[0].tolist() == [-1, -1, -1]
    assert members[1].sum() == 1


def test_a_file_holds_the_margin_and_no_row(diabetes, tmp_path):
    X, y = diabetes
    stack = sf.StackingRegressor([("ridge", Ridge()), ("near", TREE)], cv=3).fit(X, y)
    report = sf.export(stack, tmp_path / "stack.keras", coverage=0.9)
    plain = sf.export(stack, tmp_path / "plain.keras")
    assert report.holds_rows_of == ()
    assert report.n_bytes < plain.n_bytes + 20_000
    text = json.dumps(formats.format_of(report.path, None).read_manifest(report.path))
    assert not any(repr(float(value)) in text for value in X[:, 0])


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (90, "coverage must be a number above 0 and below 1, such as 0.9, got 90"),
        ({"method": "absolute"}, "coverage must be a number, or a dict such as"),
        ({"coverage": 0.9, "mode": 1}, "coverage must be a number, or a dict such as"),
        (0.999, "needs 999 rows to calibrate on"),
    ],
)
def test_wrong_requests_write_nothing(coverage, message, diabetes, tmp_path):
    X, y = diabetes
    stack = sf.StackingRegressor([("ridge", Ridge()), ("tree", TREE)], cv=3).fit(X, y)
    with pytest.raises(ValueError, match=message):
        sf.export(stack, tmp_path / "stack.keras", coverage=coverage)
    with pytest.raises(TypeError, match=r"a Ridge does not have\. Export a fitted StackingReg"):
        sf.export(Ridge().fit(X, y), tmp_path / "ridge.keras", coverage=0.9)
    assert list(tmp_path.iterdir()) == []


def test_a_network_alone_has_no_intervals(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="a Sequential does not have"):
        sf.export(model, tmp_path / "model.keras", coverage=0.9)
