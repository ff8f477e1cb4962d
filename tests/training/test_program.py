"""How predictions are computed."""

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import cross_val_score

import stackfuse as sf
from stackfuse._keras.rows import Rows
from stackfuse._training import prediction
from tests.support.networks import build_classifier, build_regressor


@pytest.mark.parametrize(
    ("method", "network"),
    [
        ("predict", sf.KerasRegressor(build_regressor, random_state=0)),
        ("predict", sf.KerasClassifier(build_classifier, random_state=0)),
        ("predict_proba", sf.KerasClassifier(build_classifier, random_state=0)),
        ("decision_function", sf.KerasClassifier(build_classifier, random_state=0)),
    ],
)
def test_predictions_that_are_no_numbers(iris, method, network):
    X, y = iris
    network.fit(X, y)
    far = X.astype("float32")
    far[[3, 5]] = 3e38
    message = rf"{type(network).__name__} predicts NaN or inf.* 2 of 150 rows \(rows 3, 5\)"
    with pytest.raises(FloatingPointError, match=message):
        getattr(network, method)(far)


def test_log_odds_of_certain_predictions_are_finite(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
    assert network.predict_proba(X * 1e6).min() == 0
    assert np.isfinite(network.decision_function(X * 1e6)).all()


def heights(monkeypatch, network, X, **params):
    """Return the numbers of rows that the calls of a prediction took."""
    taken = []
    read = Rows.__getitem__

    def spy(self, rows):
        if rows != slice(0, 1):
            taken.append(len(self.X[rows]))
        return read(self, rows)

    monkeypatch.setattr(Rows, "__getitem__", spy)
    network.set_params(**params).predict(X)
    monkeypatch.undo()
    return taken


def test_long_rows_are_predicted_a_few_at_a_time(monkeypatch):
    import keras

    X = np.random.default_rng(0).normal(size=(150, 300, 300)).astype("float32")  # 360 kB a row
    y = X[:, 0, 0]

    def build():
        layers = [keras.Input((300, 300)), keras.layers.Flatten(), keras.layers.Dense(1)]
        return keras.Sequential(layers)

    network = sf.KerasRegressor(build, optimizer__learning_rate=1e-5, random_state=0).fit(X, y)
    assert heights(monkeypatch, network, X) == [32] * 4 + [22]
    monkeypatch.setattr(prediction, "_PREDICT_BYTES", 50 * 360_000)
    assert heights(monkeypatch, network, X) == [50, 50, 50]
    assert heights(monkeypatch, network, X, predict__batch_size=100) == [100, 50]


def test_eager_models_predict_eagerly(iris):
    import keras

    X, y = iris
    calls = []

    class Watched(keras.layers.Layer):
        def call(self, x):
            calls.append(x.__class__.__name__)
            return x

    def build(meta):
        return keras.Sequential(
            [keras.Input((4,)), Watched(), keras.layers.Dense(3, activation="softmax")]
        )

    network = sf.KerasClassifier(build, run_eagerly=True, random_state=0).fit(X, y)
    calls.clear()
    proba = network.predict_proba(X)
    network.predict(X[:1])
    assert calls == ["EagerTensor"] * 2
    graph = sf.KerasClassifier(build, random_state=0).fit(X, y)
    assert_allclose(graph.predict_proba(X), proba, atol=1e-6)


def test_a_fork_of_a_process_that_has_trained_is_told(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        with pytest.raises(RuntimeError, match="was forked after TensorFlow had run"):
            cross_val_score(network, X, y, cv=2, error_score="raise")
