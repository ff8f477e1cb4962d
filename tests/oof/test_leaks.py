"""No leak: with the folds held fixed, a row's own label never reaches its own prediction."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

SPLITTERS = [
    3,
    StratifiedKFold(3, shuffle=True, random_state=0),
    GroupKFold(3),
    TimeSeriesSplit(3),
    ShuffleSplit(3, random_state=0),
    RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
]
STOPPING = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)


BASES = {
    "linear": LogisticRegression(),
    "forest": RandomForestClassifier(10, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=3, random_state=0),
    "neighbours": KNeighborsClassifier(3),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "search": GridSearchCV(TREE, {"max_depth": [1, 3]}, cv=2),
    "network": sf.KerasClassifier(build_classifier, random_state=0),
    "stopped network": sf.KerasClassifier(
        build_classifier, epochs=3, validation_split=0.3, callbacks=STOPPING, random_state=0
    ),
    "stack": sf.StackingClassifier([("lr", LogisticRegression()), ("tree", TREE)], cv=2),
    "stack over the outer folds": sf.StackingClassifier([("tree", TREE)], cv="outer"),
    "head": sf.FusionClassifier(epochs=2, random_state=0),
}


@pytest.mark.parametrize("kind", BASES)
def test_no_leak_by_any_base(iris, kind):
    _check(BASES[kind], iris, cv=3)


@pytest.mark.parametrize("cv", SPLITTERS, ids=str)
@pytest.mark.parametrize("kind", ["forest", "network"])
def test_no_leak_over_any_folds(iris, kind, cv):
    _check(BASES[kind], iris, cv=cv)


@pytest.mark.parametrize("engine", ["sequential", "auto", "fused"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_no_leak_by_any_engine(iris, engine, n_jobs):
    for kind in ("network", "stopped network") if engine == "fused" else ("forest", "network"):
        _check(BASES[kind], iris, cv=3, engine=engine, n_jobs=n_jobs)


def test_no_leak_out_of_a_store(iris, tmp_path):
    _check(BASES["forest"], iris, cv=3, memory=tmp_path)


def test_no_leak_in_regression(diabetes):
    X, y = diabetes
    for base in (Ridge(), sf.KerasRegressor(build_regressor, random_state=0)):
        before = sf.out_of_fold([("b", base)], X, y, cv=3)
        changed = y.copy()
        changed[100] += 1000
        after = sf.out_of_fold([("b", base)], X, changed, cv=before.folds)
        assert_array_equal(after.predictions[100], before.predictions[100])
        assert (after.predictions != before.predictions).any()


def _check(base, data, cv, **options):
    """Change a label: the row's own prediction stays, and that of some other row does not."""
    X, y = data
    groups = np.arange(150) // 10 if isinstance(cv, GroupKFold) else None
    folds = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=cv, groups=groups).folds
    before = sf.out_of_fold([("b", base)], X, y, cv=folds, **options)
    row = int(np.flatnonzero(before.mask)[0])
    changed = y.copy()
    changed[row] = (y[row] + 1) % 3
    after = sf.out_of_fold([("b", base)], X, changed, cv=folds, **options)
    assert_array_equal(after.predictions[row], before.predictions[row])
    trained = any(row in fold.train for fold in folds)
    assert not trained or (after.predictions[before.mask] != before.predictions[before.mask]).any()
