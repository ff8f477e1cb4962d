"""Searches over networks give what scikit-learn's own give, with the fits side by side."""

import gc
import pickle
import time
import warnings
import weakref
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import loguniform
from sklearn import model_selection
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_absolute_error, r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._core.errors import CannotTrainSideBySide
from tests.support.searches import CLOSE, Watched, assert_same_results, mlp, net

UNITS = {"model__units": [3, 5]}


def both(estimator, grid, X, y, fit_params=None, **settings):
    """Return our search and scikit-learn's, fitted alike."""
    settings = {"cv": 2, **settings}
    ours = sf.GridSearchCV(estimator, grid, **settings).fit(X, y, **(fit_params or {}))
    settings.pop("engine", None)
    theirs = model_selection.GridSearchCV(estimator, grid, **settings)
    return ours, theirs.fit(X, y, **(fit_params or {}))


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_that_would_get_no_fit_is_refused(engine, diabetes):
    stack = sf.StackingRegressor([("ridge", Ridge())])
    asked = [
        (
            Ridge(),
            rf"none of Ridge: send all fits there with joblib\.parallel_config\('{engine}'\)",
        ),
        (
            stack,
            rf"none of StackingRegressor: write StackingRegressor\(engine='{engine}'\), or send",
        ),
    ]
    for estimator, message in asked:
        grid = {"alpha" if estimator is not stack else "ridge__alpha": [1.0, 2.0]}
        with pytest.raises(ValueError, match=message):
            sf.GridSearchCV(estimator, grid, engine=engine).fit(*diabetes)
        for function in (sf.cross_validate, sf.cross_val_predict):
            with pytest.raises(ValueError, match=message):
                function(estimator, *diabetes, engine=engine)


def test_a_grid(iris):
    grid = {**UNITS, "optimizer__learning_rate": [0.01, 0.1]}
    engine = Watched()
    options = {"scoring": "neg_log_loss", "return_train_score": True, "cv": 3}
    ours, theirs = both(net(), grid, *iris, engine=engine, **options)
    assert sum(engine.handed) == 12
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=CLOSE)
    assert {*vars(ours)} == {*vars(theirs), "engine"}
    ours, theirs = (search.predict_proba(iris[0]) for search in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=CLOSE)


KINDS = {
    "labels": (sf.KerasClassifier, lambda y: np.array(["one", "two", "three"])[y]),
    "several labels": (sf.KerasClassifier, lambda y: np.eye(3, dtype=int)[y]),
    "several numbers": (sf.KerasRegressor, lambda y: np.column_stack([y, y**2]).astype(float)),
    "a series": (sf.KerasRegressor, lambda y: pd.Series(y, index=y[::-1]).astype(float)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_targets(kind, iris):
    X, y = iris
    wrapper, target = KINDS[kind]
    engine = Watched()
    ours, theirs = both(net(wrapper), UNITS, X, target(y), engine=engine)
    assert engine.handed == [2, 2]
    assert_same_results(ours.cv_results_, theirs.cv_results_)


def scaled(**settings):
    """Return a network behind a scaler."""
    return make_pipeline(StandardScaler(), net(sf.KerasRegressor, **settings))


WRAPPED = {
    "pipeline": (scaled(), {"kerasregressor__model__units": [3, 5]}),
    "steps": (
        Pipeline([("scale", StandardScaler()), ("net", Ridge())]),
        {"net": [net(sf.KerasRegressor), Ridge()], "scale": ["passthrough", StandardScaler()]},
    ),
    "target": (
        TransformedTargetRegressor(net(sf.KerasRegressor), transformer=StandardScaler()),
        {"regressor__model__units": [3, 5]},
    ),
    "search": (
        sf.GridSearchCV(net(sf.KerasRegressor), {"model__units": [3]}, cv=2),
        {"estimator__optimizer__learning_rate": [0.01, 0.1]},
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_ends_in_a_network(kind, diabetes):
    estimator, grid = WRAPPED[kind]
    X = pd.DataFrame(diabetes[0][:60]).add_prefix("x")
    engine = {} if kind in ("steps", "search") else {"engine": Watched()}
    ours, theirs = both(estimator, grid, X, diabetes[1][:60] / 100, **engine)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=CLOSE, rtol=CLOSE)


def simplest(results):
    """Return the candidate of fewest units among those within two standard errors of the best."""
    assert (results["mean_fit_time"] > 0.001).all()
    return int(results["param_model__units"].argmin())


def test_several_scores_groups_weights_and_a_refit_of_ones_own(diabetes):
    X, y = diabetes
    groups, weight = np.arange(len(y)) // 7, np.linspace(0.1, 2, len(y))
    scoring = {"r2": make_scorer(r2_score), "error": make_scorer(mean_absolute_error)}
    options = {"cv": model_selection.GroupKFold(2), "scoring": scoring, "refit": simplest}
    fit_params = {"groups": groups, "sample_weight": weight}
    ours, theirs = both(net(sf.KerasRegressor), UNITS, X, y / 100, fit_params, **options)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == {"model__units": 3}
    assert ours.multimetric_
    assert not hasattr(ours, "best_score_")


def test_metadata_is_routed(diabetes):
    X, y = diabetes
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = net(sf.KerasRegressor).set_fit_request(sample_weight="w", groups=False)
        options = {"cv": model_selection.GroupKFold(2)}
        fit_params = {"groups": np.arange(len(y)) // 7, "w": np.linspace(0, 2, len(y))}
        ours, theirs = both(estimator, UNITS, X, y / 100, fit_params, **options)
    assert_same_results(ours.cv_results_, theirs.cv_results_)


def test_random_candidates_and_folds(iris):
    options = {"n_iter": 3, "scoring": "neg_log_loss"}
    rates = {"optimizer__learning_rate": loguniform(1e-3, 1)}
    searches = []
    for kind in (sf.RandomizedSearchCV, model_selection.RandomizedSearchCV):
        state = np.random.RandomState(3)
        folds = model_selection.ShuffleSplit(2, random_state=state)
        searches.append(kind(net(), rates, random_state=state, cv=folds, **options).fit(*iris))
    assert_same_results(*(search.cv_results_ for search in searches))


def test_fits_without_a_random_state_differ(iris):
    same = {"batch_size": [16, 16]}
    search = sf.GridSearchCV(net(random_state=None), same, cv=2, scoring="neg_log_loss")
    scores = search.fit(*iris).cv_results_["mean_test_score"]
    assert abs(scores[0] - scores[1]) > CLOSE


def failing(meta, units=4):
    """Return a network, unless it is too small."""
    if units < 2:
        raise ValueError(f"{units} units are too few")
    return mlp(meta, units)


@pytest.mark.parametrize(
    "grid", [{"model__units": [3, 1, 5]}, {"optimizer__learning_rate": [0.1, 1e38, 0.01]}]
)
def test_fits_that_fail(grid, diabetes):
    estimator, data = net(sf.KerasRegressor, failing), (diabetes[0], diabetes[1] / 100)
    results = []
    for kind in (sf.GridSearchCV, model_selection.GridSearchCV):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            search = kind(estimator, grid, cv=2, error_score=-9.0).fit(*data)
        results.append(search.cv_results_)
        said = [str(each.message) for each in told if each.category is FitFailedWarning]
        assert len(said) == 1
        assert "2 fits failed out of a total of 6" in said[0]
    assert_same_results(*results)
    assert results[0]["mean_test_score"][1] == -9.0
    with pytest.raises((ValueError, FloatingPointError), match=r"too few|diverged"):
        sf.GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(*data)


def test_engines(iris):
    with pytest.raises(ValueError, match="engine must be 'auto'"):
        sf.GridSearchCV(net(), UNITS, engine="none").fit(*iris)
    declined = net(fit__validation_freq=2)
    with pytest.raises(CannotTrainSideBySide, match="fit__validation_freq works only in"):
        sf.GridSearchCV(declined, UNITS, engine="fused").fit(*iris)
    ours, theirs = both(declined, UNITS, *iris)
    assert_same_results(ours.cv_results_, theirs.cv_results_)


def test_wrong_parameters_are_told_as_in_sklearn(iris):
    said = []
    for kind in (sf.GridSearchCV, model_selection.GridSearchCV):
        with pytest.raises(ValueError, match="nothing") as error:
            kind(net(), {"nothing": [1]}).fit(*iris)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_what_has_no_network_runs_as_in_sklearn(n_jobs, iris):
    ours, theirs = both(LogisticRegression(), {"C": [0.1, 1]}, *iris, n_jobs=n_jobs)
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])


def test_a_stack_runs_as_in_sklearn(iris):
    stack = sf.StackingClassifier([("net", net())], cv=2, random_state=0)
    ours, theirs = both(stack, {"passthrough": [False, True]}, *iris)
    assert_same_results(ours.cv_results_, theirs.cv_results_)


def test_a_search_is_cloned_and_pickled(iris):
    search = sf.GridSearchCV(net(), UNITS, cv=2, n_jobs=1, engine="sequential")
    assert clone(search).get_params()["engine"] == "sequential"
    twin = pickle.loads(pickle.dumps(search.fit(*iris)))
    np.testing.assert_allclose(twin.predict_proba(iris[0]), search.predict_proba(iris[0]), 1e-6)
    assert twin.score(*iris) == search.score(*iris)
    assert search.n_jobs == 1
    assert type(search.best_estimator_).fit is search.best_estimator_.fit.__func__


def test_a_search_that_fails_is_not_fitted(iris):
    search = sf.GridSearchCV(net(), UNITS, cv=2, scoring=lambda *_: 1 / 0, error_score="raise")
    with pytest.raises(ZeroDivisionError):
        search.fit(*iris)
    assert {*vars(search)} == {*search.get_params(deep=False)}


class Tasks:
    """A callback that notes every task that begins and ends, and how many rows it trains on."""

    max_propagation_depth = None

    def __init__(self):
        self.seen = Counter()
        self.open = []

    def setup(self, estimator, context):
        self.seen["setup"] += 1

    def teardown(self, estimator, context):
        self.seen["teardown"] += 1

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        weight = None if metadata is None else round(float(metadata["sample_weight"].sum()), 3)
        rows = None if X is None else (len(X), len(y))
        self.seen["begin", *_path(context), rows, weight] += 1
        self.open.append(_path(context))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.open.remove(_path(context))
        said = fitted_estimator is not None
        self.seen["end", *_path(context), said] += 1


def _path(context) -> tuple:
    """Return the tasks that lead to a task."""
    above = () if context.parent is None else _path(context.parent)
    return (*above, context.estimator_name, context.task_name, context.task_id)


@pytest.mark.parametrize("engine", ["fused", "sequential"])
def test_callbacks_see_the_tasks_that_they_see_in_sklearn(engine, iris):
    kinds = {sf.GridSearchCV: {"engine": engine}, model_selection.GridSearchCV: {}}
    seen = []
    for kind, options in kinds.items():
        tasks = Tasks()
        search = kind(net(), UNITS, cv=2, **options).set_callbacks(tasks)
        search.fit(*iris, sample_weight=np.linspace(0.1, 1, len(iris[1])))
        assert tasks.open == []
        seen.append(tasks.seen)
    assert seen[0] == seen[1]
    assert sum(seen[0].values()) > 30


def test_what_trains_together_shares_its_time_and_is_let_go(iris):
    class Counting(Watched):
        def run_jobs(self, jobs, data):
            start = time.perf_counter()
            for number, fit in super().run_jobs(jobs, data):
                models.append(weakref.ref(fit.estimator.model_))
                seconds.append(time.perf_counter() - start)
                yield number, fit
                start = time.perf_counter()

    def score(estimator, X, y):
        gc.collect()
        most.append(sum(model() is not None for model in models))
        return estimator.score(X, y)

    models, most, seconds = [], [], []
    sizes = {"model__units": [2, 3, 4, 5]}
    search = sf.GridSearchCV(net(), sizes, cv=2, scoring=score, engine=Counting()).fit(*iris)
    assert len(models) == len(most) == 8
    assert max(most) <= 3  # of 8: those of one candidate, and the last one that was scored
    fit_times = search.cv_results_["mean_fit_time"]
    np.testing.assert_allclose(2 * fit_times, np.reshape(seconds, (4, 2)).sum(1), rtol=0.2)
    assert (search.cv_results_["std_fit_time"] < fit_times / 2).all()
