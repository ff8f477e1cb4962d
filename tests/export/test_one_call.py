"""A fitted stack's prediction in one compiled call equals that base by base, and stays so."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._export import compiled as _one_call
from stackfuse._export.checking import answers


def build(meta):
    """Return a network for either task, with a statistic that is no weight."""
    classes = meta["n_classes_"]
    end = {"units": classes, "activation": "softmax"} if classes else {"units": 1}
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(**end),
        ]
    )


def classifier(final=None, bases=(), **settings):
    networks = [(f"net{k}", sf.KerasClassifier(build)) for k in range(2)]
    networks += [(f"base{k}", base) for k, base in enumerate(bases)]
    return sf.StackingClassifier(networks, final, cv=2, random_state=0, **settings)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["a", "b", "c"])[y]


@pytest.fixture
def at_once(monkeypatch):
    """Build the graph at the first call."""
    monkeypatch.setattr(_one_call, "CALLS", 1)


@pytest.fixture(scope="module")
def linear(iris):
    """Return a fitted stack; tests do not change it."""
    return classifier(LogisticRegression()).fit(*iris)


@pytest.fixture
def stack(linear):
    """Return the stack without a graph."""
    _one_call._calls.pop(linear, None)
    return linear


def base_by_base(stack, X, method="predict_proba"):
    with _one_call.base_by_base():
        return getattr(stack, method)(X)


def graph_of(stack, method="predict_proba"):
    calls = _one_call._calls.get(stack, {}).get(method)
    return None if calls is None else calls.graph


@pytest.mark.parametrize(
    ("final", "bases", "settings"),
    [
        (None, [], {}),
        (LogisticRegression(), [], {"refit": False}),
        (LogisticRegression(), [LogisticRegression(max_iter=500), GaussianNB()], {}),
        (None, [make_pipeline(StandardScaler(), sf.KerasClassifier(build))], {}),
        (LogisticRegression(max_iter=500), [], {"passthrough": True}),
        (sf.FusionClassifier("dense", epochs=1), [], {}),
    ],
)
def test_equal_to_base_by_base(iris, at_once, final, bases, settings):
    X, y = iris
    stack = classifier(final, bases, **settings).fit(X, y)
    for rows in (X[:1], X[1:8], X):
        expected = base_by_base(stack, rows)
        np.testing.assert_allclose(stack.predict_proba(rows), expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(stack.predict(rows), base_by_base(stack, rows, "predict"))
    assert graph_of(stack) is not None
    assert graph_of(stack, "transform") is not None


def test_networks_are_equal_bit_by_bit(iris, at_once, stack):
    X, _ = iris
    for rows in (X[:1], X.astype(np.float32)):
        expected = base_by_base(stack, rows, "transform")
        np.testing.assert_array_equal(stack.transform(rows), expected)
    assert graph_of(stack, "transform") is not None


def test_regression(at_once):
    X, y = load_diabetes(return_X_y=True)
    bases = [("net", sf.KerasRegressor(build)), ("ridge", Ridge())]
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(X, y)
    expected = base_by_base(stack, X[:9], "predict")
    np.testing.assert_allclose(stack.predict(X[:9]), expected, rtol=1e-12)
    assert graph_of(stack, "predict") is not None


def test_the_graph_waits_until_it_pays(iris, stack):
    X, _ = iris
    for _ in range(_one_call.CALLS - 1):
        stack.predict_proba(X[:1])
    assert graph_of(stack) is None
    stack.predict_proba(X[:1])
    assert graph_of(stack) is not None
    assert graph_of(stack, "transform") is None


def test_weights_that_are_set_later_count(iris, at_once):
    X, y = iris
    stack = classifier().fit(X, y)
    before, graph = stack.predict_proba(X[:5]), graph_of(stack)
    for base in stack.estimators_:
        base.model_.set_weights([w + 0.5 for w in base.model_.get_weights()])
    after = stack.predict_proba(X[:5])
    assert graph_of(stack) is graph is not None  # the weights are shared
    np.testing.assert_allclose(after, base_by_base(stack, X[:5]), rtol=0, atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def changed_in_place(stack, X, y):
    stack.final_estimator_.coef_[:] *= 2


def with_another_base(stack, X, y):
    base = clone(stack.estimators_[0]).set_params(random_state=7)
    stack.estimators_[0] = base.fit(X, np.unique(y, return_inverse=True)[1])


def with_a_base_trained_on(stack, X, y):
    stack.estimators_[0].partial_fit(X, np.unique(y, return_inverse=True)[1])


def with_another_final(stack, X, y):
    stack.refit_final(GaussianNB())


def fitted_again(stack, X, y):
    stack.set_params(random_state=7).fit(X[::-1], y[::-1])


@pytest.mark.parametrize(
    "change",
    [
        changed_in_place,
        with_another_base,
        with_a_base_trained_on,
        with_another_final,
        fitted_again,
    ],
)
def test_what_changes_later_is_seen(iris, at_once, change):
    X, y = iris
    stack = classifier(LogisticRegression()).fit(X, y)
    before = stack.predict_proba(X[:5])
    assert graph_of(stack) is not None
    change(stack, X, y)
    after = stack.predict_proba(X[:5])
    np.testing.assert_allclose(after, base_by_base(stack, X[:5]), rtol=0, atol=1e-6)
    assert np.abs(after - before).max() > 1e-4


def test_copies_go_without(iris, at_once, stack):
    X, _ = iris
    expected = stack.predict_proba(X)
    for copied in (pickle.loads(pickle.dumps(stack)), copy.deepcopy(stack)):
        assert graph_of(copied) is None
        np.testing.assert_allclose(copied.predict_proba(X), expected, rtol=0, atol=1e-6)
    assert graph_of(clone(stack)) is None


def test_a_graph_does_not_keep_its_stack(iris, at_once):
    X, y = iris
    stack = classifier().fit(X, y)
    stack.predict_proba(X)
    assert graph_of(stack) is not None
    gone = weakref.ref(stack)
    del stack
    gc.collect()
    assert gone() is None


class Doubled(sf.StackingClassifier):
    """A stack that sees twice the X."""

    def transform(self, X):
        return super().transform(2 * X)


@pytest.mark.parametrize(
    "base",
    [
        RandomForestClassifier(7, random_state=0),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3, random_state=0), cv=2),
    ],
)
def test_trees_take_part_for_a_few_rows(iris, at_once, base):
    X, y = iris
    stack = classifier(LogisticRegression(), [base]).fit(X, y)
    some = X[:: len(X) // _one_call.LARGEST_X_OF_TREES][: _one_call.LARGEST_X_OF_TREES]
    got, graph = stack.predict_proba(some), graph_of(stack)
    assert graph is not None
    np.testing.assert_allclose(got, base_by_base(stack, some), rtol=0, atol=1e-12)
    many = X[: _one_call.LARGEST_X_OF_TREES + 1]
    np.testing.assert_array_equal(stack.predict_proba(many), base_by_base(stack, many))
    stack.estimators_[2].fit(X, np.arange(len(y)) % 3)
    other = stack.predict_proba(some)
    assert not np.allclose(other, got)
    assert graph_of(stack) is not graph
    np.testing.assert_allclose(other, base_by_base(stack, some), rtol=0, atol=1e-12)


def test_what_cannot_take_part_is_predicted_base_by_base(iris, at_once, monkeypatch):
    X, y = iris
    monkeypatch.setattr(_one_call, "MOST_NODES", 3)
    forest = classifier(LogisticRegression(), [RandomForestClassifier(2)]).fit(X, y)
    doubled = Doubled(classifier().estimators, LogisticRegression(), cv=2).fit(X, y)
    for stack in (forest, doubled):
        np.testing.assert_array_equal(stack.predict_proba(X), base_by_base(stack, X))
        assert graph_of(stack) is None
    linear = sf.StackingClassifier([("a", LogisticRegression(max_iter=500))], cv=2).fit(X, y)
    linear.predict_proba(X)
    assert graph_of(linear) is None


def test_x_in_another_precision_is_left_to_bases_that_compute_in_it(iris, at_once):
    X, y = iris
    stack = classifier(LogisticRegression(), [LogisticRegression(max_iter=500)]).fit(X, y)
    narrow = X[:5].astype(np.float32)
    stack.predict_proba(X[:5])
    np.testing.assert_array_equal(stack.predict_proba(narrow), base_by_base(stack, narrow))


def test_wrong_rows_are_refused_as_ever(iris, at_once, stack):
    X, _ = iris
    stack.predict_proba(X[:1])
    assert graph_of(stack) is not None
    missing = X[:2].copy()
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="rows 0"):
        stack.predict_proba(missing)
    with pytest.raises(ValueError, match="cannot represent"):
        stack.predict_proba(1e300 * X[:1])
    missing[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        stack.predict_proba(missing)
    with pytest.raises(ValueError, match="features"):
        stack.predict_proba(X[:1, :3])


def test_threads_get_the_same_numbers(iris, stack):
    X, _ = iris
    expected = base_by_base(stack, X)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: stack.predict_proba(X[k : k + 1]), list(range(150)) * 2))
    np.testing.assert_allclose(np.vstack(got), np.vstack([expected] * 2), rtol=0, atol=1e-6)
    assert graph_of(stack) is not None


class Wrong:
    """What a compiled call returns, times two."""

    def __init__(self, tensor):
        self.tensor = tensor

    def numpy(self):
        return 2 * self.tensor.numpy()


def test_an_export_is_compared_with_the_bases_and_not_with_the_compiled_call(
    iris, at_once, stack, tmp_path
):
    X, _ = iris
    right = base_by_base(stack, X), base_by_base(stack, X, "predict")
    stack.predict_proba(X)
    for calls in _one_call._calls[stack].values():
        assert calls.graph is not None
        function = calls.graph.function
        calls.graph = replace(calls.graph, function=lambda X, f=function: Wrong(f(X)))
    assert np.abs(stack.predict_proba(X) - right[0]).max() > 0.3
    for holder in (stack, make_pipeline("passthrough", stack)):
        expected = answers.expected_outputs(holder, X)
        np.testing.assert_array_equal(expected["probabilities"], right[0])
        np.testing.assert_array_equal(stack.classes_[expected["label"]], right[1])
    report = sf.export(stack, tmp_path / "stack.keras", verify=X)
    assert report.max_difference is not None
    assert report.max_difference < 1e-6
    assert np.abs(stack.predict_proba(X) - right[0]).max() > 0.3  # the wrong one is still there
