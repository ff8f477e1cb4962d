import numpy as np
import pandas as pd
import pytest
from keras import ops
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_array

import stackfuse as sf
from stackfuse._export.checking import (
    parity as _parity,
)
from stackfuse._export.checking import (
    probes as _probes,
)
from stackfuse._export.checking import (
    thresholds as _thresholds,
)
from stackfuse._export.graph.arithmetic import (
    first_largest,
    table,
)


def kinds_for(model, X, precision="float64"):
    return {p.kind: p for p in _probes.probes(model, X, precision, lambda rows: rows)}


def test_the_thresholds_of_all_trees_that_see_X(iris):
    X, y = iris
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
    inner = tree.tree_.feature >= 0
    wanted = {(f, t) for f, t in zip(tree.tree_.feature[inner], tree.tree_.threshold[inner])}
    stack = sf.StackingClassifier(
        [("tree", make_pipeline("passthrough", tree))], cv=2, random_state=0
    ).fit(X, y)
    assert {(int(f), t) for f, t in _thresholds.edges_of(stack, (4,))} == wanted
    boosted = HistGradientBoostingClassifier(max_iter=2).fit(X, y)
    nodes = [n for stage in boosted._predictors for p in stage for n in p.nodes]
    wanted = {(n["feature_idx"], n["num_threshold"]) for n in nodes if not n["is_leaf"]}
    assert {(int(f), t) for f, t in _thresholds.edges_of(boosted, (4,))} == wanted


def test_rows_are_few_and_the_same_each_time(iris):
    X, y = iris
    model = RandomForestClassifier(100, random_state=0).fit(X, y)
    first, second = kinds_for(model, X), kinds_for(model, X)
    assert 300 < sum(len(probe.rows) for probe in first.values()) < 560
    for kind, probe in first.items():
        assert_array_equal(probe.rows, second[kind].rows)
        if not probe.refused:
            assert_array_equal(probe.expected["probabilities"], model.predict_proba(probe.rows))


def test_what_the_estimator_refuses(iris):
    X, y = iris
    linear = kinds_for(LogisticRegression().fit(X, y), X)
    refused = {kind: probe.rows for kind, probe in linear.items() if probe.refused}
    assert set(refused) == {"with a missing value", "with an infinite value"}
    assert np.isnan(refused["with a missing value"]).sum() == 4
    for kind in refused:
        assert np.isnan(linear[kind].expected["probabilities"]).all()
        assert_array_equal(linear[kind].expected["label"], -1)
    tree = kinds_for(DecisionTreeClassifier().fit(X, y), X)
    refused = {kind for kind, probe in tree.items() if probe.refused}
    assert refused == {"with an infinite value", "with a value too large for float32"}
    assert "far from all others" in linear
    boosted = kinds_for(HistGradientBoostingClassifier(max_iter=2).fit(X, y), X)
    assert np.isnan(boosted["with a missing value"].rows).sum() == 4
    assert np.isinf(boosted["with an infinite value"].rows).sum() == 8
    assert not any(probe.refused for probe in boosted.values())
    assert "far from all others" not in kinds_for(LogisticRegression().fit(X, y), X, "float32")


def test_rows_are_of_the_kind_that_was_given(iris):
    X, _ = iris
    frame = pd.DataFrame(X, columns=list("abcd")).assign(word="red")

    class Sum(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = True
            return self

        def predict(self, X):
            columns = X["a"] if isinstance(X, sf.MultiInput) else X[list("abcd")].to_numpy()
            return np.sum(columns, axis=1)

    for probe in kinds_for(Sum().fit(frame, None), frame).values():
        assert list(probe.rows.columns) == [*"abcd", "word"]
        assert (probe.rows["word"] == "red").all()
    several = sf.MultiInput(a=X, image=np.ones((150, 2, 2)))
    for probe in kinds_for(Sum().fit(several, None), several).values():
        assert probe.rows["image"].shape[1:] == (2, 2)


class Late(DecisionTreeClassifier):
    """A tree whose converter, below, is wrong by one float."""


@sf.converter_for(Late)
def _late(estimator, x, method):

    below = estimator.tree_.threshold[:1].astype(np.float32)
    for _ in range(2):
        below = np.nextafter(below, np.float32(-np.inf))
    column = ops.cast(x[:, int(estimator.tree_.feature[0])], "float32")
    is_right = ops.cast(ops.greater(column, below), "int32")
    y = table(estimator.tree_.value[1:, 0], x.dtype)(is_right)
    return first_largest(y) if method == "label" else y


def test_a_converter_that_is_wrong_on_a_threshold_only_is_refused(iris, tmp_path):
    X, y = iris
    X = X.astype(np.float32).astype(np.float64)
    model = Late(max_depth=1, random_state=0).fit(X, y == 0)
    rows = X[X[:, model.tree_.feature[0]] != model.tree_.threshold[0]]
    graph = sf.to_keras(model)
    assert_array_equal(graph(rows)["probabilities"], model.predict_proba(rows))
    with pytest.raises(
        sf.ParityError, match=r"a made-up row, on the threshold of a tree .* for x = \["
    ):
        sf.export(model, tmp_path / "late.keras", verify=rows)
    assert not list(tmp_path.iterdir())


class Finite(RegressorMixin, BaseEstimator):
    """Refuses infinite numbers; its converter, below, does not know."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.tanh(check_array(X, ensure_all_finite="allow-nan")[:, 0])


@sf.converter_for(Finite, frames=True)
def _finite(estimator, x, method):

    return ops.tanh(x[:, 0])


def test_a_graph_that_answers_what_the_estimator_refuses_is_not_written(iris, tmp_path):
    X, y = iris
    with pytest.raises(
        sf.ParityError,
        match=r"with an infinite value: 'prediction' is .* instead of .*nan.* x = \[inf",
    ):
        sf.export(Finite().fit(X, y), tmp_path / "finite.keras", verify=X)
    assert not list(tmp_path.iterdir())


class Steps(RegressorMixin, BaseEstimator):
    """Counts whole steps in a sum; the graph, below, adds in another order."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.floor(((X[:, 0] + X[:, 1]) + X[:, 2]) * 10)


@sf.converter_for(Steps)
def _steps(estimator, x, method):

    return ops.floor((x[:, 0] + (x[:, 1] + x[:, 2])) * 10)


def test_a_row_at_which_the_estimator_itself_jumps_is_no_reason_to_refuse(tmp_path):
    X = np.random.default_rng(0).integers(0, 10, (64, 3)) / 10
    model = Steps().fit(X, None)
    agree = np.asarray(sf.to_keras(model)(X)["prediction"]) == model.predict(X)
    mixed = kinds_for(model, X)["of values from different rows"].rows
    got = np.asarray(sf.to_keras(model)(mixed)["prediction"])
    assert (got != model.predict(mixed)).any()  # rounding decides
    sf.export(model, tmp_path / "steps.keras", verify=X[agree])


def test_labels_at_ties(iris):
    expected = {
        "probabilities": np.array([[0.5, 0.5], [0.5 + 1e-7, 0.5 - 1e-7], [0.9, 0.1]]),
        "label": np.array([0, 0, 0]),
    }
    assert _parity.is_tie(expected, 1e-9).tolist() == [True, False, False]
    assert _parity.is_tie(expected, 1e-6).tolist() == [True, True, False]
    got = {**expected, "label": np.array([0, 1, 0])}
    with pytest.raises(sf.ParityError, match="That row is a tie: the estimator's best scores"):
        _parity.check_parity(expected, got, what="The file")
    got = {**expected, "label": np.array([0, 0, 1])}
    with pytest.raises(sf.ParityError, match="'label' differs in 1 of 3") as caught:
        _parity.check_parity(expected, got, what="The file")
    assert "tie" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "found", "fits"),
    [
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, 2.0], [1.0, np.nan], False),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1e6, 1.0], [1e6 + 1, 1.0], True),
        ([1e6, 1.0], [1e6 + 100, 1.0], False),
    ],
)
def test_parity_of_numbers(wanted, found, fits):
    expected, got = {"prediction": np.array(wanted)}, {"prediction": np.array(found)}
    if fits:
        assert _parity.check_parity(expected, got, what="It") <= 1
    else:
        with pytest.raises(sf.ParityError, match="'prediction' differs in 1 of 2 rows"):
            _parity.check_parity(expected, got, what="It")


def test_a_scaled_forest_agrees_on_rows_far_away(cancer, tmp_path):
    X, y = cancer
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    report = sf.export(model, tmp_path / "model.keras", verify=X)
    assert report.n_probes > 150
    far = kinds_for(model, X)["far from all others"].rows
    assert np.abs(far).max() > 1000


def test_a_regression_far_away(diabetes, tmp_path):
    X, y = diabetes
    assert sf.export(Ridge().fit(X, y), tmp_path / "ridge.onnx", verify=X).n_probes > 100


class Step(RegressorMixin, BaseEstimator):
    """1 up to the median of the first column, else 0."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        self.middle_ = float(np.median(X[:, 0])) + 1e-3
        return self

    def predict(self, X):
        return (np.asarray(X)[:, 0] <= self.middle_).astype(float)


def edges_of_step(estimator):
    return np.array([[0, estimator.middle_]])


@pytest.mark.parametrize("right", [True, False])
def test_converters_of_others_say_their_own_edges(iris, tmp_path, right):
    X, y = iris

    class Own(Step):
        pass

    @sf.converter_for(Own, edges=edges_of_step)
    def own(estimator, x, method):
        middle = np.array([estimator.middle_])
        below = ops.less_equal(x[:, :1], middle) if right else ops.less(x[:, :1], middle)
        return ops.cast(below, x.dtype)[:, 0]

    model = Own().fit(X, y)
    if right:
        assert sf.export(model, tmp_path / "a.keras", verify=X).max_difference == 0.0
        return
    with pytest.raises(sf.ParityError, match="on the threshold of a tree or one float beside it"):
        sf.export(model, tmp_path / "a.keras", verify=X)


def whole_numbers(seed):
    X, y = make_classification(
        120, 5, n_informative=3, n_redundant=0, n_classes=3, random_state=seed
    )
    return np.round(X * 4), y


def scaled_apart(n_columns):
    """Return scalers of one column each, which no tree can look through."""
    return ColumnTransformer([(str(k), StandardScaler(), [k]) for k in range(n_columns)])


def stack_of_labels(scaler, tree):
    bases, final = [("tree", make_pipeline(scaler, tree))], LogisticRegression()
    return sf.StackingClassifier(bases, final, cv=3, stack_method={"tree": "predict"})


def test_a_zero_on_a_threshold_behind_a_scaler_may_fall_to_its_other_side_in_float32():
    X = np.random.default_rng(7).integers(-40, 160, (80, 2)).astype(float)
    X[:, 0] += X[:, 0] == 0  # a tree's threshold lies there
    X[:2, 0] = -1, 1
    model = make_pipeline(scaled_apart(2), DecisionTreeClassifier(max_depth=1))
    model.fit(X, X[:, 0] > 0)
    probe = kinds_for(model, X, "float32")["of equal values"]
    got = sf.to_keras(model, precision="float32")(probe.rows.astype(np.float32))
    assert_array_equal(np.asarray(got["label"]) != probe.expected["label"], [1, 0, 0, 0])
    probe.check(model, got, what="The graph")


def test_float32_is_named_as_the_cause_if_the_graph_agrees_in_float64(tmp_path):
    X, y = whole_numbers(28)
    tree = DecisionTreeClassifier(random_state=0)
    stack = stack_of_labels(scaled_apart(5), tree).fit(X, y)
    with pytest.raises(sf.ParityError) as caught:
        sf.export(stack, tmp_path / "stack.tflite", verify=X)
    assert str(caught.value).endswith(
        "Nothing was written. In float64 the same graph agrees, so float32 has too few digits "
        "here. Export to .keras, .onnx or a SavedModel, and leave precision out."
    )
    sf.export(stack_of_labels(StandardScaler(), tree).fit(X, y), tmp_path / "stack.tflite")
