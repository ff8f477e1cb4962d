import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import (
    GroupKFold,
    RepeatedStratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import stackfuse as sf
from tests.support.networks import build_classifier


def test_a_partition_equals_cross_val_predict(iris):
    X, y = iris
    oof = sf.out_of_fold([("lr", LogisticRegression()), ("ridge", RidgeClassifier())], X, y, cv=3)
    lr = cross_val_predict(LogisticRegression(), X, y, cv=3, method="predict_proba")
    ridge = cross_val_predict(RidgeClassifier(), X, y, cv=3, method="decision_function")
    assert_array_equal(oof.predictions, np.hstack([lr, ridge]))
    assert oof.mask.all()
    assert oof.predictions.dtype == np.float64
    assert [tuple(column) for column in oof.columns] == [
        *(("lr", "predict_proba", j) for j in range(3)),
        *(("ridge", "decision_function", j) for j in range(3)),
    ]
    for k, fold in enumerate(oof.folds):
        assert_array_equal(oof.fold_ids[fold.test], k)
        assert oof.scores["lr"]["log_loss"][k] == log_loss(y[fold.test], lr[fold.test])
        assert oof.scores["lr"]["accuracy"][k] == np.mean(lr[fold.test].argmax(1) == y[fold.test])
        assert oof.scores["ridge"]["accuracy"][k] == np.mean(
            ridge[fold.test].argmax(1) == y[fold.test]
        )


def test_two_classes_keep_the_second_probability(cancer):
    X, y = cancer
    oof = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=3)
    wanted = cross_val_predict(LogisticRegression(), X, y, cv=3, method="predict_proba")
    assert_array_equal(oof.predictions[:, 0], wanted[:, 1])
    assert list(oof.to_frame().columns) == ["lr_malignant"]


def test_rows_never_predicted_are_masked(iris):
    X, y = iris
    oof = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=TimeSeriesSplit(4))
    assert_array_equal(oof.mask, np.arange(150) >= 30)
    assert_array_equal(np.isnan(oof.predictions).any(axis=1), ~oof.mask)
    assert_array_equal(oof.fold_ids[:30], -1)


def test_rows_predicted_several_times_are_averaged(iris):
    X, y = iris
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    oof = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=cv)
    total = np.zeros((150, 3))
    for train, test in cv.split(X, y):
        total[test] += LogisticRegression().fit(X[train], y[train]).predict_proba(X[test])
    assert_allclose(oof.predictions, total / 2, rtol=1e-14)


def test_a_class_missing_from_a_fold_has_a_column_of_zeros():
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.array(["a", "b"] * 19 + ["c", "c"])
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    with pytest.warns(
        UserWarning, match=r"cv trains fold 0 without \['c'\]. There a base predicts"
    ):
        oof = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=folds)
    assert_array_equal(oof.predictions[20:, 2], 0)
    assert (oof.predictions[:20, 2] > 0).all()
    with pytest.raises(ValueError, match="columns of decision_function cannot be matched"):
        sf.out_of_fold([("r", RidgeClassifier())], X, y, cv=folds)


def test_regression(diabetes):
    X, y = diabetes
    oof = sf.out_of_fold([("lr", LinearRegression())], X, y, cv=4)
    wanted = cross_val_predict(LinearRegression(), X, y, cv=4)
    assert_array_equal(oof.predictions[:, 0], wanted)
    fold = oof.folds[1].test
    assert oof.scores["lr"]["r2"][1] == r2_score(y[fold], wanted[fold])


def test_seeds_depend_on_name_and_fold_alone(iris):
    X, y = iris
    forest, lr = ("rf", RandomForestClassifier(5)), ("lr", LogisticRegression())
    first = sf.out_of_fold([forest, lr], X, y, cv=3, random_state=0).to_frame()
    second = sf.out_of_fold([lr, forest], X, y, cv=3, random_state=0).to_frame()
    assert_array_equal(first, second[first.columns])
    other = sf.out_of_fold([forest, lr], X, y, cv=3, random_state=1).to_frame()
    assert (first["rf_0"] != other["rf_0"]).any()


@pytest.mark.parametrize(
    "base",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        sf.KerasClassifier(build_classifier, random_state=0),
    ],
)
@pytest.mark.parametrize("cv", [3, TimeSeriesSplit(3)])
def test_no_leak_a_row_s_own_label_never_reaches_its_prediction(iris, base, cv):
    X, y = iris
    folds = sf.out_of_fold([("lr", LogisticRegression())], X, y, cv=cv).folds
    before = sf.out_of_fold([("b", base)], X, y, cv=folds)
    for row in (149, 75):
        changed = y.copy()
        changed[row] = (y[row] + 1) % 3
        after = sf.out_of_fold([("b", base)], X, changed, cv=folds)
        assert_array_equal(after.predictions[row], before.predictions[row])


def test_a_base_that_predicts_nonsense_is_named(iris):
    X, y = iris

    class Broken(LogisticRegression):
        def predict_proba(self, X):
            return super().predict_proba(X) * np.nan

    with pytest.raises(ValueError, match="'bad' failed on fold 0: it predicted NaN or infini"):
        sf.out_of_fold([("bad", Broken())], X, y, cv=3)


def test_missing_method(iris):
    with pytest.raises(ValueError, match=r"ridge does not implement the method predict_proba"):
        sf.out_of_fold([("ridge", RidgeClassifier())], *iris, stack_method="predict_proba")


def test_every_cv_of_a_stack_works_without_one(iris, tmp_path):
    X, y = iris
    labels = np.array(["a", "b", "c"])[y]
    bases = [("lr", LogisticRegression(max_iter=500)), ("nb", GaussianNB()), ("no", "drop")]
    oof = sf.out_of_fold(bases, X, labels, cv=3)
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=3).fit(X, labels)
    assert_array_equal(oof.predictions, stack.oof_.predictions)
    again = sf.out_of_fold(bases, X, labels, cv=oof)
    assert_array_equal(again.predictions, oof.predictions)
    with pytest.raises(ValueError, match="another y"):
        sf.out_of_fold(bases, X, labels[::-1], cv=oof)
    fitted = [(name, base.fit(X, labels)) for name, base in bases[:2]]
    prefit = sf.out_of_fold(fitted, X, labels, cv="prefit")
    wanted = np.hstack([base.predict_proba(X) for _, base in fitted])
    assert_array_equal(prefit.predictions, wanted)
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0).fit(X, labels)
    network.model_.save(tmp_path / "net.keras", include_optimizer=False)
    files = [("net", tmp_path / "net.keras")]
    for cv in ("prefit", 3):
        from_file = sf.out_of_fold(files, X, labels, cv=cv, classifier=True)
        assert_allclose(from_file.predictions, network.predict_proba(X), atol=1e-6)
    for cv, message in (("outer", "there is none"), ("three", "must be a splitter")):
        with pytest.raises(ValueError, match=message):
            sf.out_of_fold(bases, X, labels, cv=cv)


def test_metadata_is_routed_as_in_a_stack(iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(size=len(y))
    groups = np.arange(len(y)) % 5
    with config_context(enable_metadata_routing=True):
        weighs = LogisticRegression(max_iter=500).set_fit_request(sample_weight=True)
        bases = [("weighs", weighs), ("knn", KNeighborsClassifier())]
        oof = sf.out_of_fold(bases, X, y, cv=GroupKFold(5), groups=groups, sample_weight=weight)
    for train, test in oof.folds:
        assert not set(groups[train]) & set(groups[test])
        model = LogisticRegression(max_iter=500).fit(X[train], y[train], weight[train])
        assert_allclose(oof.predictions[test, :3], model.predict_proba(X[test]))
    with pytest.raises(TypeError, match=r"knn .*does not support sample weights"):
        sf.out_of_fold([("knn", KNeighborsClassifier())], X, y, sample_weight=weight)


def test_bases_without_metadata_routing_and_any_iterable_of_them(iris):
    X, y = iris
    bases = {"ada": AdaBoostClassifier(n_estimators=3), "splitter": GaussianNB()}
    oof = sf.out_of_fold(zip(bases, bases.values()), X, y, cv=3)
    wanted = cross_val_predict(GaussianNB(), X, y, cv=3, method="predict_proba")
    assert_allclose(oof.predictions[:, 3:], wanted)
    with config_context(enable_metadata_routing=True):
        weighs = LogisticRegression(max_iter=500).set_fit_request(sample_weight=True)
        stack = sf.StackingClassifier([("splitter", weighs)], GaussianNB(), cv=3)
        stack.set_params(final_estimator=GaussianNB().set_fit_request(sample_weight=True))
        weight = np.linspace(0.1, 1, len(y))
        wanted = sf.out_of_fold([("splitter", weighs)], X, y, cv=3, sample_weight=weight)
        got = stack.fit(X, y, sample_weight=weight).oof_
    assert_array_equal(got.predictions, wanted.predictions)


def test_a_misspelt_option_is_told_at_once(iris):
    with pytest.raises(TypeError, match="unexpected argument 'random_sate'"):
        sf.out_of_fold([("nb", GaussianNB())], *iris, random_sate=0, on_error="drop")


def test_fitted_bases_stay_as_they_are(iris, tmp_path):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
    network.model_.save(tmp_path / "net.keras", include_optimizer=False)
    mine = sf.KerasClassifier(str(tmp_path / "net.keras"), epochs=0)
    oof = sf.out_of_fold([("net", mine)], X, y, cv="prefit")
    assert not hasattr(mine, "model_")
    assert_array_equal(oof.predictions, network.predict_proba(X))
    knn = KNeighborsClassifier().fit(X, y)
    weights = np.ones(len(y))
    oof = sf.out_of_fold([("knn", knn)], X, y, cv="prefit", sample_weight=weights)
    assert_array_equal(oof.predictions, knn.predict_proba(X))


class Failing(GaussianNB):
    def fit(self, X, y, sample_weight=None):
        try:
            raise ValueError("deep inside")
        except ValueError as error:
            raise KeyError("the fit") from error


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_an_error_is_that_of_the_fit_with_a_note(iris, n_jobs):
    with pytest.raises(KeyError) as caught:
        sf.out_of_fold([("bad", Failing())], *iris, cv=3, n_jobs=n_jobs)
    (note,) = caught.value.__notes__
    assert note.startswith("Base estimator 'bad' failed on fold ")
    seen, error = set(), caught.value
    while error is not None:  # the chain ends, and holds nothing of ours
        assert id(error) not in seen
        assert type(error).__name__ != "FitFailed"
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    assert len(seen) == 2  # what the fit raised from, or the traceback of the process
