import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import ensemble, set_config
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

BASES = [("lr", LogisticRegression()), ("tree", DecisionTreeClassifier(random_state=0))]


def out_of_fold_features(estimator):
    """Say which checks demand that fit_transform returns what transform returns, and why not."""
    reason = "fit_transform returns out-of-fold features, so that no row sees its own label"
    return dict.fromkeys(
        ("check_transformer_general", "check_transformer_data_not_an_array"), reason
    )


@parametrize_with_checks(
    [
        sf.StackingClassifier(BASES, cv=3),
        sf.StackingRegressor([("ridge", Ridge()), ("ridge2", Ridge(10))], cv=3),
    ],
    expected_failed_checks=out_of_fold_features,
    xfail_strict=True,
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("stack_method", ["auto", "predict"])
def test_equals_scikit_learn(iris, passthrough, stack_method):
    X, y = iris
    settings = {"cv": 3, "passthrough": passthrough, "stack_method": stack_method}
    final = LogisticRegression(max_iter=1000)
    ours = sf.StackingClassifier(BASES, final, **settings).fit(X, y)
    theirs = ensemble.StackingClassifier(BASES, final, **settings).fit(X, y)
    assert_array_equal(ours.transform(X), theirs.transform(X))
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    assert_array_equal(ours.get_feature_names_out(), theirs.get_feature_names_out())


def test_regressor_equals_scikit_learn(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    ours, theirs = (
        package.StackingRegressor(bases, RidgeCV(), cv=4).fit(X, y) for package in (sf, ensemble)
    )
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


def test_keras_and_scikit_learn_bases(iris):
    X, y = iris
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    network = sf.KerasClassifier(build_classifier, units=16, epochs=20)
    network.set_params(optimizer__learning_rate=0.02)
    stack = sf.StackingClassifier([("net", network), *BASES], cv=3, random_state=0).fit(X, labels)
    assert stack.score(X, labels) > 0.95
    assert_array_equal(stack.classes_, ["setosa", "versicolor", "virginica"])
    assert stack.oof_.predictions.shape == (150, 9)
    assert len(stack.oof_.histories["net"]) == 3
    assert len(stack.oof_.histories["net"][0]["loss"]) == 20
    assert_array_equal(clone(stack).fit(X, labels).predict_proba(X), stack.predict_proba(X))


def test_the_meta_learner_is_trained_on_the_out_of_fold_predictions(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, LogisticRegression(), cv=3).fit(X, y)
    wanted = LogisticRegression().fit(stack.oof_.predictions, y)
    assert_array_equal(stack.final_estimator_.coef_, wanted.coef_)
    assert stack.final_estimator_.coef_.dtype == np.float64


def test_time_series_folds_train_the_meta_learner_on_the_rows_they_cover(diabetes):
    X, y = diabetes
    stack = sf.StackingRegressor([("ridge", Ridge())], Ridge(), cv=TimeSeriesSplit(4)).fit(X, y)
    mask = stack.oof_.mask
    assert mask.sum() == 160
    wanted = Ridge().fit(stack.oof_.predictions[mask], y[mask])
    assert_allclose(stack.final_estimator_.coef_, wanted.coef_)


def test_groups(iris):
    X, y = iris
    groups = np.arange(150) % 5
    stack = sf.StackingClassifier(BASES, cv=GroupKFold(5)).fit(X, y, groups=groups)
    for train, test in stack.oof_.folds:
        assert not set(groups[train]) & set(groups[test])


def test_groups_by_metadata_routing(iris):
    X, y = iris
    groups = np.arange(150) % 5
    set_config(enable_metadata_routing=True)
    try:
        cv = GroupKFold(5).set_split_request(groups=True)
        stack = sf.StackingClassifier(BASES, cv=cv).fit(X, y, groups=groups)
    finally:
        set_config(enable_metadata_routing=False)
    for train, test in stack.oof_.folds:
        assert not set(groups[train]) & set(groups[test])


def test_fit_transform_returns_the_out_of_fold_predictions(iris):
    X, y = iris
    stack = sf.StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))], cv=3)
    features = stack.fit_transform(X, y)
    assert_array_equal(features, stack.oof_.predictions)
    assert (features.argmax(axis=1) == y).mean() < 1  # in-sample, a tree is always right
    assert (stack.transform(X).argmax(axis=1) == y).all()


def test_without_refit_the_fold_models_are_averaged(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, cv=3, refit=False).fit(X, y)
    votes = [tree.predict_proba(X) for tree in stack.fold_estimators_[1]]
    assert_allclose(stack.transform(X)[:, 3:], np.mean(votes, axis=0), rtol=1e-14)
    assert not hasattr(stack, "estimators_")


def test_prefit_bases(iris):
    X, y = iris
    fitted = [(name, clone(base).fit(X, y)) for name, base in BASES]
    stack = sf.StackingClassifier(fitted, cv="prefit").fit(X, y)
    assert stack.estimators_[0] is fitted[0][1]
    assert_array_equal(stack.transform(X)[:, :3], fitted[0][1].predict_proba(X))


def test_search_over_meta_learners_of_both_kinds(iris):
    X, y = iris
    finals = [LogisticRegression(), sf.FusionClassifier(epochs=30, random_state=0)]
    search = GridSearchCV(sf.StackingClassifier(BASES, cv=3), {"final_estimator": finals}, cv=2)
    assert search.fit(X, y).best_score_ > 0.9
    search = GridSearchCV(sf.StackingClassifier(BASES[1:], cv=2), {"tree__max_depth": [1, 4]}, cv=2)
    assert search.fit(X, y).best_params_ == {"tree__max_depth": 4}


def test_in_a_pipeline_with_frames(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipe = make_pipeline(StandardScaler(), sf.StackingClassifier(BASES, cv=3))
    assert cross_val_score(pipe, frame, y, cv=3).mean() > 0.9
    stack = sf.StackingClassifier(BASES, cv=3).set_output(transform="pandas").fit(frame, y)
    assert list(stack.feature_names_in_) == list("abcd")
    assert stack.transform(frame).shape == (150, 6)


def test_regression_with_two_columns(diabetes):
    X, y = diabetes
    Y = np.column_stack([y, -2 * y])
    network = sf.KerasRegressor(build_regressor, epochs=2, random_state=0)
    stack = sf.StackingRegressor([("ridge", Ridge()), ("net", network)], Ridge(), cv=3).fit(X, Y)
    assert stack.oof_.predictions.shape == (200, 4)
    assert stack.predict(X).shape == (200, 2)


def test_sample_weights_reach_bases_and_meta_learner(iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(0.1, 1, size=150)
    stack = sf.StackingClassifier(BASES, LogisticRegression(), cv=3)
    stack.fit(X, y, sample_weight=weight)
    wanted = LogisticRegression().fit(X, y, weight)
    assert_array_equal(stack.estimators_[0].coef_, wanted.coef_)
    wanted = LogisticRegression().fit(stack.oof_.predictions, y, weight)
    assert_array_equal(stack.final_estimator_.coef_, wanted.coef_)
    with pytest.raises(TypeError, match=r"knn \(KNeighborsClassifier\) does not support sample w"):
        sf.StackingClassifier([("knn", KNeighborsClassifier())]).fit(X, y, sample_weight=weight)


def test_random_state_seeds_what_is_unset_and_the_order_of_bases_is_free(iris):
    X, y = iris
    bases = [("rf", RandomForestClassifier(5)), ("net", sf.KerasClassifier(build_classifier))]
    first, second, reverse = (
        sf.StackingClassifier(b, cv=3, random_state=4).fit(X, y).oof_.to_frame()
        for b in (bases, bases, bases[::-1])
    )
    assert_array_equal(first, second)
    assert_array_equal(first, reverse[first.columns])


def test_progress_is_shown_on_request(iris, capsys):
    stack = sf.StackingClassifier(BASES, cv=3, verbose=1).fit(*iris)
    assert "base tree" in capsys.readouterr().out
    assert not hasattr(stack, "_skl_callbacks")
    sf.StackingClassifier(BASES, cv=3).set_callbacks(ProgressBar()).fit(*iris)
    assert "base lr" in capsys.readouterr().out
    sf.StackingClassifier(BASES, cv=3).fit(*iris)
    assert capsys.readouterr().out == ""


def test_nothing_passed_in_is_changed(iris):
    X, y = iris
    X_before, y_before, bases = X.copy(), y.copy(), [(n, clone(b)) for n, b in BASES]
    cv = StratifiedKFold(3, shuffle=True)
    sf.StackingClassifier(bases, LogisticRegression(), cv=cv).fit(X, y)
    assert_array_equal(X, X_before)
    assert_array_equal(y, y_before)
    assert cv.random_state is None
    assert not any(hasattr(base, "classes_") for _, base in bases)


class Counting(LogisticRegression):
    """Counts fits of all its instances."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        type(self).n_fits += 1
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"final_estimator": "dense"}, TypeError, "final_estimator must be a classifier, such as"),
        ({"final_estimator": LogisticRegression}, TypeError, "final_estimator must be a class"),
        ({"final_estimator": Ridge()}, ValueError, "'final_estimator' parameter should be a class"),
        ({"stack_method": "decision_function"}, ValueError, "tree does not implement the method"),
        ({"estimators": [*BASES, ("x", Ridge)]}, TypeError, "'x' is the class Ridge"),
        ({"estimators": [*BASES, ("x", len)]}, TypeError, "'x' must be a scikit-learn estimator"),
        ({"estimators": [*BASES, *BASES]}, ValueError, "not unique"),
        ({"estimators": [("a__b", Ridge())]}, ValueError, "must not contain __"),
        ({"estimators": [("a", "drop")]}, ValueError, "All estimators are dropped"),
        ({"cv": [([0, 1], [1, 2])]}, ValueError, "leak"),
        ({"engine": "fast"}, ValueError, "engine must be 'auto'"),
        ({"memory": 3}, TypeError, "memory must be a directory or a joblib.Memory, got 3"),
        ({"on_error": "skip"}, ValueError, "on_error must be 'raise' or 'drop', got 'skip'"),
        ({"stack_method": "proba"}, ValueError, "stack_method must be 'auto', 'predict_proba'"),
        ({"random_state": np.random.RandomState(0)}, ValueError, "random_state must be None or an"),
        ({"stack_method": "predict", "refit": False}, ValueError, "class numbers cannot be averag"),
    ],
)
def test_wrong_parameters_are_told_before_anything_is_fitted(iris, change, error, message):
    Counting.n_fits = 0
    settings = {"estimators": [("counting", Counting()), *BASES], "cv": 3, **change}
    with pytest.raises(error, match=message):
        sf.StackingClassifier(**settings).fit(*iris)
    assert Counting.n_fits == 0


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (slice(None), slice(1), "X has 150 rows, y has 1"),
        (slice(None), "one class", "one class only: 0"),
        (slice(None), "nan", "Input y contains NaN"),
        (slice(None), "continuous", "Unknown label type"),
    ],
)
def test_wrong_data_is_told_before_anything_is_fitted(iris, X, y, message):
    X_iris, y_iris = iris
    y = (
        {
            "one class": np.zeros(150, int),
            "nan": np.where(y_iris == 2, np.nan, y_iris),
            "continuous": y_iris + 0.5,
        }.get(y)
        if isinstance(y, str)
        else y_iris[y]
    )
    Counting.n_fits = 0
    with pytest.raises(ValueError, match=message):
        sf.StackingClassifier([("counting", Counting())], cv=3).fit(X_iris[X], y)
    assert Counting.n_fits == 0


def test_a_base_without_probabilities_gives_its_decision(iris):
    X, y = iris
    stack = sf.StackingClassifier([("ridge", RidgeClassifier())], cv=3).fit(X, y)
    assert stack.stack_method_ == ["decision_function"]


def test_a_second_fit_forgets_the_first(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    stack = sf.StackingClassifier(BASES, cv=3).fit(frame, y)
    stack.set_params(refit=False).fit(X, (y + 1) % 3)
    assert stack.score(X, (y + 1) % 3) > 0.9
    assert not hasattr(stack, "estimators_")
    assert not hasattr(stack, "feature_names_in_")
    stack.set_params(refit=True).fit(X, y)
    assert not hasattr(stack, "fold_estimators_")


def test_prefit_bases_are_aligned_by_label(iris):
    X, y = iris
    for labels in (y + 1, np.array(["a", "b", "c"])[y]):
        two = LogisticRegression().fit(X[y < 2], labels[y < 2])
        stack = sf.StackingClassifier([("two", two)], cv="prefit").fit(X, labels)
        assert_array_equal(stack.transform(X)[:, :2], two.predict_proba(X))
        assert_array_equal(stack.transform(X)[:, 2], 0)
    both = sf.StackingClassifier([("two", two)], cv="prefit").fit(X[y < 2], labels[y < 2])
    assert both.oof_.columns[0].output == 1
    with pytest.raises(ValueError, match=r"returned '[ab]', which is not a number"):
        both.set_params(stack_method="predict").fit(X[y < 2], labels[y < 2])
    with pytest.raises(ValueError, match=r"was trained on the classes .*, but y holds"):
        sf.StackingClassifier([("two", two)], cv="prefit").fit(X, y)
    with pytest.raises(ValueError, match=r"was trained on the classes .*, but y holds"):
        sf.StackingClassifier([("two", two)], cv="prefit").fit(X[y < 2], y[y < 2])


def test_a_failed_fit_leaves_an_unfitted_stack(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, cv=3).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        stack.fit(np.where(X > 2, np.nan, X), y)
    with pytest.raises(NotFittedError, match="StackingClassifier instance is not fitted"):
        stack.predict(X)
    with pytest.raises(NotFittedError, match="StackingClassifier instance is not fitted"):
        sf.to_keras(stack)


def test_class_weights_are_by_label(iris):
    X, y = iris
    labels = np.array(["a", "b", "c"])[y]
    weight = {"a": 1.0, "b": 5.0, "c": 10.0}
    base = LogisticRegression(class_weight=weight)
    stack = sf.StackingClassifier([("lr", base)], base, cv=3).fit(X, labels)
    wanted = LogisticRegression(class_weight=weight).fit(X, labels)
    assert_allclose(stack.estimators_[0].coef_, wanted.coef_)
    assert stack.final_estimator_.class_weight == {0: 1.0, 1: 5.0, 2: 10.0}
    assert base.class_weight == weight
    with pytest.raises(ValueError, match="weighs 'd', which is not one of the classes"):
        clone(stack).set_params(lr__class_weight={"d": 1}).fit(X, labels)
    oof = sf.out_of_fold([("lr", base)], X, labels, cv=3)
    for train, test in StratifiedKFold(3).split(X, labels):
        wanted = clone(base).fit(X[train], labels[train]).predict_proba(X[test])
        assert_allclose(oof.predictions[test], wanted, rtol=1e-6)
    search = GridSearchCV(LogisticRegression(), {"class_weight": [weight]}, cv=2)
    with pytest.raises(ValueError, match="GridSearchCV searches class_weight by label"):
        sf.StackingClassifier([("s", search)], cv=3).fit(X, labels)
    fitted = LogisticRegression(class_weight=weight).fit(X, labels)
    prefit = sf.StackingClassifier([("lr", fitted)], cv="prefit").fit(X, labels)
    assert prefit.estimators_[0] is fitted


def test_a_shuffling_splitter_is_seeded_too(iris):
    X, y = iris
    cv = StratifiedKFold(3, shuffle=True)
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    first, second = (
        sf.StackingClassifier(BASES, cv=cv, random_state=0).fit(X, y).oof_ for _ in range(2)
    )
    assert_array_equal(first.predictions, second.predictions)
    assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], before)
    assert cv.random_state is None


def test_folds_in_parallel_equal_the_loop(iris):
    X, y = iris
    bases = [("rf", RandomForestClassifier(5)), ("net", sf.KerasClassifier(build_classifier))]
    loop, parallel = (
        sf.StackingClassifier(bases, cv=3, random_state=0, n_jobs=n).fit(X, y) for n in (None, 2)
    )
    assert_array_equal(parallel.oof_.predictions, loop.oof_.predictions)
    assert_array_equal(parallel.predict_proba(X), loop.predict_proba(X))


def test_a_stack_in_a_stack_may_leave_the_meta_learner_to_default(iris):
    X, y = iris
    inner = sf.StackingClassifier(BASES, cv=2)
    outer = sf.StackingClassifier([("inner", inner), *BASES], cv=2).fit(X, y)
    assert outer.stack_method_[0] == "predict_proba"
    assert outer.score(X, y) > 0.9


def test_folds_that_never_predict_a_class_are_refused(iris):
    X, y = iris
    folds = [(np.flatnonzero(y == 0), np.flatnonzero(y > 0))]
    folds = [(np.r_[folds[0][0], folds[0][1][:50]], folds[0][1][50:])]
    with pytest.raises(ValueError, match="no fold predicts a row of class 0, so the meta-learner"):
        sf.StackingClassifier(BASES, cv=folds).fit(X, y)


def test_the_default_meta_learner_is_chosen_by_what_it_sees(iris, diabetes):
    X, y = iris
    default = sf.StackingClassifier(BASES, cv=2)
    assert isinstance(default.fit(X, y).final_estimator_, sf.PoolClassifier)
    assert isinstance(default.refit_final().final_estimator_, sf.PoolClassifier)
    labels = sf.StackingClassifier([("knn", KNeighborsClassifier())], cv=2)
    assert isinstance(labels.fit(X, np.eye(3, dtype=int)[y]).final_estimator_, sf.PoolClassifier)
    scores = clone(default).set_params(stack_method="predict").fit(X, y)
    assert isinstance(scores.final_estimator_, LogisticRegression)
    passed = clone(default).set_params(passthrough=[0]).fit(X, y)
    assert isinstance(passed.final_estimator_, LogisticRegression)
    X, y = diabetes
    regressor = sf.StackingRegressor([("ridge", Ridge())], cv=2)
    assert isinstance(regressor.fit(X, y).final_estimator_, sf.PoolRegressor)
    regressor.set_params(passthrough=True).fit(X, y)
    assert isinstance(regressor.final_estimator_, RidgeCV)
