"""Training an exported graph on, with plain Keras."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

LOGISTIC = LogisticRegression()


def weights_of(graph):
    return [weight.numpy() for weight in graph.trainable_variables]


@pytest.mark.parametrize(
    ("final", "n_head"),
    [(LOGISTIC, 2), (sf.FusionClassifier("dense", epochs=1, random_state=0), 2)],
    ids=["logistic", "fusion"],
)
def test_a_classifier_trains_on(iris, final, n_head, tmp_path):
    import keras

    X, y = iris
    bases = [
        ("net", sf.KerasClassifier(build_classifier, epochs=1, random_state=0)),
        ("other", sf.KerasClassifier(build_classifier, units=4, epochs=1, random_state=0)),
        ("rf", RandomForestClassifier(3, max_depth=3, random_state=0)),
    ]
    stack = sf.StackingClassifier(bases, final, cv=2, random_state=0).fit(X, y)
    graph = sf.to_keras(stack, trainable=True)
    assert_allclose(graph(X)["probabilities"], stack.predict_proba(X), atol=1e-6)
    assert len(graph.trainable_variables) == 4 + 4 + n_head  # two networks, and the head
    fixed = [weight.numpy() for weight in graph.non_trainable_variables]
    before, own = weights_of(graph), stack.estimators_[0].model_.get_weights()
    graph.compile(
        keras.optimizers.Adam(0.01), loss={"probabilities": "sparse_categorical_crossentropy"}
    )
    losses = graph.fit(X, {"probabilities": y}, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for old, new in zip(before, weights_of(graph)):
        assert np.any(old != new)
    for old, new in zip(fixed, graph.non_trainable_variables):  # the trees
        assert_array_equal(old, new.numpy())
    got = graph(X)
    assert_array_equal(got["label"], np.argmax(got["probabilities"], axis=1))
    for old, new in zip(own, stack.estimators_[0].model_.get_weights()):
        assert_array_equal(old, new)
    graph.save(tmp_path / "tuned.keras")
    again = keras.models.load_model(tmp_path / "tuned.keras")(X)
    assert_allclose(again["probabilities"], got["probabilities"], atol=1e-12)


def test_a_regressor_trains_on(diabetes):
    X, y = diabetes
    bases = [
        ("net", sf.KerasRegressor(build_regressor, epochs=1, random_state=0)),
        ("rf", RandomForestRegressor(3, max_depth=3, random_state=0)),
    ]
    stack = sf.StackingRegressor(bases, Ridge(), cv=2, random_state=0).fit(X, y / 100)
    graph = sf.to_keras(stack, trainable=True)
    graph.compile("adam", loss={"prediction": "mse"})
    losses = graph.fit(X, {"prediction": y / 100}, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_by_default_nothing_trains(iris):
    X, y = iris
    bases = [("net", sf.KerasClassifier(build_classifier, random_state=0))]
    stack = sf.StackingClassifier(bases, LOGISTIC, cv=2, random_state=0).fit(X, y)
    assert sf.to_keras(stack).trainable_variables == []
