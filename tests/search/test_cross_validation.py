"""Cross-validation of networks gives what scikit-learn's gives, with the fits side by side."""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn import model_selection
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from tests.support.searches import CLOSE, Watched, net


def assert_same_scores(ours, theirs) -> None:
    """Check that all scores are the same up to rounding."""
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        if name.endswith("_time"):
            assert ours[name].shape == values.shape
            assert (ours[name] > 0).all()
        elif name not in ("estimator", "indices"):
            np.testing.assert_allclose(ours[name], values, atol=CLOSE, rtol=CLOSE)


def test_scores_estimators_and_rows(cancer):
    engine = Watched()
    options = {"cv": 3, "scoring": ["neg_log_loss", "roc_auc"], "return_train_score": True}
    options |= {"return_estimator": True, "return_indices": True}
    ours = sf.cross_validate(net(), *cancer, engine=engine, **options)
    theirs = model_selection.cross_validate(net(), *cancer, **options)
    assert engine.handed == [3]
    assert_same_scores(ours, theirs)
    for k, estimator in enumerate(ours["estimator"]):
        assert {*vars(estimator)} == {*vars(theirs["estimator"][k])}
        mine, other = (each["estimator"][k].predict_proba(cancer[0]) for each in (ours, theirs))
        np.testing.assert_allclose(mine, other, atol=CLOSE)
        np.testing.assert_array_equal(ours["indices"]["test"][k], theirs["indices"]["test"][k])


def test_groups_and_weights_of_random_folds(diabetes):
    X, y = diabetes[0], diabetes[1] / 100
    weight, groups = np.linspace(0, 2, len(y)), np.arange(len(y)) // 9
    estimator = net(sf.KerasRegressor)
    options = {"params": {"sample_weight": weight}, "groups": groups}
    scores = [
        module.cross_validate(estimator, X, y, cv=cv, **options)
        for cv in (GroupKFold(2), model_selection.GroupShuffleSplit(2, random_state=1))
        for module in (sf, model_selection)
    ]
    assert_same_scores(*scores[:2])
    assert_same_scores(*scores[2:])
    folds = [np.arange(len(y)) < 150, np.arange(len(y)) % 2 == 0]
    folds = [(rows, ~rows) for rows in folds]
    assert_same_scores(
        sf.cross_validate(estimator, X, y, cv=iter(folds)),
        model_selection.cross_validate(estimator, X, y, cv=iter(folds)),
    )


def test_metadata_is_routed(diabetes):
    X, y = diabetes[0], diabetes[1] / 100
    params = {"w": np.linspace(0, 2, len(y)), "groups": np.arange(len(y)) // 9}
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = net(sf.KerasRegressor).set_fit_request(sample_weight="w", groups=False)
        chain = make_pipeline(StandardScaler(), estimator)
        options = {"params": params, "cv": GroupKFold(2)}
        for each in (estimator, chain):
            assert_same_scores(
                sf.cross_validate(each, X, y, **options),
                model_selection.cross_validate(each, X, y, **options),
            )
        np.testing.assert_allclose(
            sf.cross_val_predict(chain, X, y, **options),
            model_selection.cross_val_predict(chain, X, y, **options),
            atol=CLOSE,
        )


def pair(n_features=4):
    """Return a network with an image and a table."""
    image, table = keras.Input((2, 2), name="image"), keras.Input((n_features,), name="table")
    both = keras.layers.concatenate([keras.layers.Flatten()(image), table])
    return keras.Model([image, table], keras.layers.Dense(3, activation="softmax")(both))


def inputs(kind: str, X):
    """Return X as an array, a frame, a sparse matrix, a list, or as two inputs."""
    if kind == "frame":
        return pd.DataFrame(X, index=np.arange(len(X))[::-1]).add_prefix("x")
    if kind == "sparse":
        return scipy.sparse.csr_array(np.where(X > 0, X, 0))
    if kind == "two inputs":
        return sf.MultiInput(image=X.reshape(-1, 2, 2), table=X)
    return X.tolist() if kind == "list" else X


def test_decision_values(cancer):
    options = {"cv": 2, "method": "decision_function"}
    ours = sf.cross_val_predict(net(), *cancer, **options)
    theirs = model_selection.cross_val_predict(net(), *cancer, **options)
    np.testing.assert_allclose(ours, theirs, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("kind", ["array", "frame", "sparse", "list", "two inputs"])
def test_predictions_of_kinds_of_inputs(kind, iris):
    X, y = inputs(kind, iris[0]), np.array(["one", "two", "three"])[iris[1]]
    estimator = net(model=pair) if kind == "two inputs" else net()
    options = {"cv": 2, "method": "predict_proba"}
    engine = Watched()
    ours = sf.cross_val_predict(estimator, X, y, engine=engine, **options)
    theirs = model_selection.cross_val_predict(estimator, X, y, **options)
    assert engine.handed == [2]
    np.testing.assert_allclose(ours, theirs, atol=CLOSE)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_of_several_labels(method, iris):
    X, y = iris[0], np.eye(3, dtype=int)[iris[1]][:, 1:]
    shuffled = model_selection.KFold(3, shuffle=True, random_state=0)
    options = {"cv": shuffled, "method": method}
    ours = sf.cross_val_predict(net(), X, y, **options)
    theirs = model_selection.cross_val_predict(net(), X, y, **options)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=CLOSE)


def test_a_fold_without_a_class(iris):
    order = np.argsort(iris[1], kind="stable")
    X, y = iris[0][order], np.array(["c", "a", "b"])[iris[1][order]]
    options = {"cv": model_selection.KFold(3), "method": "predict_proba"}
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        ours = sf.cross_val_predict(net(), X, y, **options)
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        theirs = model_selection.cross_val_predict(net(), X, y, **options)
    np.testing.assert_allclose(ours, theirs, atol=CLOSE)
    assert (ours[y == "c"][:, 2] == 0).all()


def test_what_is_refused(iris):
    for module in (sf, model_selection):
        with pytest.raises(AttributeError, match="no attribute 'predict_log_proba'"):
            module.cross_val_predict(net(), *iris, cv=2, method="predict_log_proba")
        with pytest.raises(ValueError, match="only works for partitions"):
            module.cross_val_predict(net(), *iris, cv=ShuffleSplit(2, random_state=0))
        with pytest.raises(ValueError, match="Cannot have number of splits n_splits=200"):
            module.cross_validate(net(), *iris, cv=model_selection.KFold(200))
    with pytest.raises(ValueError, match="engine must be 'auto'"):
        sf.cross_validate(net(), *iris, engine="none")


def test_fits_without_a_random_state_differ(iris):
    folds = [(np.arange(100), np.arange(100, 150))] * 2
    options = {"cv": folds, "scoring": "neg_log_loss"}
    first, second = sf.cross_validate(net(random_state=None), *iris, **options)["test_score"]
    assert abs(first - second) > CLOSE


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_what_has_no_network_runs_as_in_sklearn(n_jobs, iris):
    plain = LogisticRegression()
    np.testing.assert_array_equal(
        sf.cross_validate(plain, *iris, n_jobs=n_jobs)["test_score"],
        model_selection.cross_validate(plain, *iris)["test_score"],
    )
    np.testing.assert_array_equal(
        sf.cross_val_predict(plain, *iris, n_jobs=n_jobs, method="decision_function"),
        model_selection.cross_val_predict(plain, *iris, method="decision_function"),
    )
