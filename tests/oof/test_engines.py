import os
import pickle
import weakref
from dataclasses import replace
from typing import ClassVar

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._core.errors import FitFailed
from stackfuse._oof.engines import (
    JoblibEngine,
    SequentialEngine,
    SideBySideEngine,
    engine_named,
)
from stackfuse._oof.engines import (
    joblib as _joblib,
)
from stackfuse._oof.folds import (
    draw_folds,
    whole,
)
from stackfuse._oof.jobs import FoldFit, jobs_of, replica
from tests.support.folds import fit_folds
from tests.support.networks import build_classifier


def test_sequential_equals_cross_val_predict(iris):
    X, y = iris
    cv = StratifiedKFold(3)
    folds = draw_folds(cv, X, y, classifier=True)
    fits = fit_folds(
        SequentialEngine(),
        LogisticRegression(),
        X,
        y,
        [*folds, whole(len(y))],
        method="predict_proba",
    )
    wanted = cross_val_predict(LogisticRegression(), X, y, cv=cv, method="predict_proba")
    for fold, prediction in zip(folds, fits.predictions):
        assert_array_equal(prediction, wanted[fold.test])
    assert fits.predictions[-1] is None
    assert_array_equal(fits.estimators[-1].coef_, LogisticRegression().fit(X, y).coef_)


def test_sample_weights_are_cut_to_the_fold(iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(size=len(y))
    (fold, *_) = draw_folds(3, X, y, classifier=True)
    fits = fit_folds(
        SequentialEngine(),
        LogisticRegression(),
        X,
        y,
        [fold],
        method="predict_proba",
        fit_params={"sample_weight": weight},
    )
    wanted = LogisticRegression().fit(X[fold.train], y[fold.train], weight[fold.train])
    assert_array_equal(fits.predictions[0], wanted.predict_proba(X[fold.test]))


def test_keras_folds_equal_a_loop_of_plain_keras(iris):
    import keras

    X, y = iris
    folds = draw_folds(3, X, y, classifier=True)
    base = sf.KerasClassifier(build_classifier, dropout=0.2, epochs=3, batch_size=16)
    fits = fit_folds(
        SequentialEngine(), base, X, y, folds, method="predict_proba", seeds=[10, 11, 12]
    )
    for k, (train, test) in enumerate(folds):
        seed = fits.estimators[k].random_state
        keras.utils.set_random_seed(seed)
        meta = {"n_features_in_": 4, "X_shape_": (len(train), 4), "n_classes_": 3}
        model = build_classifier(meta, dropout=0.2)
        model.compile("adam", "sparse_categorical_crossentropy")
        rows = X[train].astype("float32")
        for epoch in range(3):
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            model.fit(rows[order], y[train][order], batch_size=16, shuffle=False, verbose=0)
        wanted = model.predict(X[test].astype("float32"), verbose=0)
        assert_allclose(fits.predictions[k], wanted, atol=1e-5)
        assert len(fits.histories[k]["loss"]) == 3


def test_replica_seeds_only_what_is_unset():
    pipe = make_pipeline(RandomForestClassifier(), RandomForestClassifier(random_state=3))
    twin = replica(pipe, 0)
    assert isinstance(twin.steps[0][1].random_state, int)
    assert twin.steps[1][1].random_state == 3
    assert replica(pipe, None).steps[0][1].random_state is None
    assert replica(pipe, 0).steps[0][1].random_state == twin.steps[0][1].random_state
    assert replica(pipe, 1).steps[0][1].random_state != twin.steps[0][1].random_state


def test_unknown_engine():
    with pytest.raises(ValueError, match="'fused', 'dask' or 'ray', got 'fast'"):
        engine_named("fast")


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_cluster_whose_package_is_missing(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ImportError, match=rf"pip install 'stackfuse\[{name}\]'"):
        engine_named(name)


def test_what_parallel_config_names_is_used_with_n_jobs_none(iris):
    stack = sf.StackingClassifier([("lr", LogisticRegression())], cv=2)
    with joblib.parallel_config("loky", n_jobs=2):
        assert stack.fit(*iris).engine_ == {"lr": "2 at a time"}
    assert stack.fit(*iris).engine_ == {"lr": "one by one"}


def test_networks_go_into_processes_where_that_pays(iris, monkeypatch):
    X, y = iris
    folds = draw_folds(4, X, y, classifier=True)
    base = sf.KerasClassifier(build_classifier, dropout=0.2, epochs=2)
    settings = {"method": "predict_proba", "seeds": [1, 2, 3, 4]}
    loop = fit_folds(SequentialEngine(), base, X, y, folds, **settings)
    engine = JoblibEngine(2)
    assert not engine._processes_pay(0.5, 1, 3)  # seconds, for so little
    assert engine._processes_pay(100, 1, 3)
    assert not JoblibEngine(1)._processes_pay(100, 1, 3)
    monkeypatch.setattr(_joblib, "WORTH_PROCESSES", 0.0)
    side_by_side = fit_folds(engine, base, X, y, folds, **settings)
    for one, other in zip(loop.predictions, side_by_side.predictions):
        assert_array_equal(one, other)
    assert side_by_side.histories == loop.histories
    with joblib.parallel_config("threading"):
        assert not engine._processes_pay(100, 1, 3)


def test_forks_are_refused_once_tensorflow_is_there(iris):
    build_classifier({"n_features_in_": 4, "X_shape_": (9, 4), "n_classes_": 3})
    with joblib.parallel_config("multiprocessing"):
        with pytest.raises(RuntimeError, match="TensorFlow hangs in a fork"):
            sf.StackingClassifier([("lr", LogisticRegression())], cv=2, n_jobs=2).fit(*iris)


@pytest.mark.parametrize("engine", [SequentialEngine(), JoblibEngine(2)])
def test_a_fit_that_fails_tells_its_fold(iris, engine):
    X, y = iris
    folds = draw_folds(3, X, y, classifier=True)
    X = X.copy()
    X[folds[0].test[0]] = np.nan  # fold 0 predicts the row, the others train on it
    with pytest.raises(ValueError, match="NaN") as caught:
        fit_folds(engine, Tolerant(), X, y, folds, method="predict_proba")
    assert caught.value.__notes__[-1] in (
        "on fold 1",
        "on fold 2",
    )  # side by side, either may be the first


class Tolerant(LogisticRegression):
    """Predicts rows with NaN, but does not train on them."""

    def predict_proba(self, X):
        return super().predict_proba(np.nan_to_num(X))


class Counted(LogisticRegression):
    """Knows how many of its kind are fitted and alive."""

    alive: ClassVar = weakref.WeakSet()
    most: ClassVar = 0

    def fit(self, X, y):
        super().fit(X, y)
        Counted.alive.add(self)
        Counted.most = max(Counted.most, len(Counted.alive))
        return self


def test_the_model_of_a_fold_goes_once_it_has_predicted(iris):
    X, y = iris
    stack = sf.StackingClassifier([("base", Counted())], LogisticRegression(), cv=5)
    Counted.most = 0
    stack.fit(X, y)
    assert Counted.most <= 2  # the one before goes when the next is there
    assert len(Counted.alive) == 1
    assert stack.estimators_[0] in Counted.alive
    averaged = stack.set_params(refit=False).fit(X, y)
    assert len(Counted.alive) == len(averaged.fold_estimators_[0]) == 5


@pytest.mark.parametrize("engine", ["sequential", "fused", "parallel"])
def test_only_models_that_are_kept_come_back(iris, engine):
    X, y = iris
    folds = [*draw_folds(2, X, y, classifier=True), whole(len(y))]
    base = sf.KerasClassifier(build_classifier, epochs=1, random_state=0)
    by = JoblibEngine(2) if engine == "parallel" else engine_named(engine)
    settings = {"method": "predict_proba", "seeds": [1, 2, 3]}
    every = fit_folds(by, base, X, y, folds, **settings)
    some = fit_folds(by, base, X, y, folds, **settings, keep=[False, False, True])
    assert [hasattr(e, "model_") for e in some.estimators] == [False, False, True]
    assert [e.kind for e in some.estimators[:2]] == ["KerasClassifier"] * 2
    assert_array_equal(some.estimators[0].classes_, every.estimators[0].classes_)
    for one, other in zip(some.predictions[:2], every.predictions[:2]):
        assert_array_equal(one, other)
    one, other = (fits.estimators[2].predict_proba(X) for fits in (some, every))
    assert_array_equal(one, other)


def altered(change):
    """Return an engine that computes what the loop does, but for a change of its results."""

    class Altered:
        def run_jobs(self, jobs, data):
            yield from change(list(SequentialEngine().run_jobs(jobs, data)))

    return Altered()


class Swallowing:
    """Goes on where a fit fails."""

    def run_jobs(self, jobs, data):
        for number, job in enumerate(jobs):
            try:
                yield number, job.run(data)
            except FitFailed:
                yield number, FoldFit(None, None, None)


class OtherSeeds:
    def run_jobs(self, jobs, data):
        return SequentialEngine().run_jobs((replace(job, seed=5) for job in jobs), data)


@pytest.mark.parametrize(
    "engine",
    [
        SequentialEngine(),
        JoblibEngine(2),
        engine_named("auto"),
        SideBySideEngine(SequentialEngine()),
        altered(reversed),
    ],
    ids=["loop", "joblib", "auto", "side by side", "in any order"],
)
def test_engines_compute_what_the_loop_does(engine):
    sf.testing.check_engine(engine)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (altered(lambda fits: fits[1:]), "jobs"),
        (altered(lambda fits: fits + fits[:1]), "yielded twice"),
        (altered(lambda fits: [(k, f._replace(predictions=None)) for k, f in fits]), "predictions"),
        (altered(lambda fits: [(k, f.without_model()) for k, f in fits]), "the model is not"),
        (altered(lambda fits: [(k, f._replace(history={})) for k, f in fits]), "history"),
        (Swallowing(), "raised nothing"),
        (OtherSeeds(), "predictions"),
    ],
)
def test_wrong_engines_are_found_out(engine, message):
    with pytest.raises(AssertionError, match=message):
        sf.testing.check_engine(engine)


def test_what_is_no_engine_is_refused(iris):
    with pytest.raises(TypeError, match="an object with a method run_jobs, got 3"):
        sf.StackingClassifier([("lr", LogisticRegression())], engine=3).fit(*iris)
    with pytest.raises(TypeError, match="an object with a method run_jobs"):
        sf.StackingClassifier([("lr", LogisticRegression())], engine=SequentialEngine).fit(*iris)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda fits: fits[1:], "left out job"), (lambda fits: fits + fits[:1], "twice")],
)
def test_an_engine_that_goes_wrong_is_named_and_never_loops(
    iris, tmp_path, memory, change, message
):
    bases = [("tree", DecisionTreeClassifier(random_state=0))]
    settings = {"cv": 3, "memory": tmp_path if memory else None}
    with pytest.raises(RuntimeError, match=message):
        sf.out_of_fold(bases, *iris, engine=altered(change), **settings)


class Killing(LogisticRegression):
    """Ends its process."""

    def fit(self, X, y, sample_weight=None):
        os._exit(1)


@pytest.mark.slow
def test_a_base_that_kills_its_process_is_dropped(iris):
    bases = [("kills", Killing()), ("lr", LogisticRegression(max_iter=500))]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, n_jobs=2, on_error="drop")
    with pytest.warns(UserWarning, match="'kills' failed and is dropped"):
        stack.fit(*iris)
    assert list(stack.failures_) == ["kills"]


def test_jobs_hold_no_fitted_model(iris):
    X, y = iris
    forest = RandomForestClassifier(100, random_state=0).fit(X, y)
    (job, *others) = jobs_of(forest, draw_folds(3, X, y, classifier=True))
    assert len(pickle.dumps(job)) < 10_000 < len(pickle.dumps(forest))
    assert all(other.estimator is job.estimator for other in others)
    assert {job: 1}[job] == 1
    assert job != others[0]
