"""How long a compiled stack takes, and the bases that answer in time."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB

import stackfuse as sf
from stackfuse._export import compiled_stack
from stackfuse._export.compiled_stack import selection
from tests.support.networks import build_classifier

LR = ("lr", LogisticRegression(max_iter=1000))
NB = ("nb", GaussianNB())
FOREST = ("forest", ExtraTreesClassifier(60, random_state=0))
NET = ("net", sf.KerasClassifier(build_classifier, epochs=3))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    return X, (X[:, 0] + rng.normal(size=300) > 0).astype(int) + (X[:, 1] > 1)


@pytest.fixture(scope="module")
def stack(rows):
    return sf.StackingClassifier([LR, FOREST, NB], cv=3, random_state=0).fit(*rows)


def test_latency_is_what_a_clock_says(stack, rows):
    fast, one = sf.compiled(stack), rows[0][:1]
    found = fast.latency(one)
    started = time.perf_counter()
    for _ in range(50):
        fast.predict_proba(one)
    mean = 1000 * (time.perf_counter() - started) / 50
    assert 0 < found.low <= found.median <= found.high
    assert found.median / 10 < mean < 10 * found.median
    assert 20 <= found.n_calls <= 1000
    assert found.n_rows == 1
    assert f"{found.median:.3g} ms for 1 row (median of {found.n_calls} calls" in str(found)


def test_latency_of_a_method(stack, rows):
    fast = sf.compiled(stack)
    assert fast.latency(rows[0][:7], method="transform").n_rows == 7
    with pytest.raises(
        ValueError, match="method must be 'predict', 'predict_proba' or 'transform'"
    ):
        fast.latency(rows[0][:1], method="score")
    regressor = sf.StackingRegressor([("ridge", Ridge())], cv=3).fit(*rows)
    with pytest.raises(ValueError, match="method must be 'predict' or 'transform', got 'predict_p"):
        sf.compiled(regressor).latency(rows[0][:1], method="predict_proba")


def test_a_stack_over_some_bases_is_that_of_a_fit_of_these(rows):
    X, y = rows
    settings: dict[str, Any] = {"cv": 3, "random_state": 0}
    whole = sf.StackingClassifier([LR, NB, NET], stack_method={"nb": "predict"}, **settings)
    whole.fit(X, y)
    some = whole.of_bases(["net", "lr"])
    alone = sf.StackingClassifier([LR, NET], **settings).fit(X, y)
    assert_array_equal(some.oof_.predictions, alone.oof_.predictions)
    assert_allclose(some.predict_proba(X), alone.predict_proba(X), atol=1e-12)
    assert [name for name, _ in some.estimators] == list(some.engine_) == ["lr", "net"]
    assert list(some.named_estimators_) == ["lr", "net"]
    assert len(whole.estimators_) == 3  # it stays as it was
    assert_array_equal(some.fit(X, y).oof_.predictions, alone.oof_.predictions)


def test_a_stack_over_some_bases_with_columns_and_models_of_folds(rows):
    X, y = rows
    settings: dict[str, Any] = {"cv": 3, "random_state": 0, "passthrough": [0], "refit": False}
    final = LogisticRegression()
    some = sf.StackingClassifier([LR, NB], final, **settings).fit(X, y).of_bases(["nb"], X)
    alone = sf.StackingClassifier([NB], final, **settings).fit(X, y)
    assert_allclose(some.predict_proba(X), alone.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize(
    ("names", "got"), [(["lr", "svm"], "'svm'"), ("lr", "'lr'"), ([], r"\[\]")]
)
def test_names_of_bases_are_checked(stack, names, got):
    with pytest.raises(ValueError, match=rf"names must be a list of 'lr', .* 'nb', got {got}\."):
        stack.of_bases(names)


def test_a_stack_that_answers_in_time(rows, tmp_path):
    X, y = rows
    stack = sf.StackingClassifier([LR, FOREST], cv=3, random_state=0).fit(X, y)
    took = {
        name: sf.compiled(stack.of_bases([name])).latency(X[:1]).median for name in ("lr", "forest")
    }
    assert took["forest"] > 2 * took["lr"]
    quick = sf.select(stack, X[:1], max_latency=(took["lr"] + took["forest"]) / 2)
    assert [name for name, _ in quick.estimators] == ["lr"]
    assert sf.compiled(quick).latency(X[:1]).median < took["forest"]
    assert len(stack.estimators_) == 2
    report = sf.export(quick, tmp_path / "quick.keras", verify=X)
    assert report.max_difference < 1e-6


@pytest.fixture
def made_up(monkeypatch):
    """One millisecond for each base, so that nothing is compiled."""

    class MadeUp:
        def __init__(self, stack):
            self.n_bases = len(stack.estimators)

        def latency(self, rows):
            return compiled_stack.Latency(float(self.n_bases), 0.0, 0.0, 1, len(rows))

    monkeypatch.setattr(selection, "compiled", MadeUp)


@pytest.mark.usefixtures("made_up")
def test_with_time_enough_all_bases_stay(stack, rows):
    search = GridSearchCV(stack, {"passthrough": [False]}, cv=2).fit(*rows)
    every = sf.select(search, rows[0][:1], max_latency=3)
    best = search.best_estimator_
    assert_allclose(every.predict_proba(rows[0]), best.predict_proba(rows[0]), atol=1e-12)


@pytest.mark.usefixtures("made_up")
def test_of_equally_fast_bases_the_best_is_taken(rows):
    X, y = rows
    bases = [LR, NB, ("nb2", GaussianNB(var_smoothing=10.0))]
    stack = sf.StackingClassifier(bases, cv=3).fit(X, y)

    def log_loss(*names):
        return stack.of_bases(names).report().stack.mean

    [(chosen, _)] = sf.select(stack, X[:1], max_latency=1.5).estimators
    assert chosen == min(["lr", "nb", "nb2"], key=log_loss)
    pair = [name for name, _ in sf.select(stack, X[:1], max_latency=2.5).estimators]
    pairs = [("lr", "nb"), ("lr", "nb2"), ("nb", "nb2")]
    assert tuple(pair) == min(pairs, key=lambda names: log_loss(*names))


@pytest.mark.usefixtures("made_up")
def test_no_base_answers_in_time(stack, rows):
    with pytest.raises(ValueError, match=r"No base answers 1 row within max_latency=0.1 ms: "):
        sf.select(stack, rows[0][:1], max_latency=0.1)
    with pytest.raises(ValueError, match="max_latency must be a positive number of milliseconds"):
        sf.select(stack, rows[0][:1], max_latency=0)
    with pytest.raises(TypeError, match="select takes a fitted StackingClassifier or"):
        sf.select(stack.estimators_[0], rows[0][:1], max_latency=1)
