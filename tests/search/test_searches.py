"""Searches over networks give what scikit-learn's own give, with the fits side by side."""

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn import model_selection
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf

#: How far scores may lie apart: the networks are equal up to rounding.
CLOSE = 5e-5


def mlp(meta, units=4, dropout=0.0):
    """Return a network for any target."""
    activation = {"multilabel-indicator": "sigmoid", "continuous": None}
    kind = meta["target_type_"]
    inputs = keras.Input((meta["n_features_in_"],))
    x = keras.layers.Dense(units, activation="relu")(inputs)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    n_outputs = meta["n_outputs_"]
    return keras.Model(inputs, keras.layers.Dense(n_outputs, activation.get(kind, "softmax"))(x))


def net(kind=sf.KerasClassifier, **settings):
    """Return a network that trains for two epochs."""
    return kind(mlp, **{"epochs": 2, "batch_size": 16, "random_state": 0, **settings})


GRID = {"model__units": [3, 5], "optimizer__learning_rate": [0.01, 0.1]}


def assert_same_results(ours, theirs):
    """Two searches have found the same; times aside, scores up to rounding."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for name, values in theirs.cv_results_.items():
        mine = ours.cv_results_[name]
        if name.startswith("param_"):
            assert mine.tolist() == values.tolist()
        elif name.endswith("_time"):
            assert mine.shape == values.shape
        elif name.startswith("rank_") and len(set(values)) == len(values):
            np.testing.assert_array_equal(mine, values)
        elif name != "params":
            np.testing.assert_allclose(mine, values, atol=CLOSE, rtol=CLOSE)


def both(estimator, grid, X, y, fit_params=None, **settings):
    """Return our search and scikit-learn's, fitted alike."""
    searches = sf.GridSearchCV, model_selection.GridSearchCV
    return [s(estimator, grid, cv=3, **settings).fit(X, y, **(fit_params or {})) for s in searches]


def test_a_grid(iris):
    ours, theirs = both(net(), GRID, *iris, scoring="neg_log_loss", return_train_score=True)
    assert_same_results(ours, theirs)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=CLOSE)
    np.testing.assert_allclose(
        ours.predict_proba(iris[0]), theirs.predict_proba(iris[0]), atol=CLOSE
    )
    assert set(vars(ours)) == {*vars(theirs), "engine"}


def test_a_network_that_is_trained_side_by_side(iris, monkeypatch):
    def fit(self, *rows, **params):
        fitted.append(len(rows[0]))
        return own(self, *rows, **params)

    fitted, own = [], sf.KerasClassifier.fit
    settings = {"scoring": "neg_log_loss", "engine": "fused"}
    monkeypatch.setattr(sf.KerasClassifier, "fit", fit)
    search = sf.GridSearchCV(net(), GRID, cv=3, **settings)
    # The engine declines a subclass with a fit of its own, and so a class whose fit was changed.
    monkeypatch.undo()
    search.fit(*iris)
    assert fitted == []


KINDS = {
    "numbers": (sf.KerasRegressor, lambda y: y.astype(float)),
    "labels": (sf.KerasClassifier, lambda y: np.array(["one", "two", "three"])[y]),
    "several labels": (sf.KerasClassifier, lambda y: np.eye(3, dtype=int)[y]),
    "several numbers": (sf.KerasRegressor, lambda y: np.column_stack([y, y**2]).astype(float)),
    "a series": (sf.KerasRegressor, lambda y: pd.Series(y, index=y[::-1]).astype(float)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_targets(kind, iris):
    X, y = iris
    wrapper, target = KINDS[kind]
    ours, theirs = both(net(wrapper), {"model__units": [3, 5]}, X, target(y))
    assert_same_results(ours, theirs)
    np.testing.assert_allclose(
        ours.best_estimator_.model_.predict(X, verbose=0),
        theirs.best_estimator_.model_.predict(X, verbose=0),
        atol=CLOSE,
    )
