"""Bases for a table: each column gets what it needs, inside the folds; all of it exports."""

import time
import warnings
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import stackfuse as sf
from stackfuse._core.fitting.time_limit import TimeLimit
from stackfuse._models import budget, preparing
from stackfuse._models.budget import within
from stackfuse._models.columns import Columns

N_ROWS = 240


@pytest.fixture(scope="module")
def flats():
    """Return a table with holes, few and many categories, and a rent and its class."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(70, 20, N_ROWS),
            "floor": rng.integers(0, 6, N_ROWS),
            "balcony": rng.uniform(size=N_ROWS) < 0.5,
            "city": rng.choice(np.array(["Köln", "Ulm", "Bonn", None], object), N_ROWS),
            "street": rng.choice([f"street {k}" for k in range(60)], N_ROWS),
        }
    )
    frame.loc[rng.uniform(size=N_ROWS) < 0.1, "size"] = np.nan
    rent = 10 * frame["size"].fillna(70) + 80 * (frame["city"] == "Ulm") + 40 * frame["balcony"]
    rent = (rent + rng.normal(0, 20, N_ROWS)).to_numpy()
    return frame, rent, np.where(rent > np.median(rent), "dear", "cheap")


def small(bases):
    """Return the bases with fewer trees and epochs."""
    found = []
    for name, base in bases:
        params = base.get_params()
        sizes = {"n_estimators": 5, "max_iter": 15, "epochs": 2, "width": 8}
        few = {p: n for p in params for s, n in sizes.items() if p.endswith(f"__{s}")}
        keep = {p: n for p, n in few.items() if name != "linear"}
        found.append((name, clone(base).set_params(**keep)))
    return found


def test_all_kinds_fit_and_export(flats, tmp_path):
    X, _, y = flats
    bases = small(sf.models.table_bases(X, y))
    assert [name for name, _ in bases] == [
        *("linear", "forest", "boosting", "mlp", "mlp_plr", "tabm"),
        *("xgboost", "lightgbm", "catboost"),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        stack.fit(X, y)
        sf.export(stack, tmp_path / "stack.keras")
    for name in ("mlp", "mlp_plr", "tabm"):
        assert stack.engine_[name] == "side by side"
    graph = keras.models.load_model(tmp_path / "stack.keras")
    fed = {
        name: X[name].to_numpy(object if name in ("city", "street") else float)[:, None]
        for name in X
    }
    for name in ("city", "street"):
        fed[name] = np.where(pd.isna(fed[name]), "<NA>", fed[name]).astype(str)
    outputs = graph({name: keras.ops.convert_to_tensor(column) for name, column in fed.items()})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        assert_allclose(outputs["probabilities"], stack.predict_proba(X), atol=1e-5)


def test_they_beat_guessing_on_numbers_and_classes(flats):
    X, rent, y = flats
    for target in (rent, y):
        chance = 0.0 if target is rent else 0.5
        for name, base in sf.models.table_bases(X, target, kinds=["linear", "forest", "boosting"]):
            assert cross_val_score(base, X, target, cv=3).mean() > chance + 0.2, name


def test_arrays_and_whole_numbers(iris):
    X, y = iris
    ((_, base),) = sf.models.table_bases(X, y, kinds=["linear"])
    assert base.fit(X, y).score(X, y) > 0.9
    assert hasattr(base, "predict_proba")
    ((_, base),) = sf.models.table_bases(X, np.arange(150), kinds=["linear"])
    assert not hasattr(base, "predict_proba")


def test_neighbours_are_for_small_tables():
    X = np.random.default_rng(0).normal(size=(6000, 2))
    y = X[:, 0]
    assert not sf.models.table_bases(X, y, kinds=["neighbors"])
    ((name, _),) = sf.models.table_bases(X[:100], y[:100], kinds=["neighbors"])
    assert name == "neighbors"


def test_linear_bases_of_many_columns_do_not_overfit():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 350)))
    X[rng.uniform(size=X.shape) < 0.02] = np.nan
    y = X[0].fillna(0.0) + rng.normal(0, 0.3, 400)
    ((_, base),) = sf.models.table_bases(X, y.to_numpy(), kinds=["linear"])
    assert cross_val_score(base, X, y, cv=3).mean() > 0.1


def test_bases_of_very_many_rows_are_few():
    X = np.random.default_rng(0).normal(size=(100_001, 2))
    with pytest.warns(
        UserWarning, match=r"With 100,001 rows, table_bases makes only the kinds \['linear', 'boost"
    ):
        bases = sf.models.table_bases(X, X[:, 0])
    assert [name for name, _ in bases] == ["linear", "boosting"]
    assert [name for name, _ in sf.models.table_bases(X, X[:, 0], kinds=["forest"])] == ["forest"]


@pytest.mark.parametrize(
    ("y", "task", "wanted"),
    [
        (np.arange(60) % 6, None, "LogisticRegression"),
        (np.arange(60) % 6, "regression", "RidgeCV"),
        (np.arange(60) % 6 + 0.5, None, "RidgeCV"),
        (np.arange(60) % 6 + 0.5, "classification", "LogisticRegression"),
        (np.arange(60) % 3 == 0, None, "LogisticRegression"),
        (pd.Series(np.arange(60) % 30).astype("category"), None, "LogisticRegression"),
        (np.arange(60) % 30, None, "RidgeCV"),  # two rows of each: counts rather than classes
    ],
)
def test_the_target_or_the_task_tells_classes_from_numbers(y, task, wanted):
    X = np.random.default_rng(0).normal(size=(60, 2))
    (_, base), *_ = sf.models.table_bases(X, y, kinds=["linear"], task=task)
    base = getattr(base, "regressor", base)
    assert type(base[-1]).__name__ == wanted


def test_whole_numbers_that_may_be_classes_are_told():
    X = np.random.default_rng(0).normal(size=(520, 2))
    letters = np.arange(520) % 26
    with pytest.warns(UserWarning, match=r"whole numbers from 0 to 25, .* task='classification'"):
        sf.models.table_bases(X, letters, kinds=["linear"])
    bases = sf.models.table_bases(X, letters, kinds=["linear"], task="classification")
    stack = sf.StackingClassifier(bases, cv=2).fit(X, letters)
    assert stack.predict_proba(X[:1]).shape == (1, 26)
    sf.models.table_bases(X, letters, kinds=["linear"], task="regression")  # no warning
    with pytest.raises(ValueError, match=r"task='regression' needs numbers, and y holds 'a'"):
        sf.models.table_bases(X, ["a", "b"] * 260, task="regression")


def test_the_dearest_are_left_out(iris):
    X, y = iris
    kinds = ["linear", "forest", "boosting"]
    with pytest.warns(
        UserWarning, match=r"Left out, because 0.001 s are too few for their fits: forest, boo"
    ):
        bases = sf.models.table_bases(X, y, kinds=kinds, time_budget=1e-3)
    assert [name for name, _ in bases] == ["linear"]
    assert len(sf.models.table_bases(X, y, kinds=kinds, time_budget=1e6)) == 3


class Slow(BaseEstimator):
    """Tells how many epochs its clones are fitted for, and on how many rows."""

    seen: ClassVar[list] = []

    def __init__(self, epochs=100, callbacks: Any = None):
        self.epochs = epochs
        self.callbacks = callbacks

    def fit(self, X, y):
        self.seen.append((self.epochs, len(X)))
        clock = self.callbacks[0]()
        for epoch in range(self.epochs):
            time.sleep(0.01)
            clock.on_epoch_end(epoch)
        return self


def test_networks_are_measured_by_few_epochs_and_last():
    X = np.zeros((9000, 1))
    bases = [("network", make_pipeline(Slow())), ("cheap", make_pipeline(Ridge()))]
    assert within(60, bases, X, X[:, 0], False) == bases
    assert Slow.seen == [(3, 2000)]
    with pytest.warns(
        UserWarning, match="Left out, because 5 s are too few for their fits: network"
    ):
        kept = within(5, bases, X, X[:, 0], False)  # 40 epochs of 9000 rows take 1.8 s, six times
    assert kept == bases[1:]
    with pytest.warns(UserWarning, match="1e-06 s are too few for their fits: network"):
        assert within(1e-6, bases, X, X[:, 0], False) == bases[1:]
    assert len(Slow.seen) == 2  # there was no time to measure it


def test_measuring_a_network_ends_with_the_budget(iris):
    X, y = iris
    ((_, base), *_) = sf.models.table_bases(X, y, kinds=["networks"])
    assert budget._seconds_within(TimeLimit(1e-6), 1.0, base, X, y, True) == np.inf
    assert budget._seconds_within(TimeLimit(1e6), 1.0, base, X, y, True) < 1e6


def test_columns_that_no_base_uses_are_told(flats):
    X, rent, _ = flats
    X = X.assign(same=1.0, note=[f"a flat with {k} small and sunny rooms" for k in range(N_ROWS)])
    with pytest.warns(UserWarning, match="No base uses") as told:
        ((_, base),) = sf.models.table_bases(X, rent, kinds=["linear"], texts=False)
    messages = [str(warning.message) for warning in told]
    assert messages == [
        "No base uses 'same': this column is the same in all rows.",
        "No base uses 'note': this column is text, which only .keras and SavedModel files can "
        "hold.",
    ]
    assert {warning.filename for warning in told} == {__file__}
    assert base.fit(X, rent).score(X, rent) > 0.5


@pytest.mark.parametrize(("n_rows", "wanted"), [(100, [1000, 300]), (10**6, [100, 100])])
def test_of_many_rows_fewer_words_are_counted(n_rows, wanted):
    columns = Columns(texts=["note"], n_words=5000)
    prepared = [prepare(columns, n_rows) for prepare in (preparing.for_sums, preparing.for_trees)]
    assert [part.transformers[0][1].max_tokens for part in prepared] == wanted


def test_texts_are_learnt_from_and_exported(flats, tmp_path):
    X, rent, _ = flats
    rng = np.random.default_rng(0)
    fillers = [f"word{k}" for k in range(40)]
    is_loft = rng.random(N_ROWS) < 0.5
    notes = [" ".join([*rng.choice(fillers, 6), "Loft!" if loft else "flat"]) for loft in is_loft]
    X, rent = X.assign(note=notes), rent + 500 * is_loft
    X.loc[::11, "note"] = None
    kinds = ["linear", "forest", "boosting", "networks"]
    bases = small(sf.models.table_bases(X, rent, kinds=kinds))
    for name, base in bases[:3]:
        without = clone(base).set_params(
            columntransformer__transformers=base["columntransformer"].transformers[:-1]
        )
        gain = [cross_val_score(b, X, rent, cv=3).mean() for b in (base, without)]
        assert gain[0] > gain[1] + 0.1, name
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(X, rent)
    report = sf.export(stack, tmp_path / "stack.keras", verify=X)
    assert report.max_difference < 1e-6 * rent.max()
    with pytest.raises(sf.NotConvertible, match=r"cuts texts in .*'note'.* into words, which ONNX"):
        sf.export(stack, tmp_path / "stack.onnx", verify=X)


def test_dates_are_learnt_from_and_exported(flats, tmp_path):
    X, rent, _ = flats
    moments = pd.date_range("2020-01-01 08:00", periods=N_ROWS, freq="3D")
    X = X.assign(day=moments)
    rent = rent + 500 * np.sin(2 * np.pi * X["day"].dt.day_of_year / 365)
    X.loc[::9, "day"] = pd.NaT
    kinds = ["linear", "forest", "boosting", "networks"]
    bases = small(sf.models.table_bases(X, rent, kinds=kinds))
    for name, base in bases[:3]:
        if name != "forest":  # of five trees
            without = clone(base).set_params(
                columntransformer__transformers=base["columntransformer"].transformers[:-1]
            )
            gain = [cross_val_score(b, X, rent, cv=3).mean() for b in (base, without)]
            assert gain[0] > gain[1] + 0.1, name
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(X, rent)
    assert stack.engine_["mlp"] == "side by side"
    assert sf.export(stack, tmp_path / "stack.keras").n_rows == 64


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, {"kinds": ["trees"]}, "kinds names 'trees', which is not one of 'linear'"),
        ({}, {"task": "classes"}, "task must be None, 'classification' or 'regression', got 'cla"),
        ({}, {"time_budget": 0}, "time_budget must be a positive number of seconds, got 0"),
        ({"day": pd.timedelta_range("2 days", periods=N_ROWS)}, {}, "'day' holds timedelta64"),
    ],
)
def test_mistakes_are_told(flats, change, settings, message):
    X, rent, _ = flats
    with pytest.raises(ValueError, match=message):
        sf.models.table_bases(X.assign(**change), rent, **settings)


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no column that a base can use"):
        sf.models.table_bases(np.ones((5, 2)), np.arange(5.0))
    with pytest.raises(ValueError, match="X has 5 rows, y has 4"):
        sf.models.table_bases(np.eye(5), np.arange(4.0))


def test_rare_classes_are_among_the_rows_that_are_tried():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 2))
    # None of these is among the 500 rows that are drawn without a look at the classes.
    y = np.where(np.isin(np.arange(3000), [1, 2, 4]), "rare", "usual")
    kinds = ["linear", "boosting"]  # boosting holds rows out, and refuses a class of one row
    bases = sf.models.table_bases(X, y, kinds=kinds, time_budget=600)
    assert [name for name, _ in bases] == kinds


def test_a_budget_measures_boosters_on_classes_with_names():
    pytest.importorskip("xgboost", reason="XGBoost is not installed")
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = pd.Series(np.where(X[:, 0] > 0, "yes", "no"))
    bases = sf.models.table_bases(X, y, kinds=["linear", "boosters"], time_budget=600)
    assert {"linear", "xgboost"} < {name for name, _ in bases}
