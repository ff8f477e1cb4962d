"""A compiled stack predicts as the stack did when it was compiled."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import NuSVC
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._export.compiled_stack.compiling import LARGEST_X, LARGEST_X_OF_TREES


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
    return sf.StackingClassifier(networks, final, random_state=0, **{"cv": 2, **settings})


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def linear(iris):
    """Return a fitted stack; tests do not change it."""
    return classifier(LogisticRegression()).fit(*iris)


@pytest.fixture(scope="module")
def fast(linear):
    """Return the stack, compiled."""
    return sf.compiled(linear)


@contextmanager
def no_base_is_asked(monkeypatch):
    """Let networks and the meta-learner raise, so that what returns has been compiled."""

    def refuse(*args, **kwargs):
        raise AssertionError("A base was asked.")

    with monkeypatch.context() as patch:
        for cls in (sf.KerasClassifier, sf.KerasRegressor):
            patch.setattr(cls, "predict", refuse)
        patch.setattr(sf.KerasClassifier, "predict_proba", refuse)
        yield


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
def test_equal_to_base_by_base(iris, monkeypatch, final, bases, settings):
    X, y = iris
    stack = classifier(final, bases, **settings).fit(X, y)
    fast = sf.compiled(stack)
    assert fast.methods == ("predict", "predict_proba", "transform")
    assert fast.reasons == {}
    for rows in (X[:1], X[1:8], X):
        with no_base_is_asked(monkeypatch):
            got, labels, table = fast.predict_proba(rows), fast.predict(rows), fast.transform(rows)
        np.testing.assert_allclose(got, stack.predict_proba(rows), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(labels, stack.predict(rows))
        np.testing.assert_allclose(table, stack.transform(rows), rtol=0, atol=1e-6)
        assert labels.dtype == stack.predict(rows).dtype


def test_networks_are_equal_bit_by_bit(iris, linear, fast, monkeypatch):
    X, _ = iris
    for rows in (X[:1], X.astype(np.float32)):
        with no_base_is_asked(monkeypatch):
            got = fast.transform(rows)
        np.testing.assert_array_equal(got, linear.transform(rows))


def test_regression(monkeypatch):
    X, y = load_diabetes(return_X_y=True)
    bases = [("net", sf.KerasRegressor(build)), ("ridge", Ridge())]
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(X, y)
    fast = sf.compiled(stack)
    with no_base_is_asked(monkeypatch):
        got = fast.predict(X[:9])
    np.testing.assert_allclose(got, stack.predict(X[:9]), rtol=1e-12)
    assert not hasattr(fast, "predict_proba")


def test_stacks_without_networks_and_without_probabilities(iris):
    X, y = iris
    bases = [("linear", LogisticRegression(max_iter=500)), ("bayes", GaussianNB())]
    stack = sf.StackingClassifier(bases, RidgeClassifier(), cv=2).fit(X, y)
    fast = sf.compiled(stack)
    assert fast.methods == ("predict", "transform")
    assert not hasattr(fast, "predict_proba")
    np.testing.assert_array_equal(fast.predict(X), stack.predict(X))


def test_several_labels(iris):
    X, _ = iris
    y = np.column_stack([X[:, 0] > 5.8, X[:, 1] > 3, X[:, 2] > 4]).astype(int)
    bases = [("tree", DecisionTreeClassifier(max_depth=3)), ("bayes", RandomForestClassifier(3))]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, y)
    fast = sf.compiled(stack)
    np.testing.assert_array_equal(fast.predict(X[:20]), stack.predict(X[:20]))
    np.testing.assert_allclose(
        fast.predict_proba(X[:20]), stack.predict_proba(X[:20]), rtol=0, atol=1e-12
    )


def test_a_stack_never_changes_with_the_number_of_calls(iris, linear):
    X, _ = iris
    first = linear.predict_proba(X[:1])
    assert all(np.array_equal(linear.predict_proba(X[:1]), first) for _ in range(150))


def changed_in_place(stack, X, y):
    stack.final_estimator_.coef_[:] *= 2


def with_other_weights(stack, X, y):
    for base in stack.estimators_:
        base.model_.set_weights([w + 0.5 for w in base.model_.get_weights()])


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
        with_other_weights,
        with_another_base,
        with_a_base_trained_on,
        with_another_final,
        fitted_again,
    ],
)
def test_it_is_of_the_stack_as_it_was(iris, change):
    X, y = iris
    stack = classifier(LogisticRegression()).fit(X, y)
    before, table = stack.predict_proba(X), stack.transform(X)
    fast = sf.compiled(stack)
    change(stack, X, y)
    assert np.abs(stack.predict_proba(X) - before).max() > 1e-4
    np.testing.assert_allclose(fast.predict_proba(X), before, rtol=0, atol=1e-6)
    many = np.vstack([X] * (LARGEST_X // len(X) + 1))  # base by base
    np.testing.assert_allclose(fast.transform(many)[: len(X)], table, rtol=0, atol=1e-6)


def test_it_pickles_as_the_stack_does(iris, linear, fast):
    X, _ = iris
    loaded = pickle.loads(pickle.dumps(fast))
    assert repr(loaded) == repr(fast)
    np.testing.assert_allclose(loaded.predict_proba(X), linear.predict_proba(X), rtol=0, atol=1e-6)


def test_it_cannot_be_changed(fast):
    with pytest.raises(FrozenInstanceError):
        fast.methods = ()
    with pytest.raises(TypeError):
        fast.reasons["predict"] = ""


def test_folds_from_a_generator_need_not_be_copied(iris):
    X, y = iris
    stack = classifier(cv=iter(list(KFold(2, shuffle=True, random_state=0).split(X)))).fit(X, y)
    got = sf.compiled(stack).predict_proba(X[:3])
    np.testing.assert_allclose(got, stack.predict_proba(X[:3]), rtol=0, atol=1e-6)


def test_of_a_search_it_is_the_best_stack(iris):
    X, y = iris
    stack = sf.StackingClassifier([("bayes", GaussianNB())], LogisticRegression(), cv=2)
    search = GridSearchCV(stack, {"final_estimator__C": [0.1, 1.0]}, cv=2).fit(X, y)
    got = sf.compiled(search).predict_proba(X)
    np.testing.assert_allclose(got, search.predict_proba(X), rtol=0, atol=1e-9)


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
def test_trees_take_part_for_a_few_rows(iris, monkeypatch, base):
    X, y = iris
    stack = classifier(LogisticRegression(), [base]).fit(X, y)
    fast = sf.compiled(stack)
    some = X[:: len(X) // LARGEST_X_OF_TREES][:LARGEST_X_OF_TREES]
    with no_base_is_asked(monkeypatch):
        got = fast.predict_proba(some)
    np.testing.assert_allclose(got, stack.predict_proba(some), rtol=0, atol=1e-12)
    many = X[: LARGEST_X_OF_TREES + 1]
    np.testing.assert_array_equal(fast.predict_proba(many), stack.predict_proba(many))


class Nearest(ClassifierMixin, BaseEstimator):
    """A meta-learner without a converter: the class whose mean is nearest."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.array([X[y == c].mean(axis=0) for c in self.classes_])
        return self

    def predict(self, X):
        distances = ((np.asarray(X)[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distances.argmin(axis=1)]


def test_what_cannot_be_compiled_is_said(iris):
    X, y = iris
    stack = classifier(Nearest()).fit(X, y)
    fast = sf.compiled(stack)
    assert fast.methods == ("transform",)
    assert list(fast.reasons) == ["predict"]
    assert "Nearest" in fast.reasons["predict"]
    assert repr(fast) == (
        "<compiled StackingClassifier: transform; base by base: predict, see reasons>"
    )
    np.testing.assert_array_equal(fast.predict(X), stack.predict(X))


def test_where_nothing_can_be_compiled_there_is_an_error(iris):
    X, y = iris
    with pytest.raises(sf.NotConvertible, match="overrides transform"):
        sf.compiled(Doubled(classifier().estimators, LogisticRegression(), cv=2).fit(X, y))
    odd = [("svm", NuSVC(kernel=lambda a, b: a @ b.T))]
    with pytest.raises(sf.NotConvertible, match="NuSVC"):
        sf.compiled(sf.StackingClassifier(odd, LogisticRegression(), cv=2).fit(X, y))
    bases = [("linear", LogisticRegression(max_iter=500))]
    with pytest.raises(sf.NotConvertible, match="sparse rows"):
        sf.compiled(sf.StackingClassifier(bases, cv=2).fit(scipy.sparse.csr_array(X), y))
    with pytest.raises(sf.NotConvertible, match="Fit it on float64"):
        sf.compiled(sf.StackingClassifier(bases, cv=2).fit(X.astype(np.float32), y))


def test_other_things_are_refused(iris, linear):
    with pytest.raises(TypeError, match=r"got Pipeline.*pipeline\[-1\]"):
        sf.compiled(make_pipeline(StandardScaler(), linear))
    with pytest.raises(TypeError, match="got the class StackingClassifier"):
        sf.compiled(sf.StackingClassifier)
    with pytest.raises(NotFittedError):
        sf.compiled(classifier())


def test_x_in_another_precision_is_left_to_bases_that_compute_in_it(iris):
    X, y = iris
    stack = classifier(LogisticRegression(), [LogisticRegression(max_iter=500)]).fit(X, y)
    narrow = X[:5].astype(np.float32)
    np.testing.assert_array_equal(
        sf.compiled(stack).predict_proba(narrow), stack.predict_proba(narrow)
    )


def test_x_of_another_kind_goes_base_by_base(iris, linear, fast):
    X, _ = iris
    for rows in (X[:3].tolist(), scipy.sparse.csr_array(X[:3])):
        np.testing.assert_array_equal(fast.predict_proba(rows), linear.predict_proba(rows))
    whole = X[:3].round().astype(int)
    np.testing.assert_allclose(
        fast.predict_proba(whole), linear.predict_proba(whole), rtol=0, atol=1e-6
    )


def test_frames(iris, monkeypatch):
    X, y = iris
    frame = pd.DataFrame(X, columns=[*"abcd"])
    stack = classifier(LogisticRegression()).fit(frame, y)
    fast = sf.compiled(stack)
    with no_base_is_asked(monkeypatch):
        got = fast.predict_proba(frame[:5])
    np.testing.assert_allclose(got, stack.predict_proba(frame[:5]), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="feature names"):
        fast.predict_proba(frame[[*"dcba"]])


def test_frames_with_strings(iris, monkeypatch):
    X, y = iris
    frame = pd.DataFrame(X, columns=[*"abcd"]).assign(word=np.where(X[:, 0] > 5.5, "x", "y"))

    def columns():
        return make_column_transformer(
            (OneHotEncoder(), ["word"]), (StandardScaler(), [*"abcd"]), sparse_threshold=0
        )

    bases = [
        ("net", make_pipeline(columns(), sf.KerasClassifier(build))),
        ("linear", make_pipeline(columns(), LogisticRegression())),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(frame, y)
    fast = sf.compiled(stack)
    with no_base_is_asked(monkeypatch):
        got = fast.predict_proba(frame[:5])
    np.testing.assert_allclose(got, stack.predict_proba(frame[:5]), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="unknown categories"):
        fast.predict_proba(frame[:5].assign(word="z"))


def test_missing_values_go_to_bases_that_take_them(iris):
    X, y = iris
    X = X.copy()
    X[::7, 0] = np.nan
    bases = [("linear", make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)))]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2).fit(X, y)
    fast = sf.compiled(stack)
    np.testing.assert_allclose(fast.predict_proba(X), stack.predict_proba(X), rtol=0, atol=1e-9)


def test_wrong_rows_are_refused_as_ever(iris, fast):
    X, _ = iris
    missing = X[:2].copy()
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="rows 0"):
        fast.predict_proba(missing)
    with pytest.raises(ValueError, match="rows 0"):
        fast.predict(missing)
    with pytest.raises(ValueError, match="cannot hold that number"):
        fast.predict_proba(1e300 * X[:1])
    missing[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        fast.predict_proba(missing)
    with pytest.raises(ValueError, match="features"):
        fast.predict_proba(X[:1, :3])
    with pytest.raises(ValueError, match="0 sample"):
        fast.predict_proba(X[:0])


def test_threads_get_the_same_numbers(iris, linear, fast):
    X, _ = iris
    expected = linear.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: fast.predict_proba(X[k : k + 1]), list(range(150)) * 2))
    np.testing.assert_allclose(np.vstack(got), np.vstack([expected] * 2), rtol=0, atol=1e-6)


def test_a_graph_that_disagrees_is_an_error(iris, linear, monkeypatch):
    def wrong(stack, x, method):
        y = sf.convert(stack, x, method)
        return 0 * y if method == "label" else 2 * y

    monkeypatch.setitem(sf.compiled.__globals__, "convert", wrong)
    with pytest.raises(sf.ParityError, match="returns other numbers than the stack"):
        sf.compiled(linear)
