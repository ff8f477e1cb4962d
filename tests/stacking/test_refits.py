"""Estimators that are asked by other threads while they are fitted anew."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

LR = LogisticRegression()


def estimators():
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    bases = [("net", network), ("knn", KNeighborsClassifier())]
    yield "network", network
    yield "stack", sf.StackingClassifier(bases, LR, cv=2, random_state=0)
    yield "folds' models", sf.StackingClassifier(bases, cv=2, refit=False, random_state=0)
    yield "regressor", sf.KerasRegressor(build_regressor, epochs=2, random_state=0)
    others = [("knn", KNeighborsRegressor()), ("ridge", Ridge())]
    yield "stack of regressors", sf.StackingRegressor(others, cv=2, random_state=0)


@pytest.mark.parametrize("name", [name for name, _ in estimators()])
def test_a_refit_is_seen_whole_or_not_at_all(name, iris):
    estimator = dict(estimators())[name]
    X, y = iris
    few = X[:20]
    labels = np.array(["a", "b", "c"])[y] if hasattr(estimator, "predict_proba") else y
    turns = [(X, labels), (X[:, ::-1], labels[::-1])]
    wanted = []
    for rows, target in turns:
        fitted = clone(estimator).fit(rows, target)
        wanted.append([fitted.predict(few), fitted.predict(few)])
        if hasattr(fitted, "predict_proba"):
            wanted[-1][1] = fitted.predict_proba(few)
    estimator = clone(estimator).fit(*turns[0])
    seen, faults, done = set(), [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                got = estimator.predict(few)
                seen.update(k for k in (0, 1) if np.array_equal(got, wanted[k][0]))
                assert any(np.array_equal(got, right) for right, _ in wanted)
                if hasattr(estimator, "predict_proba"):
                    got = estimator.predict_proba(few)
                    assert any(np.array_equal(got, right) for _, right in wanted)
                estimator.score(*turns[0])
            except Exception as error:
                faults.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for k in (1, 0, 1):
            estimator.fit(*turns[k])
            assert_array_equal(estimator.predict(few), wanted[k][0])
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not faults, faults[0]
    assert seen == {0, 1}


def test_another_number_of_classes_and_columns(iris):
    """Labels are decoded by the fit that has computed them."""
    X, y = iris
    stack = sf.StackingClassifier([("knn", KNeighborsClassifier())], LR, cv=2)
    stack.fit(X, y)
    faults, done = [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            labels = stack.predict(X)
            if set(labels) not in ({0, 1, 2}, {"no", "yes"}):
                faults.append(labels)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(10):
        stack.fit(X, np.where(y > 0, "yes", "no"))
        stack.fit(X, y)
    done.set()
    thread.join()
    assert not faults


def test_a_new_meta_learner_is_seen_whole(iris):
    X, y = iris
    stack = sf.StackingClassifier([("knn", KNeighborsClassifier())], LR, cv=2).fit(X, y)

    class Asking(LogisticRegression):
        def fit(self, X_table, y, sample_weight=None):
            self.old_ = stack.predict(X)  # in the midst of it
            return super().fit(X_table, y, sample_weight)

    before = stack.predict(X)
    stack.refit_final(Asking(C=0.01))
    assert_array_equal(stack.final_estimator_.old_, before)
    assert stack.final_estimator_.C == 0.01


class Unfittable(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise OSError("the tape broke")


def test_a_refit_that_fails_leaves_nothing(iris):
    stack = sf.StackingClassifier([("knn", KNeighborsClassifier())], LR, cv=2).fit(*iris)
    stack.set_params(final_estimator=Unfittable())
    with pytest.raises(OSError, match="tape"):
        stack.fit(*iris)
    assert not hasattr(stack, "oof_")
    assert not stack.__sklearn_is_fitted__()
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(*iris)
    network.set_params(optimizer="sgd", optimizer__learning_rate=1e30, epochs=3)
    with pytest.raises(FloatingPointError):
        network.fit(*iris)
    assert not hasattr(network, "model_")
