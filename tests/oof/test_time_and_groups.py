"""The time and groups of a stack's folds reach the networks that hold rows out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, TimeSeriesSplit, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._networks import fit_settings
from tests.support.networks import build_regressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5]
GROUPS = np.repeat([f"g{k}" for k in range(12)], 5)


def network(**settings):
    return sf.KerasRegressor(build_regressor, validation_split=0.25, **settings)


WRAPPED = {
    "bare": lambda: network(),
    "target": lambda: TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network()), transformer=StandardScaler()
    ),
    "stack": lambda: sf.StackingRegressor([("net", network())], cv="outer"),
}


@pytest.fixture
def held_out(monkeypatch):
    """Return a list of the groups that each network is told of, and the rows it holds out."""
    seen, hold_out = [], fit_settings.hold_out

    def told(n_rows, fraction, seed, strata, groups, validation):
        kept, held = hold_out(n_rows, fraction, seed, strata, groups, validation)
        seen.append((groups, kept, held))
        return kept, held

    monkeypatch.setattr(fit_settings, "hold_out", told)
    return seen


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_networks_hold_out_whole_groups(held_out, wrapped):
    stack = sf.StackingRegressor([("net", WRAPPED[wrapped]())], cv=GroupKFold(3), random_state=0)
    stack.fit(X, Y, groups=GROUPS)
    assert len(held_out) == (4 if wrapped != "stack" else 7)  # equal fits inside are shared
    for groups, kept, held in held_out:
        assert not set(groups[kept]) & set(groups[held])


@pytest.mark.parametrize(
    ("wrapped", "engine"), [("bare", "fused"), ("bare", "sequential"), ("target", "fused")]
)
def test_networks_hold_out_the_last_rows_where_folds_follow_time(held_out, wrapped, engine):
    base = WRAPPED[wrapped]()
    stack = sf.StackingRegressor(
        [("net", base)], cv=TimeSeriesSplit(3), random_state=0, engine=engine
    ).fit(X, Y)
    assert [held.tolist() for _, _, held in held_out] == [
        list(range(n_rows * 3 // 4, n_rows)) for n_rows in (15, 30, 45, 60)
    ]
    said = {k: v for k, v in stack.estimators_[0].get_params().items() if "validation" in k}
    assert "last" in said.values()
    assert "last" not in base.get_params().values()  # what was passed stays


def test_what_was_said_of_validation_holds(held_out):
    bases = [("random", network(validation="random")), ("last", network(validation="last"))]
    sf.out_of_fold(bases, X, Y, cv=TimeSeriesSplit(2), random_state=0)
    assert [held[0] == len(kept) for _, kept, held in held_out] == [False, False, True, True]
    held_out.clear()
    sf.out_of_fold(bases, X, Y, cv=GroupKFold(2), groups=GROUPS, random_state=0)
    assert [groups is None for groups, _, _ in held_out] == [False, False, True, True]


def test_a_head_follows_time_and_groups_also_when_it_is_refitted(held_out):
    rows, y, groups = (np.concatenate([part] * 4) for part in (X, Y, GROUPS))
    head = sf.FusionRegressor(epochs=1)
    stack = sf.StackingRegressor([("ridge", Ridge())], head, cv=GroupKFold(3))
    stack.fit(rows, y, groups=groups).refit_final(head)
    assert len(held_out) == 2
    for told, kept, held in held_out:
        assert not set(told[kept]) & set(told[held])
    held_out.clear()
    stack.set_params(cv=TimeSeriesSplit(5)).fit(rows, y).refit_final(head)
    assert [(len(kept), held[0], held[-1]) for _, kept, held in held_out] == [(180, 180, 199)] * 2


def test_a_network_that_groups_do_not_reach_is_told():
    search = GridSearchCV(network(), {"epochs": [1]}, cv=GroupKFold(2))
    stack = sf.StackingRegressor([("net", search)], cv=GroupKFold(3), random_state=0)
    with pytest.warns(UserWarning, match=r"'net' \(GridSearchCV\) cannot pass groups on to its"):
        stack.fit(X, Y, groups=GROUPS)


def test_stacks_and_searches_within_are_given_the_groups_that_they_split_by():
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=GroupKFold(2))
    inner = sf.StackingRegressor([("ridge", Ridge())], cv=GroupKFold(2))
    bases = [("search", search), ("stack", inner)]
    stack = sf.StackingRegressor(bases, cv=GroupKFold(3)).fit(X, Y, groups=GROUPS)
    alone = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=GroupKFold(2))
    alone.fit(X, Y, groups=GROUPS)
    assert_allclose(stack.estimators_[0].predict(X), alone.predict(X))


def test_groups_that_are_missing_are_asked_for():
    stack = sf.StackingRegressor([("ridge", Ridge())], cv=GroupKFold(3))
    message = r"cv=GroupKFold\(.*\) splits by groups, but got none.*groups=groups"
    with pytest.raises(ValueError, match=message):
        stack.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        sf.out_of_fold(stack.estimators, X, Y, cv=GroupKFold(3))
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        cross_val_score(stack, X, Y, cv=GroupKFold(2), groups=GROUPS, error_score="raise")


def test_models_of_growing_folds_are_not_averaged_unseen():
    """Models of early folds know a fraction of a trend: averaged, they are far off at its end."""
    time = np.arange(120.0)[:, None]
    y = np.cumsum(RNG.normal(1, 0.1, 120))
    settings = {"cv": TimeSeriesSplit(5)}
    bases = [("line", make_pipeline(StandardScaler(), Ridge(10)))]
    whole = sf.StackingRegressor(bases, **settings).fit(time[:100], y[:100])
    with pytest.warns(UserWarning, match="saw 20 to 84 of 100 rows: the first"):
        parts = sf.StackingRegressor(bases, refit=False, **settings).fit(time[:100], y[:100])
    errors = [np.abs(s.predict(time[100:]) - y[100:]).mean() for s in (whole, parts)]
    assert errors[1] > 1.5 * errors[0]
    with pytest.warns(UserWarning, match="refit=False averages"):  # as said, and no more
        sf.StackingRegressor(bases, refit=False, cv=TimeSeriesSplit(2)).fit(time, y)
    sf.StackingRegressor(bases, refit=False, cv=TimeSeriesSplit(4, max_train_size=24)).fit(time, y)
    assert_array_equal(whole.oof_.mask, np.arange(100) >= 20)


FINALS = {
    "ridge": (Ridge(), "sample_weight"),
    "pipeline": (make_pipeline(StandardScaler(), Ridge()), "ridge__sample_weight"),
    "search": (GridSearchCV(Ridge(), {"alpha": [0.1, 10]}, cv=2), "sample_weight"),
    "convex": (sf.ConvexRegressor(), "sample_weight"),
}


@pytest.mark.parametrize("final", FINALS)
def test_old_rows_weigh_less_for_the_meta_learner(final):
    """Every 10 rows the weight is halved; rows that no fold predicts count as time too."""
    meta, name = FINALS[final]
    bases = [("ridge", Ridge()), ("far", Ridge(1000))]
    settings = {"cv": TimeSeriesSplit(3), "recency": 10}
    y = np.where(np.arange(60) < 40, Y, 5 + Y / 3)
    stack = sf.StackingRegressor(bases, meta, **settings).fit(X, y)
    weight = 2.0 ** (-np.arange(59, -1, -1) / 10)
    rows = np.arange(15, 60)
    alone = clone(meta).fit(stack.oof_.predictions[rows], y[rows], **{name: weight[rows]})
    assert_allclose(stack.predict(X), alone.predict(stack.transform(X)))
    plain = stack.set_params(recency=None).refit_final(meta).predict(X)
    stack.set_params(recency=10).refit_final(meta)
    assert_allclose(stack.predict(X), alone.predict(stack.transform(X)))
    assert np.abs(plain - stack.predict(X)).max() > 1e-3
    if final in ("ridge", "convex"):  # beside weights of the user's own
        own = RNG.uniform(size=60)
        stack.fit(X, y, sample_weight=own)
        table = stack.oof_.predictions[rows]
        alone.fit(table, y[rows], sample_weight=(own * weight)[rows])
        assert_allclose(stack.predict(X), alone.predict(stack.transform(X)))


def test_recency_is_refused_before_a_base_is_fitted():
    stack = sf.StackingRegressor([("never", "drop"), ("ridge", Ridge())], KNeighborsRegressor())
    with pytest.raises(ValueError, match="KNeighborsRegressor takes no sample_weight"):
        stack.set_params(recency=10).fit(X, Y)
    for wrong in (0, -1, "30", True, np.nan):
        with pytest.raises(ValueError, match="recency must be a positive number of rows, or None"):
            stack.set_params(recency=wrong).fit(X, Y)
