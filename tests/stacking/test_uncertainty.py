"""Intervals and sets: against numpy by hand, and how often they hold what they should."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

NUMBERS = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]

CLASSES = [("nb", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]


def wavy(n_rows, seed=0, noise=1.0):
    """Return rows of which those with a large first column are noisy."""
    generator = np.random.default_rng(seed)
    X = generator.uniform(0, 2, (n_rows, 3))
    y = np.sin(3 * X[:, 0]) + X[:, 1] + noise * X[:, 0] * generator.normal(size=n_rows)
    return X, y


def unseen(stack, y, X=None):
    """Return the predictions of a cross-fitted LinearRegression, by scikit-learn alone."""
    table = stack.oof_.predictions if X is None else np.hstack([stack.oof_.predictions, X])
    said = np.full(np.shape(y), np.nan)
    for train, test in stack.oof_.folds:
        train = train[np.isfinite(table[train]).all(axis=1)]
        if len(train):
            said[test] = LinearRegression().fit(table[train], y[train]).predict(table[test])
    return said


def nth(scores, coverage):
    """Return the ceil((n + 1) * coverage)-th smallest of some scores."""
    return np.sort(scores, axis=0)[int(np.ceil((len(scores) + 1) * coverage)) - 1]


def share_held(intervals, y):
    return float(((intervals[..., 0] <= y) & (y <= intervals[..., 1])).mean())


def test_an_interval_is_the_prediction_and_the_quantile_of_unseen_errors(diabetes):
    X, y = diabetes
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=KFold(4)).fit(X, y)
    by_sklearn = [cross_val_predict(base, X, y, cv=KFold(4)) for _, base in NUMBERS]
    assert_allclose(stack.oof_.predictions, np.transpose(by_sklearn))
    errors = np.abs(y - unseen(stack, y))
    for coverage in (0.5, 0.9, 0.99):
        wanted = stack.predict(X)[:, None] + nth(errors, coverage) * np.array([-1, 1])
        assert_allclose(stack.predict_interval(X, coverage), wanted)
    assert_array_equal(stack.predict_interval(X), stack.predict_interval(X, 0.9))


def test_intervals_may_be_wide_where_the_bases_disagree(diabetes):
    X, y = diabetes
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=KFold(4)).fit(X, y)
    spread = np.abs(stack.oof_.predictions @ [0.5, -0.5])  # of two numbers the deviation
    floor = spread.mean()
    margin = nth(np.abs(y - unseen(stack, y)) / (spread + floor), 0.8)
    here = np.abs(stack.transform(X) @ [0.5, -0.5]) + floor
    found = stack.predict_interval(X, 0.8, method="normalised")
    assert_allclose(found, stack.predict(X)[:, None] + np.outer(here * margin, [-1, 1]))


def test_bases_of_quantiles_are_moved():
    X, y = wavy(300)
    bounds = [(f"q{q}", QuantileRegressor(quantile=q / 100, alpha=0)) for q in (5, 50, 95)]
    stack = sf.StackingRegressor(bounds, LinearRegression(), cv=KFold(3)).fit(X, y)
    low, _, high = stack.oof_.predictions.T
    margin = nth(np.maximum(low - y, y - high), 0.8)
    new, y_new = wavy(2000, seed=1)
    found = stack.predict_interval(new, 0.8, method="quantile", bounds=("q5", "q95"))
    low, _, high = stack.transform(new).T
    assert_allclose(found, np.transpose([low - margin, high + margin]))
    assert margin < 0  # 5 % and 95 % say more than 80 %
    assert share_held(found, y_new) == pytest.approx(0.8, abs=0.05)
    swapped = stack.predict_interval(new, 0.8, method="quantile", bounds=("q95", "q5"))
    assert_allclose(swapped, found)
    narrow = stack.predict_interval(new, 0.01, method="quantile", bounds=("q5", "q95"))
    assert (narrow[:, 0] <= narrow[:, 1]).all()


@pytest.mark.parametrize("method", ["absolute", "normalised"])
def test_intervals_hold_as_many_targets_as_asked(method):
    held = []
    for seed in range(12):
        X, y = wavy(150, seed)
        stack = sf.StackingRegressor(NUMBERS, sf.ConvexRegressor(), cv=KFold(5)).fit(X, y)
        new, y_new = wavy(2000, seed + 100)
        held.append(share_held(stack.predict_interval(new, 0.8, method=method), y_new))
    assert np.mean(held) == pytest.approx(0.8, abs=0.02)


def test_errors_of_predictions_that_were_seen_would_be_too_small():
    X, y = wavy(150)
    deep = [("trees", ExtraTreesRegressor(10, random_state=0)), ("ridge", Ridge())]
    stack = sf.StackingRegressor(deep, LinearRegression(), cv=KFold(5)).fit(X, y)
    new, y_new = wavy(2000, seed=1)
    seen = nth(np.abs(y - stack.predict(X)), 0.8)
    naive = stack.predict(new)[:, None] + seen * np.array([-1, 1])
    assert share_held(naive, y_new) < 0.7
    assert share_held(stack.predict_interval(new, 0.8), y_new) == pytest.approx(0.8, abs=0.05)


def test_several_outputs_are_covered_each_by_itself(diabetes):
    X, y = diabetes
    both = np.column_stack([y, 5 * y + X[:, 0]])
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=KFold(4)).fit(X, both)
    errors = nth(np.abs(both - unseen(stack, both)), 0.9)
    found = stack.predict_interval(X)
    assert found.shape == (200, 2, 2)
    assert_allclose(found[..., 1], stack.predict(X) + errors)
    wide = stack.predict_interval(X, method="normalised")
    assert ((wide[..., 0] < stack.predict(X)) & (stack.predict(X) < wide[..., 1])).all()


def test_groups_count_once_each():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), generator.integers(1, 12, 30))
    X, y = wavy(len(groups))
    y = y + generator.normal(size=30)[groups]
    names = np.array([f"ward {k}" for k in range(30)])[groups]
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=GroupKFold(5))
    stack.fit(X, y, groups=names)
    errors = np.abs(y - unseen(stack, y))
    order = np.argsort(errors)
    shares = (1 / np.bincount(groups))[groups][order].cumsum()
    margin = errors[order][np.flatnonzero(shares >= 0.9 * 31)[0]]
    assert_allclose(np.ptp(stack.predict_interval(X), axis=1), 2 * margin)
    again = clone(stack).fit(X, y, groups=names).calibrate(groups=names)
    assert_array_equal(again.predict_interval(X), stack.predict_interval(X))
    with pytest.raises(
        ValueError,
        match=r"coverage=0.99 needs 99 groups to calibrate on, but there are 30: .* 0.967",
    ):
        stack.predict_interval(X, 0.99)
    mixed = sf.StackingRegressor(NUMBERS, cv=KFold(5, shuffle=True, random_state=0)).fit(X, y)
    with pytest.raises(ValueError, match="A group has rows on both sides of a fold"):
        mixed.calibrate(groups=names)


def test_only_later_rows_of_a_time_series_measure(diabetes):
    X, y = diabetes
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=TimeSeriesSplit(4)).fit(X, y)
    said = unseen(stack, y)
    assert np.isnan(said[:80]).all()
    errors = np.abs(y - said)[80:]
    assert_allclose(np.ptp(stack.predict_interval(X), axis=1), 2 * nth(errors, 0.9))
    stack.calibrate(half_life=20)
    weights = 0.5 ** (np.arange(120)[::-1] / 20)
    order = np.argsort(errors)
    reached = weights[order].cumsum() / (weights.sum() + 1)
    margin = errors[order][np.flatnonzero(reached >= 0.9)[0]]
    assert_allclose(np.ptp(stack.predict_interval(X), axis=1), 2 * margin)
    with pytest.raises(ValueError, match="folds of this stack do not go forward"):
        sf.StackingRegressor(NUMBERS, cv=4).fit(X, y).calibrate(half_life=20)


def test_rows_count_by_their_weights(diabetes):
    X, y = diabetes
    weights = np.where(np.arange(200) % 3, 1.0, 4.0)
    final = LinearRegression()
    stack = sf.StackingRegressor(NUMBERS, final, cv=4).fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match=r"First call stack.calibrate\(sample_weight=sample_w"):
        stack.predict_interval(X)
    stack.calibrate(sample_weight=10 * weights)
    said = np.empty(200)
    for train, test in stack.oof_.folds:
        table = stack.oof_.predictions
        model = LinearRegression().fit(table[train], y[train], weights[train])
        said[test] = model.predict(table[test])
    errors = np.abs(y - said)
    order = np.argsort(errors)
    reached = weights[order].cumsum() >= 0.9 * (weights.sum() + weights.mean())
    margin = errors[order][np.flatnonzero(reached)[0]]
    assert_allclose(np.ptp(stack.predict_interval(X), axis=1), 2 * margin)


def test_columns_that_pass_through_are_given_once_more(diabetes):
    X, y = diabetes
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(10)])
    stack = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=4, passthrough=["c2", "c8"])
    stack.fit(frame, y)
    with pytest.raises(ValueError, match=r"stack keeps no rows. First call stack.calibrate\(X\)"):
        stack.predict_interval(frame)
    errors = np.abs(y - unseen(stack, y, X[:, [2, 8]]))
    found = stack.calibrate(frame).predict_interval(frame)
    assert_allclose(np.ptp(found, axis=1), 2 * nth(errors, 0.9))
    with pytest.raises(ValueError, match="X does not hold the rows of fit"):
        stack.calibrate(frame[::-1])
    assert_array_equal(stack.predict_interval(frame), found)


def test_new_rows_measure_what_rows_of_fit_cannot(diabetes):
    X, y = diabetes
    fitted = [(name, clone(base).fit(X[:60], y[:60])) for name, base in NUMBERS]
    stack = sf.StackingRegressor(fitted, LinearRegression(), cv="prefit").fit(X[60:120], y[60:120])
    with pytest.raises(ValueError, match=r"fitted before.*Call stack.calibrate\(X_new, y_new\)"):
        stack.predict_interval(X)
    stack.calibrate(X[120:], y[120:])
    margin = nth(np.abs(y[120:] - stack.predict(X[120:])), 0.9)
    assert_allclose(np.ptp(stack.predict_interval(X), axis=1), 2 * margin)
    spread = np.abs(stack.transform(X[120:]) @ [0.5, -0.5])
    scores = np.abs(y[120:] - stack.predict(X[120:])) / (spread + spread.mean())
    wide = stack.predict_interval(X[120:], 0.7, method="normalised")
    wanted = 2 * nth(scores, 0.7) * (spread + spread.mean())
    assert_allclose(np.ptp(wide, axis=1), wanted)


REFUSED = {
    "frozen": (
        {"estimators": [("f", FrozenEstimator(Ridge().fit(*wavy(20))))]},
        "'f' was fitted before",
    ),
    "in a pipeline": (
        {
            "estimators": [
                ("p", make_pipeline(StandardScaler(), FrozenEstimator(Ridge().fit(*wavy(20)))))
            ]
        },
        "'p' was fitted before",
    ),
    "final": (
        {"final_estimator": FrozenEstimator(Ridge().fit(np.eye(2), [0, 1]))},
        "The meta-learner was fitted before",
    ),
    "repeated": ({"cv": RepeatedKFold(n_splits=3, n_repeats=2)}, "predicted in several folds"),
    "one fold": ({"cv": [(np.arange(20), np.arange(20, 60))]}, "use more folds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_tell_is_refused(case):
    X, y = wavy(60)
    options, message = REFUSED[case]
    stack = sf.StackingRegressor(**{"estimators": NUMBERS, "cv": 3, **options}).fit(X, y)
    with pytest.raises(ValueError, match=message):
        stack.predict_interval(X)
    if case == "repeated":  # the mean over all models is what is asked
        assert np.isfinite(clone(stack).set_params(refit=False).fit(X, y).predict_interval(X)).all()


WRONG = [
    ({"coverage": 90}, "coverage must be a number above 0 and below 1, such as 0.9, got 90."),
    ({"coverage": True}, "coverage must be a number above 0"),
    (
        {"coverage": 0.999},
        "needs 999 rows to calibrate on, but there are 60: use more, or .* 0.983",
    ),
    ({"method": "cqr"}, "method must be 'absolute', 'normalised' or 'quantile', got 'cqr'"),
    ({"method": "quantile"}, r"needs bounds=\(lower, upper\), .* \['ridge', 'tree'\] .* got None"),
    ({"method": "quantile", "bounds": ("ridge", "q95")}, r"got \('ridge', 'q95'\)"),
    ({"bounds": ("ridge", "tree")}, "bounds works only with method='quantile'"),
]


@pytest.mark.parametrize("options", WRONG, ids=lambda option: str(option)[:40])
def test_wrong_requests_say_what_to_type(options):
    X, y = wavy(60)
    stack = sf.StackingRegressor(NUMBERS, cv=3).fit(X, y)
    with pytest.raises(ValueError, match=options[1]):
        stack.predict_interval(X, **options[0])


def test_as_few_rows_as_possible():
    X, y = wavy(10)
    nine = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=LeaveOneOut()).fit(X[:9], y[:9])
    errors = np.abs(y[:9] - unseen(nine, y[:9]))
    assert_allclose(np.ptp(nine.predict_interval(X), axis=1), 2 * errors.max())
    eight = sf.StackingRegressor(NUMBERS, LinearRegression(), cv=2).fit(X[:8], y[:8])
    with pytest.raises(ValueError, match=r"needs 9 rows .* there are 8: .* at most 0.888"):
        eight.predict_interval(X)
    alone = sf.StackingRegressor(NUMBERS[:1], cv=2).fit(X, y)
    with pytest.raises(ValueError, match="needs two bases"):
        alone.predict_interval(X, method="normalised")


def test_a_stack_is_still_a_stack(diabetes):
    X, y = diabetes
    stack = sf.StackingRegressor(NUMBERS, Ridge(), cv=4)
    assert not hasattr(stack, "predict_set")
    pipe = make_pipeline(StandardScaler(), stack).fit(X, y)
    found = pipe[-1].predict_interval(pipe[:-1].transform(X))
    search = GridSearchCV(pipe, {"stackingregressor__final_estimator__alpha": [1.0]}, cv=2)
    best = search.fit(X, y).best_estimator_
    assert_array_equal(best[-1].predict_interval(best[:-1].transform(X)), found)
    loaded = pickle.loads(pickle.dumps(best))[-1]
    loaded.final_estimator_.fit = None  # it need not be calibrated once more
    assert_array_equal(loaded.predict_interval(best[:-1].transform(X)), found)
    before = pipe[-1].predict_interval(X)
    other = pipe[-1].refit_final(LinearRegression()).predict_interval(X)
    assert not np.allclose(np.ptp(other, axis=1), np.ptp(before, axis=1), rtol=1e-9)


@pytest.mark.parametrize("refit", [True, False])
def test_networks_have_intervals(refit):
    X, y = wavy(120)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    network = sf.KerasRegressor(build_regressor, epochs=1, random_state=0)
    bases = [("net", make_pipeline(StandardScaler(), network)), ("tree", NUMBERS[1][1])]
    stack = sf.StackingRegressor(bases, LinearRegression(), cv=3, refit=refit, random_state=0)
    stack.fit(frame, y)
    margin = nth(np.abs(y - unseen(stack, y)), 0.9)
    wanted = stack.predict(frame)[:, None] + margin * np.array([-1, 1])
    assert_allclose(stack.predict_interval(frame), wanted, rtol=1e-6)


def test_bases_without_weight_are_not_asked(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("no", DummyRegressor()), ("tree", NUMBERS[1][1])]
    stack = sf.StackingRegressor(bases, sf.ConvexRegressor(), cv=4).fit(X, y)
    assert stack.bases_read() == [0, 2]
    wanted = stack.predict_interval(X)
    wide = stack.predict_interval(X, method="normalised")
    spread = np.abs(stack.oof_.predictions @ [0.5, 0, -0.5])
    here = np.abs(stack.transform(X) @ [0.5, 0, -0.5]) + spread.mean()
    assert_allclose(np.ptp(wide, axis=1) / here, np.ptp(wide[0]) / here[0])
    stack.estimators_[1].predict = None  # whoever asks it fails
    assert_array_equal(stack.predict_interval(X), wanted)
    assert_array_equal(stack.predict_interval(X, method="normalised"), wide)
    best = sf.StackingRegressor(bases, sf.BestRegressor(), cv=4).fit(X, y)
    assert np.isfinite(best.predict_interval(X)).all()
    wide = best.predict_interval(X, method="normalised")
    here = best.transform(X).std(axis=1) + best.oof_.predictions.std(axis=1).mean()
    assert_allclose(np.ptp(wide, axis=1) / here, np.ptp(wide[0]) / here[0])
    graph = sf.to_keras(best, coverage={"coverage": 0.9, "method": "normalised"})(X)
    assert_allclose(np.transpose([graph["lower"], graph["upper"]]), wide)


def test_a_network_as_meta_learner_has_intervals():
    X, y = wavy(60)
    final = sf.FusionRegressor("dense", epochs=1, random_state=0)
    stack = sf.StackingRegressor(NUMBERS, final, cv=3, random_state=0).fit(X, y)
    first = stack.predict_interval(X, 0.8)
    assert_array_equal(stack.calibrate().predict_interval(X, 0.8), first)
    assert_allclose(first.mean(axis=1), stack.predict(X), rtol=1e-6)


def blurred(n_rows, seed=0):
    """Return rows of four classes that overlap, with names."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 4, n_rows)
    X = np.column_stack([y % 2, y // 2]) * 1.5 + generator.normal(size=(n_rows, 2))
    return X, np.array(["south", "east", "north", "west"])[y]


def chances_unseen(stack, y):
    """Return the probabilities of a cross-fitted LogisticRegression, by scikit-learn alone."""
    table, said = stack.oof_.predictions, np.zeros((len(y), len(stack.classes_)))
    for train, test in stack.oof_.folds:
        said[test] = LogisticRegression().fit(table[train], y[train]).predict_proba(table[test])
    return said


def more_likely(chances):
    """Return the sum of the probabilities of all classes that are more likely than each."""
    return (chances[:, None] * (chances[:, None] > chances[:, :, None])).sum(axis=2)


def test_a_set_holds_classes_as_likely_as_unseen_rows_say():
    X, y = blurred(300)
    stack = sf.StackingClassifier(CLASSES, LogisticRegression(), cv=KFold(4)).fit(X, y)
    assert list(stack.classes_) == ["east", "north", "south", "west"]
    own = np.searchsorted(stack.classes_, y)
    chances = chances_unseen(stack, y)
    new, _ = blurred(500, seed=1)
    for coverage in (0.6, 0.9):
        limit = nth(1 - chances[np.arange(300), own], coverage)
        found = stack.predict_set(new, coverage)
        assert found.dtype == bool
        assert_array_equal(found, 1 - stack.predict_proba(new) <= limit + 1e-6)
        limit = nth(more_likely(chances)[np.arange(300), own], coverage)
        found = stack.predict_set(new, coverage, method="adaptive")
        assert_array_equal(found, more_likely(stack.predict_proba(new)) <= limit + 1e-6)
        assert found.any(axis=1).all()
    assert_array_equal(stack.predict_set(new), stack.predict_set(new, 0.9))


@pytest.mark.parametrize("method", ["lac", "adaptive"])
def test_sets_hold_as_many_classes_as_asked(method):
    held, sizes = [], []
    for seed in range(10):
        X, y = blurred(200, seed)
        stack = sf.StackingClassifier(CLASSES, LogisticRegression(), cv=5).fit(X, y)
        new, y_new = blurred(1500, seed + 100)
        members = stack.predict_set(new, 0.9, method=method)
        held.append(members[np.arange(1500), np.searchsorted(stack.classes_, y_new)].mean())
        sizes.append(members.sum(axis=1).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
    assert 1.2 < np.mean(sizes) < 3


def test_sets_of_new_rows_that_count_differently():
    X, y = blurred(300)
    stack = sf.StackingClassifier(CLASSES, LogisticRegression(), cv=4).fit(X[:150], y[:150])
    chances = stack.predict_proba(X[150:])
    scores = 1 - chances[np.arange(150), np.searchsorted(stack.classes_, y[150:])]
    weights = np.random.default_rng(0).uniform(1, 3, 150)
    stack.calibrate(X[150:], y[150:], sample_weight=weights)
    order = np.argsort(scores)
    reached = weights[order].cumsum() >= 0.9 * (weights.sum() + weights.mean())
    limit = scores[order][np.flatnonzero(reached)[0]]
    new, _ = blurred(100, seed=1)
    assert_array_equal(stack.predict_set(new), 1 - stack.predict_proba(new) <= limit + 1e-6)
    with pytest.raises(ValueError, match="y holds 'up', which is not one of the classes"):
        stack.calibrate(X[:2], np.array(["up", "east"]))
    with pytest.raises(ValueError, match="y is the target of new rows, but X is missing"):
        stack.calibrate(y=y)


def test_equally_likely_classes_are_in_or_out_together():
    X, y = np.zeros((40, 1)), np.arange(40) % 4
    X[:, 0] = y == 0
    stack = sf.StackingClassifier([("tree", DecisionTreeClassifier())], cv=5).fit(X, y)
    members = stack.predict_set(X, 0.5, method="adaptive")
    assert members.tolist() == [[k == 0] + 3 * [k != 0] for k in y]


def test_what_has_no_sets_says_so(cancer):
    X, y = cancer
    labels = np.column_stack([y == "benign", X[:, 0] > 0]).astype(int)
    several = sf.StackingClassifier(CLASSES[1:], cv=3).fit(X, labels)
    with pytest.raises(ValueError, match=r"predicts 2 labels: fit a stack for each, on y\[:, k\]"):
        several.predict_set(X)
    stack = sf.StackingClassifier(CLASSES, cv=3).fit(X, y)
    with pytest.raises(ValueError, match="method must be 'lac' or 'adaptive', got 'aps'"):
        stack.predict_set(X, method="aps")
    assert not hasattr(stack, "predict_interval")
    without = sf.StackingClassifier(CLASSES, SVC(), cv=3).fit(X, y)
    assert not hasattr(without, "predict_set")
    with pytest.raises(ValueError, match="from probabilities, and SVC gives none: use a meta-"):
        without.calibrate()


def test_networks_have_sets(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    network = sf.KerasClassifier(build_classifier, epochs=1, random_state=0)
    stack = sf.StackingClassifier(
        [("net", network), *CLASSES], LogisticRegression(), cv=3, random_state=0
    ).fit(frame, y)
    limit = nth(1 - chances_unseen(stack, y)[np.arange(150), y], 0.9)
    assert_array_equal(stack.predict_set(frame), 1 - stack.predict_proba(frame) <= limit + 1e-6)
    loaded = pickle.loads(pickle.dumps(stack))
    assert_array_equal(loaded.predict_set(frame), stack.predict_set(frame))
