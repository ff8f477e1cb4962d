"""A search over meta-learners of a stack fits its bases once for each fold."""

import gc
import pickle
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from tests.support.searches import assert_same_results, net

fits = []


asked = []


class Counted(LogisticRegression):
    """A base whose fits and predictions are counted, by their numbers of rows."""

    def fit(self, X, y, sample_weight=None):
        fits.append(len(X))
        return super().fit(X, y, sample_weight=sample_weight)

    def predict_proba(self, X):
        asked.append(len(X))
        return super().predict_proba(X)


@pytest.fixture(autouse=True)
def _no_fits():
    fits.clear()


def stack(final=None, **settings):
    bases = [("one", Counted(max_iter=500)), ("tree", DecisionTreeClassifier(max_depth=3))]
    return sf.StackingClassifier(bases, final, **{"cv": 2, "random_state": 0, **settings})


def both(estimator, grid, X, y, *, of=(sf.GridSearchCV, model_selection.GridSearchCV), **options):
    """Return our search and scikit-learn's, and how many fits of the counted base each took."""
    params = options.pop("fit_params", {})
    found = []
    for kind in of:
        fits.clear()
        search = kind(estimator, grid, **{"cv": 3, **options}).fit(X, y, **params)
        found.append((search, len(fits)))
    (ours, n_ours), (theirs, n_theirs) = found
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_index_ == theirs.best_index_
    method = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    assert np.array_equal(getattr(ours, method)(X), getattr(theirs, method)(X))
    return n_ours, n_theirs


STRENGTHS = {"final_estimator__C": [0.01, 0.1, 1.0, 10.0]}


def test_bases_are_fitted_once_for_each_fold(iris):
    n_ours, n_theirs = both(stack(LogisticRegression()), STRENGTHS, *iris)
    assert (n_ours, n_theirs) == (3 * 3 + 3, 4 * 3 * 3 + 3)


def test_bases_are_asked_once_about_the_rows_of_a_fold(iris):
    X, y = iris
    scores = {"scoring": ["accuracy", "neg_log_loss"], "refit": False, "return_train_score": True}
    ours, theirs = (
        kind(stack(LogisticRegression()), STRENGTHS, cv=3, **scores)
        for kind in (sf.GridSearchCV, model_selection.GridSearchCV)
    )
    theirs.fit(X, y)
    asked.clear()
    ours.fit(X, y)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    # Of each fold: two inner folds of 50 rows, its 50 test rows and its 100 training rows.
    assert sorted(asked) == sorted([50, 50, 50, 100] * 3)


def test_what_a_search_leaves_shares_nothing(iris):
    X, y = iris
    seen = []

    def score(fitted, X, y):
        seen.append(pickle.loads(pickle.dumps(fitted)))
        columns = fitted.transform(X)
        columns[:] = np.nan  # of the caller's own
        return fitted.score(X, y)

    search = sf.GridSearchCV(stack(LogisticRegression()), STRENGTHS, cv=3, scoring=score).fit(X, y)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    for fitted in [search.best_estimator_, *seen]:
        asked.clear()
        assert np.array_equal(fitted.transform(X[:7]), fitted.transform(X[:7]))
        assert asked == [7, 7]


def test_meta_learners_of_several_kinds(iris):
    finals = [None, RidgeClassifier(), RandomForestClassifier(10), sf.GreedyClassifier()]
    n_ours, n_theirs = both(stack(), {"final_estimator": finals}, *iris)
    assert (n_ours, n_theirs) == (12, 39)


def test_candidates_of_other_bases_have_their_own(iris):
    grid = {"final_estimator__C": [0.1, 1.0], "one__C": [0.1, 1.0], "cv": [2, 3]}
    n_ours, n_theirs = both(stack(LogisticRegression()), grid, *iris)
    assert n_ours < n_theirs
    assert n_theirs - n_ours == 3 * 2 * (3 + 4)  # folds x strengths of the base x fits of a stack


def test_drawn_candidates(iris):
    kinds = (sf.RandomizedSearchCV, model_selection.RandomizedSearchCV)
    grid = {"final_estimator__C": [0.01, 0.1, 1.0, 10.0], "passthrough": [True, False]}
    options = {"of": kinds, "n_iter": 5, "random_state": 0, "return_train_score": True}
    final = LogisticRegression(max_iter=1000)
    n_ours, n_theirs = both(stack(final), grid, *iris, scoring="neg_log_loss", **options)
    assert n_ours == 2 * 3 * 3 + 3 < n_theirs


def test_networks_fold_averages_and_a_frame(iris):
    X, y = pd.DataFrame(iris[0], columns=list("abcd")), np.array(["x", "y", "z"])[iris[1]]
    bases = [("net", net()), ("other", net(units=8)), ("one", Counted(max_iter=500))]
    estimator = sf.StackingClassifier(
        bases, LogisticRegression(), cv=2, refit=False, random_state=0
    )
    options = {"scoring": ["accuracy", "neg_log_loss"], "refit": "accuracy"}
    n_ours, n_theirs = both(estimator, STRENGTHS, X, y, **options)
    assert (n_ours, n_theirs) == (3 * 2 + 2, 4 * 3 * 2 + 2)


def test_a_regressor_without_a_seed(diabetes):
    bases = [("ridge", Ridge()), ("ridge2", Ridge(alpha=10.0))]
    grid = {"final_estimator": [None, Ridge(), sf.BestRegressor()]}
    both(sf.StackingRegressor(bases), grid, *diabetes)


def test_in_a_pipeline(iris):
    estimator = make_pipeline(StandardScaler(), stack(LogisticRegression()))
    grid = {f"stackingclassifier__{name}": values for name, values in STRENGTHS.items()}
    assert both(estimator, grid, *iris) == (12, 39)
    scaled = {**grid, "standardscaler__with_mean": [True, False]}
    assert both(estimator, scaled, *iris) == (2 * 9 + 3, 8 * 9 + 3)
    passing = make_pipeline(StandardScaler(), stack(LogisticRegression(), passthrough=True))
    assert both(passing, grid, *iris) == (39, 39)  # as in scikit-learn


def test_weights_reach_bases_and_meta_learners(iris):
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(iris[1]))
    params = {"fit_params": {"sample_weight": weight}}
    assert both(stack(LogisticRegression()), STRENGTHS, *iris, **params) == (12, 39)
    pipeline = make_pipeline(StandardScaler(), stack(LogisticRegression()))
    grid = {f"stackingclassifier__{name}": values for name, values in STRENGTHS.items()}
    params = {"fit_params": {"stackingclassifier__sample_weight": weight}}
    assert both(pipeline, grid, *iris, **params) == (12, 39)


def test_a_meta_learner_that_fails_or_takes_no_weights(iris):
    weight = np.ones(len(iris[1]))
    grid = {"final_estimator": [KNeighborsClassifier(), LogisticRegression(C=-1.0), None]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.simplefilter("ignore", UserWarning)  # scores of NaN
        params = {"fit_params": {"sample_weight": weight}}
        both(stack(), grid, *iris, **params)


def test_several_processes_are_left_to_scikit_learn(iris):
    search = sf.GridSearchCV(stack(LogisticRegression()), STRENGTHS, cv=3, n_jobs=2).fit(*iris)
    assert len(fits) == 3  # of the refit; the others were made elsewhere
    alone = sf.GridSearchCV(stack(LogisticRegression()), STRENGTHS, cv=3).fit(*iris)
    assert_same_results(alone.cv_results_, search.cv_results_)


def test_what_a_search_fitted_goes_with_it(iris):
    search = sf.GridSearchCV(stack(LogisticRegression()), STRENGTHS, cv=3)
    gc.collect()
    gc.disable()
    try:
        best = weakref.ref(search.fit(*iris).best_estimator_)
        del search
        assert best() is None
    finally:
        gc.enable()
