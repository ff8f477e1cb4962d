import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._oof.folds import (
    Fold,
    draw_folds,
    whole,
)

X = np.arange(24.0).reshape(12, 2)
Y = np.tile([0, 1], 6)


@pytest.mark.parametrize("cv", [2, 5, None])
def test_a_number_means_what_it_means_in_scikit_learn(cv):
    y = np.repeat([0, 1], 6)
    wanted = StratifiedKFold(cv or 5).split(X, y)
    for fold, (train, test) in zip(draw_folds(cv, X, y, classifier=True), wanted, strict=True):
        assert_array_equal(fold.train, train)
        assert_array_equal(fold.test, test)
    assert_array_equal(draw_folds(3, X, y, classifier=False)[0].test, [0, 1, 2, 3])


@pytest.mark.parametrize(
    "cv",
    [
        TimeSeriesSplit(3),
        ShuffleSplit(4, random_state=0),
        PredefinedSplit([-1, -1, -1, 0, 0, 0, 1, 1, 1, -1, -1, -1]),
        [(np.arange(6), np.arange(6, 12))],
        [(np.arange(12) < 6, np.arange(12) >= 8)],
    ],
)
def test_folds_that_are_no_partition(cv):
    folds = draw_folds(cv, X, Y, classifier=True)
    assert all(isinstance(fold, Fold) for fold in folds)
    assert not any(np.intersect1d(fold.train, fold.test).size for fold in folds)


def test_groups_reach_the_splitter():
    groups = np.repeat([0, 1, 2], 4)
    for train, test in draw_folds(
        GroupKFold(3), X, Y, classifier=True, split_params={"groups": groups}
    ):
        assert not set(groups[train]) & set(groups[test])


def test_the_splitter_stays_as_it_was():
    random_state = np.random.RandomState(0)
    before = random_state.get_state(legacy=False)["state"]["key"].copy()
    cv = KFold(3, shuffle=True, random_state=random_state)
    first, second = (draw_folds(cv, X, Y, classifier=True) for _ in range(2))
    assert_array_equal(random_state.get_state(legacy=False)["state"]["key"], before)
    assert_array_equal(first[0].test, second[0].test)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "yields no folds"),
        ([([0, 1], [])], "fold 0 has no test rows"),
        ([([0, 1], [12])], r"outside 0..11"),
        ([([0, 1], [-1])], r"outside 0..11"),
        ([([0, 1], [2, 2])], "predicts a row twice"),
        ([([0, 1], [1, 2])], "trains on 1 of the rows that it predicts .row 1"),
        ([([0, 2], [1, 3])], "trains on one class only .0."),
    ],
)
def test_wrong_folds(cv, message):
    with pytest.raises(ValueError, match=message):
        draw_folds(cv, X, Y, classifier=True)


def test_whole_trains_on_everything_and_predicts_nothing():
    assert_array_equal(whole(3).train, [0, 1, 2])
    assert whole(3).test.size == 0


@pytest.mark.parametrize(
    ("y", "cv", "message"),
    [
        (["a"] * 6 + ["b"] * 6, KFold(2), r"one class only \('b'\). Use StratifiedKFold"),
        (
            ["a"] * 6 + ["b"] * 6,
            TimeSeriesSplit(3),
            r"one class only \('a'\). Use fewer folds, so that the first one trains on more rows",
        ),
        (["a"] * 11 + ["b"], KFold(3), r"one class only \('a'\). Class 'b' has one row: leave it"),
    ],
)
def test_folds_without_a_class_name_the_label_and_a_way_out_that_helps(y, cv, message):
    bases = [("tree", DecisionTreeClassifier())]
    with pytest.raises(ValueError, match=message):
        sf.StackingClassifier(bases, cv=cv).fit(X, y)


def test_a_warning_of_a_missing_class_tells_a_way_out_that_helps():
    bases = [("tree", DecisionTreeClassifier())]
    y = ["a", "b"] * 5 + ["c", "c"]
    with pytest.warns(UserWarning, match=r"without \['c'\].*missing class. Use fewer folds"):
        sf.out_of_fold(bases, X, y, cv=TimeSeriesSplit(2))
    with pytest.warns(UserWarning, match=r"without \['c'\].*Class 'c' has one row: leave it out"):
        sf.out_of_fold(bases, X, [*"ab" * 5, "a", "c"], cv=KFold(3))


def test_groups_that_are_missing_are_named_as_numbers_too():
    groups = np.repeat([1.0, 2.0, np.nan], 4)
    with pytest.raises(ValueError, match="groups must hold a label for each row, got nan in row 8"):
        sf.StackingRegressor([("ridge", Ridge())], cv=GroupKFold(2)).fit(X, Y, groups=groups)
