"""Options of a stack beyond scikit-learn's: errors, kept predictions, columns, nested folds."""

import json
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import set_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_multilabel_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._oof.memory.sharing import SharingEngine
from tests.support.networks import build_classifier, build_regressor, build_sigmoid

LR = ("lr", LogisticRegression())
TREE = ("tree", DecisionTreeClassifier(random_state=0))


class Failing(LogisticRegression):
    """Fails in the ways that are asked for, when it is trained on fewer rows than all."""

    def __init__(self, how="raise", n_all=150):
        super().__init__()
        self.how = how
        self.n_all = n_all

    def fit(self, X, y, sample_weight=None):
        if self.how == "raise" and len(y) < self.n_all:
            raise OSError("the tape broke")
        if self.how == "raise at the end" and len(y) == self.n_all:
            raise OSError("the tape broke")
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        if self.how in ("nan", "no sum"):
            proba[0, 0] = np.nan if self.how == "nan" else proba[0, 0] + 0.5
        if self.how == "beyond":
            proba = 3 * proba - 1
        if self.how == "a column less":
            proba = proba[:, 1:]
        return proba[:-1] if self.how == "short" else proba


class FailingMeta(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("I fail")


@pytest.mark.parametrize(
    ("base", "cause"),
    [
        (Failing(), "failed on fold 0.*OSError: the tape broke"),
        (Failing("raise at the end"), "failed on all rows.*OSError: the tape broke"),
        (Failing("nan"), "failed on fold 0.*it predicted NaN or infinity"),
        (
            Failing("beyond"),
            r"failed on fold 0.*from -1 to 1.98, but they must lie between 0 and 1: corr",
        ),
        (Failing("no sum"), r"failed on fold 0.*sum to 1.5 in row 0 .*stack_method={'bad': 'pred"),
        (
            Failing("a column less"),
            "failed on fold 0.*it predicted 2 columns .* for 3 classes: let",
        ),
        (Failing("short"), "failed on fold 0.*it returned 49 predictions for 50 rows"),
        (
            sf.KerasClassifier(build_classifier, optimizer="sgd", optimizer__learning_rate=1e30),
            "failed on fold 0.*FloatingPointError",
        ),
    ],
)
def test_a_base_that_fails_is_named_or_dropped(iris, base, cause):
    X, y = iris
    stack = sf.StackingClassifier([LR, ("bad", base), TREE], cv=3, random_state=0)
    with pytest.raises((OSError, ValueError, FloatingPointError), match="'bad' failed on"):
        stack.fit(X, y)
    stack.set_params(on_error="drop")
    with pytest.warns(UserWarning, match=f"Base estimator 'bad' {cause}"):
        stack.fit(X, y)
    without = sf.StackingClassifier([LR, TREE], cv=3, random_state=0).fit(X, y)
    assert_array_equal(stack.predict_proba(X), without.predict_proba(X))
    assert stack.stack_method_ == ["predict_proba", "predict_proba"]
    assert stack.named_estimators_["bad"] == "drop"
    assert list(stack.failures_) == ["bad"]
    assert_array_equal(stack.get_feature_names_out(), without.get_feature_names_out())
    graph = sf.to_keras(stack)(X)
    assert_allclose(graph["probabilities"], stack.predict_proba(X), atol=1e-6)


def test_rows_for_which_each_class_is_denied(iris):
    X, y = iris[0][:, :2], iris[1]
    denying = OneVsRestClassifier(DecisionTreeClassifier(random_state=0))
    folds = KFold(3, shuffle=True, random_state=0)
    proba = cross_val_predict(denying, X, y, cv=folds, method="predict_proba")
    first = next(iter(folds.split(X)))[1]
    row = int(np.flatnonzero(proba[first].sum(axis=1) == 0)[0])
    stack = sf.StackingClassifier([LR, ("ovr", denying)], cv=folds, random_state=0)
    said = rf"probability 0 for every class in row {row} of .*'predict'}}, .*CalibratedClassifierCV"
    with pytest.raises(ValueError, match=said):
        stack.fit(X, y)
    by_label = stack.set_params(stack_method={"ovr": "predict"}).fit(X, y)
    assert by_label.oof_.predictions.shape == (150, 4)
    calibrated = [LR, ("ovr", CalibratedClassifierCV(denying, cv=2))]
    proba = sf.StackingClassifier(calibrated, cv=folds, random_state=0).fit(X, y).oof_.predictions
    assert_allclose(proba[:, 3:].sum(axis=1), 1.0)


@pytest.mark.parametrize("how", ["nan", "beyond", "no sum"])
def test_probabilities_of_two_classes_are_checked_in_both_columns(iris, how):
    X, y = iris[0], (iris[1] > 0).astype(int)
    with pytest.raises(ValueError, match="Base estimator 'bad' failed on fold 0: it predicted"):
        sf.out_of_fold([LR, ("bad", Failing(how))], X, y, cv=2)
    one_column = sf.out_of_fold([("one", OneColumn())], X, y, cv=2)
    both = sf.out_of_fold([("one", LogisticRegression())], X, y, cv=2)
    assert_array_equal(one_column.predictions, both.predictions)
    for name, scores in both.scores["one"].items():
        assert_allclose(one_column.scores["one"][name], scores)


class OneColumn(LogisticRegression):
    """Returns the probability of the second class alone."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, 1:]


def test_labels_without_a_column_are_told():
    X, Y = make_multilabel_classification(60, n_classes=3, random_state=0)

    class TwoLabels(OneVsRestClassifier):
        def predict_proba(self, X):
            return super().predict_proba(X)[:, :2]

    bases = [("bad", TwoLabels(LogisticRegression(max_iter=500)))]
    with pytest.raises(ValueError, match=r"failed on fold 0: it predicted 2 .* for 3 labels"):
        sf.out_of_fold(bases, X, Y, cv=2)


def test_scores_are_those_of_scikit_learn(iris):
    X, y = iris
    forest = RandomForestClassifier(5, random_state=0)  # sure of some rows, and wrong there
    oof = sf.out_of_fold([("rf", forest)], X, y, cv=3)
    for k, (train, test) in enumerate(oof.folds):
        proba = clone(forest).fit(X[train], y[train]).predict_proba(X[test])
        assert oof.scores["rf"]["log_loss"][k] == log_loss(y[test], proba, labels=[0, 1, 2])


def test_fits_from_memory_are_counted(iris, tmp_path):
    X, y = iris
    stack = sf.StackingClassifier([LR], cv=3, memory=tmp_path, random_state=0)
    sf.out_of_fold(stack.estimators, X, y, cv=3, memory=tmp_path, random_state=0)
    assert stack.fit(X, y).engine_ == {"lr": "3 of 4 fits from memory; one by one"}


def test_a_base_that_failed_is_tried_again(iris, tmp_path):
    X, y = iris
    bases = [LR, ("bad", Failing("raise at the end"))]
    stack = sf.StackingClassifier(bases, cv=3, memory=tmp_path, on_error="drop")
    told = r"'bad' failed on all rows.*finished are kept.*write \('bad', 'drop'\) in estimators"
    with pytest.warns(UserWarning, match=told):
        stack.fit(X, y)
    markers = [json.loads(path.read_text()) for path in tmp_path.rglob("done.json")]
    of_bad = [marker["title"] for marker in markers if "'bad'" in marker["title"]]
    assert sorted(of_bad) == [f"base estimator 'bad' on fold {k}" for k in range(3)]
    with pytest.warns(UserWarning, match=told):
        assert stack.fit(X, y).engine_ == {"lr": "from memory"}
    stack.set_params(bad="drop").fit(X, y)
    assert stack.failures_ == {}


def test_constant_bases(iris):
    X, y = iris
    stack = sf.StackingClassifier([("dummy", DummyClassifier()), LR], cv=3)
    assert stack.fit(X, y).failures_ == {}
    stack.set_params(on_error="drop")
    with pytest.warns(UserWarning, match="'dummy' failed and is dropped.*same for every row"):
        stack.fit(X, y)
    assert [column.estimator for column in stack.oof_.columns] == ["lr"] * 3


def test_all_bases_lost_is_an_error(iris):
    stack = sf.StackingClassifier([("bad", Failing())], cv=3, on_error="drop")
    with pytest.warns(UserWarning, match="dropped"), pytest.raises(ValueError, match="All base es"):
        stack.fit(*iris)


def test_weights_that_a_base_cannot_take(iris):
    X, y = iris
    weights = np.linspace(1, 2, 150)
    stack = sf.StackingClassifier([LR, ("knn", KNeighborsClassifier())], cv=3)
    with pytest.raises(TypeError, match=r"knn .* does not support sample weights"):
        stack.fit(X, y, sample_weight=weights)
    with pytest.warns(
        UserWarning, match=r"knn .* does not support sample weights.*, so it is dropped"
    ):
        stack.set_params(on_error="drop").fit(X, y, sample_weight=weights)
    assert list(stack.failures_) == ["knn"]
    alone = sf.StackingClassifier([LR], cv=3).fit(X, y, sample_weight=weights)
    assert_array_equal(stack.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize(
    "labels", [["a", "b", "c"], [3, 7, 9], np.array(["a", "bc", "d"], dtype=object)]
)
def test_out_of_fold_predictions_are_saved_whole(iris, tmp_path, labels):
    X, y = iris
    y = np.asarray(labels)[y]
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    cv = TimeSeriesSplit(3)
    oof = sf.out_of_fold([("net", network), LR], X, y, cv=cv)
    oof.save(tmp_path / "oof.npz")
    again = sf.OutOfFold.load(tmp_path / "oof.npz")
    for name in ("predictions", "mask", "y", "classes_", "fold_ids"):
        assert_array_equal(getattr(again, name), getattr(oof, name))
        assert getattr(again, name).dtype == getattr(oof, name).dtype
    for fold, kept in zip(oof.folds, again.folds):
        assert_array_equal(kept.train, fold.train)
        assert_array_equal(kept.test, fold.test)
    assert again.columns == oof.columns
    assert again.histories == oof.histories
    assert_array_equal(again.scores["lr"]["log_loss"], oof.scores["lr"]["log_loss"])
    pd.testing.assert_frame_equal(again.to_frame(), oof.to_frame())
    assert repr(oof) == ("<OutOfFold: 150 rows (111 predicted), 3 folds, 6 columns of net, lr>")


def test_files_that_hold_no_out_of_fold_predictions(tmp_path):
    other, text = tmp_path / "other.npz", tmp_path / "text.npz"
    np.savez(other, x=np.eye(2))
    text.write_text("nothing")
    for path in (other, text):
        with pytest.raises(ValueError, match=r"npz' holds no out-of-fold predictions, or is dam"):
            sf.OutOfFold.load(path)
    with pytest.raises(FileNotFoundError):
        sf.OutOfFold.load(tmp_path / "missing.npz")
    np.savez(other, about=np.array('{"format": "stackfuse out-of-fold 9"}'))
    with pytest.raises(ValueError, match="has the format 'stackfuse out-of-fold 9'"):
        sf.OutOfFold.load(other)


def test_another_meta_learner_costs_no_base_fit(iris):
    X, y = iris
    labels = np.array(["a", "b", "c"])[y]
    final = DecisionTreeClassifier(random_state=0)
    for passthrough in (False, True):
        settings = {"cv": 3, "passthrough": passthrough, "random_state": 0}
        stack = sf.StackingClassifier([LR, TREE], **settings).fit(X, labels)
        bases = list(stack.estimators_)
        wanted = sf.StackingClassifier([LR, TREE], final, **settings).fit(X, labels)
        stack.refit_final(final, X if passthrough else None)
        assert_array_equal(stack.predict(X), wanted.predict(X))
        assert all(a is b for a, b in zip(stack.estimators_, bases))
    with pytest.raises(ValueError, match="also uses columns of X"):
        stack.refit_final(final)
    with pytest.raises(ValueError, match="X has 10 rows, oof_ has 150"):
        stack.refit_final(final, X[:10])
    with pytest.raises(TypeError, match="final_estimator must be a classifier"):
        stack.refit_final("dense", X)
    with pytest.raises(RuntimeError, match="I fail"):
        stack.refit_final(FailingMeta(), X)
    assert stack.final_estimator is final
    assert_array_equal(stack.predict(X), wanted.predict(X))


def test_a_stack_from_saved_predictions(iris, tmp_path):
    X, y = iris
    first = sf.StackingClassifier([LR, TREE], cv=3, random_state=0).fit(X, y)
    first.oof_.save(tmp_path / "oof.npz")
    oof = sf.OutOfFold.load(tmp_path / "oof.npz")
    again = sf.StackingClassifier([LR, TREE], cv=oof, random_state=0)
    assert_array_equal(clone(again).fit(X, y).predict_proba(X), first.predict_proba(X))
    frozen = [(name, FrozenEstimator(e)) for name, e in first.named_estimators_.items()]
    with pytest.raises(ValueError, match="for another y"):
        again.fit(X, (y + 1) % 3)
    with pytest.raises(ValueError, match=r"but the bases are \{'tree'"):
        sf.StackingClassifier([TREE, LR], cv=oof).fit(X, y)
    with pytest.raises(ValueError, match="not the models of the folds: use refit=True"):
        again.set_params(refit=False).fit(X, y)
    unfitted = sf.StackingClassifier(frozen, cv=oof, random_state=0).fit(X, y)
    assert_array_equal(unfitted.predict_proba(X), first.predict_proba(X))


@pytest.mark.parametrize("columns", [["a", "c"], [0, 2], [-4, 2]])
def test_some_columns_are_passed_through(iris, columns):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    stack = sf.StackingClassifier([LR, TREE], cv=3, passthrough=columns).fit(frame, y)
    assert_array_equal(stack.transform(frame)[:, 6:], X[:, [0, 2]])
    names = list(stack.get_feature_names_out())
    assert names[6:] == ["a", "c"]
    wanted = LogisticRegression().fit(np.hstack([stack.oof_.predictions, X[:, [0, 2]]]), y)
    assert_array_equal(stack.final_estimator_.coef_, wanted.coef_)
    graph = sf.to_keras(stack)
    assert_allclose(graph(X)["probabilities"], stack.predict_proba(frame), atol=1e-6)


def test_columns_that_are_not_there(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match=r"passthrough=\['e'\] names columns that X lacks"):
        sf.StackingClassifier([LR], passthrough=["e"]).fit(frame, y)
    with pytest.raises(ValueError, match=r"passthrough=\[4\] names columns that X lacks"):
        sf.StackingClassifier([LR], passthrough=[4]).fit(X, y)
    with pytest.raises(ValueError, match=r"use \['a'\]"):
        sf.StackingClassifier([LR], passthrough="a").fit(frame, y)


def test_an_inner_stack_keeps_to_the_outer_folds(iris):
    X, y = iris
    groups = np.arange(150) // 15
    inner = sf.StackingClassifier([LR, TREE], cv="outer")
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3]}, cv="outer")
    outer = sf.StackingClassifier(
        [("inner", inner), ("search", search)], cv=GroupKFold(5), refit=False
    )
    outer.fit(X, y, groups=groups)
    for fold, stack in zip(outer.oof_.folds, outer.fold_estimators_[0]):
        mine = groups[fold.train]
        assert len(stack.oof_.folds) == 4
        assert stack.oof_.mask.all()
        for train, test in stack.oof_.folds:
            assert not set(mine[train]) & set(mine[test])
    assert len(outer.fold_estimators_[1][0].cv) == 4
    whole = outer.set_params(refit=True).fit(X, y, groups=groups)
    for fold, kept in zip(whole.oof_.folds, whole.estimators_[0].oof_.folds):
        assert_array_equal(fold.test, kept.test)
    with pytest.raises(ValueError, match="cv='outer' takes the folds of the stack around this"):
        inner.fit(X, y)
    with pytest.raises(ValueError, match=r"(?s) none of 2 folds does.*'inner' failed"):
        sf.StackingClassifier([("inner", inner)], cv=2).fit(X, y)


class Counted(DecisionTreeClassifier):
    """Counts its fits, and keeps the groups that it was trained on."""

    fitted_on: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.fitted_on.append(set(X[:, 0].astype(int).tolist()))
        return super().fit(X[:, 1:], y, sample_weight)

    def predict_proba(self, X):
        return super().predict_proba(X[:, 1:])


def test_stacks_of_three_levels_keep_to_the_outer_folds(iris):
    X, y = iris
    groups = np.arange(150) % 15
    X = np.column_stack([groups, X])
    tree = ("tree", Counted(random_state=0))
    lowest = sf.StackingClassifier([tree], cv="outer")
    middle = sf.StackingClassifier([("lowest", lowest), LR], cv="outer")
    outer = sf.StackingClassifier([("middle", middle), LR], cv=GroupKFold(4), refit=False)
    Counted.fitted_on.clear()
    outer.fit(X, y, groups=groups)
    # In each of 4 folds: 3 times 2 inner folds and all rows, then 3 inner folds and all rows.
    assert len(Counted.fitted_on) == 4 * (3 * (2 + 1) + (3 + 1))
    parts = [set(groups[fold.test]) for fold in outer.oof_.folds]
    wholes = [set().union(*(parts[k] for k in kept)) for kept in _subsets(range(4))]
    assert all(fitted_on in wholes for fitted_on in Counted.fitted_on)
    for fold, stack in zip(outer.oof_.folds, outer.fold_estimators_[0]):
        inner = stack.estimators_[0]
        for oof in (stack.oof_, inner.oof_):
            assert [set(groups[fold.train][f.test]) for f in oof.folds] == [
                part for part in parts if part != set(groups[fold.test])
            ]
    whole = clone(outer).set_params(refit=True).fit(X, y, groups=groups)
    for oof in (whole.estimators_[0].oof_, whole.estimators_[0].estimators_[0].oof_):
        assert [set(groups[f.test]) for f in oof.folds] == parts


class Logged(DecisionTreeClassifier):
    """Writes a letter to a file for every fit."""

    def __init__(self, log, random_state=None):
        super().__init__(max_features=1, random_state=random_state)
        self.log = log

    def fit(self, X, y, sample_weight=None):
        with open(self.log, "a") as file:
            file.write("x")
        return super().fit(X, y, sample_weight)


def nested(base, levels, **options):
    """Return a stack of so many levels; all but the outermost take its folds."""
    for _ in range(levels - 1):
        base = sf.StackingClassifier([("base", base)], cv="outer")
    return sf.StackingClassifier([("base", base)], cv=4, **options)


@pytest.mark.parametrize(("levels", "n_made", "n_alone"), [(1, 5, 5), (2, 11, 21), (3, 15, 73)])
def test_equal_fits_in_nested_stacks_are_made_once(
    levels, n_made, n_alone, iris, tmp_path, monkeypatch
):
    stack = nested(Logged(tmp_path / "log"), levels, random_state=0)
    shared = clone(stack).fit(*iris)
    assert (tmp_path / "log").stat().st_size == n_made
    monkeypatch.setattr(SharingEngine, "_key", lambda *_: None)
    alone = clone(stack).fit(*iris)
    assert (tmp_path / "log").stat().st_size == n_made + n_alone
    assert_array_equal(shared.oof_.predictions, alone.oof_.predictions)
    assert_array_equal(shared.predict_proba(iris[0]), alone.predict_proba(iris[0]))
    if levels == 2:
        assert shared.engine_ == {"base": "one by one; 11 fits of bases inside, 10 more shared"}
        assert alone.engine_ == {"base": "one by one; 21 fits of bases inside"}


def test_nested_stacks_share_with_a_memory_and_networks_too(iris, tmp_path, monkeypatch):
    stack = nested(Logged(tmp_path / "log"), 2, random_state=0)
    plain = clone(stack).fit(*iris)
    for _ in range(2):
        kept = clone(stack).set_params(memory=tmp_path / "kept").fit(*iris)
        assert (tmp_path / "log").stat().st_size == 2 * 11
        assert_array_equal(kept.predict_proba(iris[0]), plain.predict_proba(iris[0]))
    network = nested(sf.KerasClassifier(build_classifier), 2, random_state=0)
    shared = clone(network).fit(*iris)
    assert "10 more shared" in shared.engine_["base"]
    monkeypatch.setattr(SharingEngine, "_key", lambda *_: None)
    alone = clone(network).fit(*iris)
    assert_allclose(shared.oof_.predictions, alone.oof_.predictions, atol=1e-5)


def test_fits_inside_on_rows_that_differ_are_not_shared(iris, tmp_path):
    inner = sf.StackingClassifier([("tree", Logged(tmp_path / "log"))], cv="outer")
    scaled = make_pipeline(StandardScaler(), inner)  # by the mean of other rows in each fold
    stack = sf.StackingClassifier([("scaled", scaled)], cv=4, random_state=0).fit(*iris)
    assert stack.engine_["scaled"].endswith("21 fits of bases inside")
    sf.StackingClassifier([("own", inner.set_params(cv=3))], cv=4).fit(*iris)
    assert (tmp_path / "log").stat().st_size == 21 + 5 * 4


def _subsets(things):
    things = list(things)
    return [s for n in range(1, len(things) + 1) for s in combinations(things, n)]


def test_outer_folds_are_of_the_stack_around(iris):
    inner = sf.StackingClassifier([LR], cv="outer")
    middle = sf.StackingClassifier([("inner", inner), TREE], cv=3)  # it draws folds of its own
    outer = sf.StackingClassifier([("middle", middle)], cv=4).fit(*iris)
    kept = outer.estimators_[0]
    for mine, theirs in zip(kept.oof_.folds, kept.estimators_[0].oof_.folds, strict=True):
        assert_array_equal(mine.test, theirs.test)


def test_fitted_bases_that_have_seen_the_rows_are_told(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X[:75], y[:75])
    stack = sf.StackingClassifier([LR], cv=3).fit(X[:75], y[:75])
    for base in (network, stack):
        for estimators, cv in ([("b", base)], "prefit"), ([("b", FrozenEstimator(base))], 3):
            with pytest.warns(UserWarning, match="'b' was trained on rows that now train the meta"):
                sf.StackingClassifier(estimators, cv=cv).fit(X, y)
            sf.StackingClassifier(estimators, cv=cv).fit(X[75:], y[75:])  # does not warn


def test_a_file_of_a_keras_model_is_a_base(iris, tmp_path):
    X, y = iris
    labels = np.array(["a", "b", "c"])[y]
    network = sf.KerasClassifier(build_classifier, epochs=5, random_state=0).fit(X[:75], y[:75])
    path = tmp_path / "net.keras"
    network.model_.save(path, include_optimizer=False)
    for cv in (3, "prefit"):
        for file in (path, str(path)):
            bases = [("net", file)] if cv == "prefit" else [("net", file), LR]
            stack = sf.StackingClassifier(bases, cv=cv, random_state=0).fit(X[75:], labels[75:])
            assert_array_equal(stack.transform(X)[:, :3], network.predict_proba(X))
    with pytest.raises(ValueError, match="nowhere"):
        sf.StackingClassifier([("net", str(tmp_path / "nowhere.keras"))], cv=3).fit(X, y)


@pytest.fixture(scope="module")
def labels():
    """Return 120 rows, 3 labels of which a row may have several."""
    return make_multilabel_classification(120, 8, n_classes=3, random_state=0)


def build_labels(meta):
    import keras

    units = keras.layers.Dense(meta["n_outputs_"], activation="sigmoid")
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), units])


def test_multilabel(labels):
    X, Y = labels
    bases = [
        ("forest", RandomForestClassifier(5)),
        ("lr", OneVsRestClassifier(LogisticRegression(max_iter=500))),
        ("net", sf.KerasClassifier(build_labels, epochs=5)),
    ]
    final = MultiOutputClassifier(LogisticRegression())
    stack = sf.StackingClassifier(bases, final, cv=3, random_state=0).fit(X, Y)
    assert stack.oof_.predictions.shape == (120, 9)
    proba = stack.predict_proba(X)
    assert_array_equal(stack.predict(X), (proba > 0.5).astype(int))
    for k in range(3):
        by_hand = LogisticRegression().fit(stack.oof_.predictions, Y[:, k])
        assert_array_equal(proba[:, k], by_hand.predict_proba(stack.transform(X))[:, 1])
    clone(stack).set_params(lr="drop").fit(X, Y)
    knn = KNeighborsClassifier().fit(stack.oof_.predictions, Y)
    wanted = np.column_stack([p[:, 1] for p in knn.predict_proba(stack.transform(X))])
    assert_array_equal(stack.refit_final(KNeighborsClassifier()).predict_proba(X), wanted)
    head = sf.FusionClassifier(epochs=20, random_state=0)
    wanted = clone(head).fit(stack.oof_.predictions, Y).predict_proba(stack.transform(X))
    assert_array_equal(stack.refit_final(head).predict_proba(X), wanted)
    oof = sf.out_of_fold(bases[:1], X, Y, cv=stack.oof_.folds, random_state=0)
    assert_array_equal(oof.predictions, stack.oof_.predictions[:, :3])


def test_a_label_that_a_fold_does_not_vary():
    X = np.random.default_rng(0).normal(size=(40, 3))
    Y = np.column_stack([X[:, 0] > 0, np.arange(40) < 20, np.zeros(40)]).astype(int)
    Y[:20, 2] = X[:20, 1] > 0
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    oof = sf.out_of_fold([TREE], X, Y, cv=folds)
    assert_array_equal(oof.predictions[20:, 1], 1)  # only rows that have the label were seen
    assert_array_equal(oof.predictions[:20, 1], 0)
    assert_array_equal(oof.predictions[:20, 2], 0)


def test_sparse_frames_and_several_inputs(iris):
    X, y = iris
    plain = sf.StackingClassifier([LR, TREE], cv=3).fit(X, y)
    rows = scipy.sparse.csr_array(X)
    sparse = sf.StackingClassifier([LR, TREE], cv=3).fit(rows, y)
    assert_allclose(sparse.predict_proba(rows), plain.predict_proba(X), atol=1e-6)
    passed = sf.StackingClassifier([LR], cv=3, passthrough=True).fit(rows, y)
    assert scipy.sparse.issparse(passed.transform(rows))
    columns = {name: X[:, k] for k, name in enumerate("abcd")}
    frame = pl.DataFrame(columns)
    polars = sf.StackingClassifier([LR, TREE], cv=3, passthrough=["b"]).fit(frame, y)
    assert_array_equal(polars.transform(frame)[:, :6], plain.transform(X))
    assert_array_equal(polars.transform(frame)[:, 6], X[:, 1])
    assert list(polars.feature_names_in_) == list("abcd")
    stack = clone(plain).set_output(transform="polars").fit(frame, y)
    assert stack.transform(frame).columns == list(plain.get_feature_names_out())


def build_two_inputs(meta):
    import keras

    inputs = [keras.Input((2,), name=name) for name in ("left", "right")]
    joined = keras.layers.Concatenate()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(joined))


def test_several_inputs(iris):
    X, y = iris
    inputs = sf.MultiInput(left=X[:, :2], right=X[:, 2:])
    network = sf.KerasClassifier(build_two_inputs, epochs=20)
    stack = sf.StackingClassifier([("net", network)], cv=3, passthrough=["right"], random_state=0)
    stack.fit(inputs, y)
    assert_array_equal(stack.transform(inputs)[:, 3:], X[:, 2:])
    assert stack.score(inputs, y) > 0.9


def test_binary_regression_and_hold_out_folds(cancer, diabetes):
    X, y = cancer
    network = sf.KerasClassifier(build_sigmoid, epochs=2)
    folds = PredefinedSplit(np.where(np.arange(200) < 150, -1, 0))
    stack = sf.StackingClassifier([("net", network), LR], cv=folds, random_state=0).fit(X, y)
    assert stack.oof_.mask.sum() == 50
    assert len(stack.oof_.folds) == 1
    wanted = LogisticRegression().fit(X[:150], y[:150]).predict_proba(X[150:])[:, 1]
    assert_array_equal(stack.oof_.predictions[150:, 1], wanted)
    X, y = diabetes
    regressor = sf.KerasRegressor(build_regressor, random_state=0)
    both = sf.StackingRegressor([("net", regressor), ("ridge", Ridge())], cv=TimeSeriesSplit(3))
    assert both.fit(X, y).oof_.mask.sum() == 150


def test_a_notebook_shows_bases_folds_and_meta_learner(iris):
    stack = sf.StackingClassifier([LR, ("x", "drop"), TREE], cv=TimeSeriesSplit(3))
    html = stack._repr_html_()
    for shown in ("LogisticRegression", "DecisionTreeClassifier", "final_estimator", "folds"):
        assert shown in html
    assert "TimeSeriesSplit" in html
    assert "3 folds, 111 rows predicted" in stack.fit(*iris)._repr_html_()


def test_progress_shows_bases_folds_and_the_fits_below(iris, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    sf.StackingClassifier([("net", network), LR], LogisticRegression(), cv=2, verbose=1).fit(*iris)
    shown = capsys.readouterr().out
    for title in ("base net", "fold 1", "all rows", "KerasClassifier - fit", "base lr", "meta-lea"):
        assert title in shown


def test_routed_metadata_reaches_the_meta_learner_as_requested(iris):
    X, y = iris
    weight = np.linspace(0.1, 2, 150)
    plain = LogisticRegression()
    set_config(enable_metadata_routing=True)
    try:
        base = LogisticRegression().set_fit_request(sample_weight=True)
        for wanted, name in ((True, "sample_weight"), (False, "sample_weight"), ("w", "w")):
            final = LogisticRegression().set_fit_request(sample_weight=wanted)
            bases = [("lr", base if name == "sample_weight" else plain)]
            stack = sf.StackingClassifier(bases, final, cv=3)
            if name == "w":
                bases[0] = ("lr", LogisticRegression().set_fit_request(sample_weight="w"))
            stack.fit(X, y, **{name: weight})
            used = None if wanted is False else weight
            by_hand = LogisticRegression().fit(stack.oof_.predictions, y, sample_weight=used)
            assert_array_equal(stack.final_estimator_.coef_, by_hand.coef_)
    finally:
        set_config(enable_metadata_routing=False)


def test_kept_predictions_give_the_same_stack(iris):
    X, y = iris
    bases = [("rf", RandomForestClassifier(5)), ("net", sf.KerasClassifier(build_classifier))]
    direct = sf.StackingClassifier(bases, cv=3, random_state=0).fit(X, y)
    again = sf.StackingClassifier(bases, cv=direct.oof_, random_state=0).fit(X, y)
    assert_array_equal(again.predict_proba(X), direct.predict_proba(X))
    dropping = sf.StackingClassifier(
        [*bases[:1], ("bad", Failing("raise at the end"))], cv=3, on_error="drop", random_state=0
    )
    oof = sf.out_of_fold(dropping.estimators, X, y, cv=3, random_state=0)
    with pytest.warns(UserWarning, match="'bad' failed on all rows"):
        dropping.set_params(cv=oof).fit(X, y)
    assert {column.estimator for column in dropping.oof_.columns} == {"rf"}
    assert dropping.transform(X).shape == (150, 3)


@pytest.mark.parametrize("labels", [[1, 2, 3], ["a", "b", "c"]])
@pytest.mark.parametrize("stack_method", ["predict_proba", "predict"])
def test_frozen_bases_know_the_labels_themselves(iris, labels, stack_method):
    X, y = iris
    y = np.asarray(labels)[y]
    fitted = LogisticRegression().fit(X, y)
    stack = sf.StackingClassifier(
        [("frozen", FrozenEstimator(fitted)), TREE], cv=3, stack_method=stack_method
    ).fit(X, y)
    numbers = np.searchsorted(labels, fitted.predict(X))
    if stack_method == "predict":
        assert_array_equal(stack.oof_.predictions[:, 0], numbers)
        assert_array_equal(stack.transform(X)[:, 0], numbers)
    else:
        assert_array_equal(stack.oof_.predictions[:, :3], fitted.predict_proba(X))
        graph = sf.to_keras(stack)
        assert_allclose(graph(X)["probabilities"], stack.predict_proba(X), atol=1e-12)
    right = numbers == np.searchsorted(labels, y)
    scores = [np.mean(right[fold.test]) for fold in stack.oof_.folds]
    assert_allclose(stack.oof_.scores["frozen"]["accuracy"], scores)


def test_fitted_bases_may_fail_too(iris):
    X, y = iris
    nonsense = Failing("nan").fit(X, y)
    with pytest.raises(ValueError, match="'bad' failed: it predicted NaN"):
        sf.StackingClassifier([("bad", nonsense)], cv="prefit").fit(X, y)
    good = LogisticRegression().fit(X, y)
    bases = [("bad", nonsense), ("good", good)]
    with pytest.warns(UserWarning, match="'bad' failed and is dropped"):
        stack = sf.StackingClassifier(bases, cv="prefit", on_error="drop").fit(X, y)
    assert stack.estimators_ == [good]


class OddError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Odd(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise OddError(3, "a strange thing")


def test_errors_of_any_kind_come_back_from_processes(iris):
    stack = sf.StackingClassifier([("odd", Odd()), LR], cv=2, n_jobs=2, on_error="drop")
    with pytest.warns(UserWarning, match="'odd' failed on fold .*OddError: a strange thing"):
        stack.fit(*iris)
    with pytest.raises((OddError, RuntimeError), match=r"(?s)strange thing.*'odd' failed on fold"):
        stack.set_params(on_error="raise").fit(*iris)


def test_names_and_drops_in_out_of_fold(iris):
    with pytest.raises(ValueError, match="not unique"):
        sf.out_of_fold([LR, ("lr", TREE[1])], *iris)
    oof = sf.out_of_fold([LR, ("x", "drop")], *iris, cv=2)
    assert {column.estimator for column in oof.columns} == {"lr"}


def test_weights_of_a_multilabel_target(labels):
    X, Y = labels
    weight = np.linspace(0.1, 2, 120)
    forest, final = RandomForestClassifier(5, random_state=0), LogisticRegression()
    stack = sf.StackingClassifier([("forest", forest)], MultiOutputClassifier(final), cv=3)
    stack.fit(X, Y, sample_weight=weight)
    wanted = LogisticRegression().fit(stack.oof_.predictions, Y[:, 0], weight)
    assert_array_equal(stack.final_estimator_.estimators_[0].coef_, wanted.coef_)


@pytest.mark.parametrize(
    "columns", [[True, False, True, False], np.array([0, 2]), ["a", 2], pd.Index(["a", "c"])]
)
def test_columns_may_be_chosen_in_any_way(iris, columns):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    stack = sf.StackingClassifier([LR], cv=3, passthrough=columns).fit(frame, y)
    assert_array_equal(stack.transform(frame)[:, 3:], X[:, [0, 2]])
    assert list(stack.get_feature_names_out()[3:]) == ["a", "c"]
    if not any(isinstance(column, str) for column in columns):
        rows = scipy.sparse.coo_array(X)
        sparse: Any = sf.StackingClassifier([LR], cv=3, passthrough=columns).fit(rows, y)
        assert_allclose(sparse.transform(rows)[:, 3:].toarray(), X[:, [0, 2]])


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ((np.ones(10, bool), np.arange(50)), "row numbers, or masks of 150 booleans, got .*bool"),
        ((np.arange(100) + 0.5, np.arange(50)), "row numbers, or masks .* dtype float64"),
        ((np.arange(100).reshape(50, 2), np.arange(100, 150)), r"shape \(50, 2\)"),
    ],
)
def test_folds_that_are_no_rows(iris, fold, message):
    with pytest.raises(ValueError, match=message):
        sf.StackingClassifier([LR], cv=[fold]).fit(*iris)
    with pytest.raises(ValueError, match="A generator can be read only once"):
        sf.StackingClassifier([LR], cv=iter([])).fit(*iris)
