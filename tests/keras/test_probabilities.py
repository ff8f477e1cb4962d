"""Networks that learn probabilities in place of labels."""

import pickle

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import stackfuse as sf

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")
CHANCES = RANDOM.dirichlet([1, 1, 1], 60)
LABELS = ["a", "b", "c"]


def build(meta):
    last = keras.layers.Dense(meta["n_classes_"], activation="softmax")
    return keras.Sequential([keras.Input((4,)), last])


def of_one_unit(meta):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])


def of_labels(meta):
    last = keras.layers.Dense(meta["n_outputs_"], activation="sigmoid")
    return keras.Sequential([keras.Input((4,)), last])


def compiled(meta):
    model = build(meta)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def plain(model, loss, target):
    """Train a model by Keras itself, from the weights of the seed 0."""
    model.compile("adam", loss)
    model.fit(X, np.asarray(target, "float32"), epochs=3, shuffle=False, verbose=0)
    return model.predict(X, verbose=0)


@pytest.mark.parametrize(
    ("builder", "loss"),
    [
        (build, None),
        (build, "sparse_categorical_crossentropy"),
        (build, keras.losses.CategoricalCrossentropy()),
        (compiled, None),
    ],
)
def test_probabilities_are_learnt_as_by_keras(builder, loss):
    keras.utils.set_random_seed(0)
    wanted = plain(build({"n_classes_": 3}), "categorical_crossentropy", CHANCES)
    network = sf.KerasClassifier(builder, loss=loss, epochs=3, shuffle=False, random_state=0)
    network.fit_probabilities(X, CHANCES, LABELS)
    assert_allclose(network.predict_proba(X), wanted, atol=1e-6)
    assert network.predict(X).tolist() == np.array(LABELS)[wanted.argmax(axis=1)].tolist()
    assert_allclose(pickle.loads(pickle.dumps(network)).predict_proba(X), wanted, atol=1e-6)


def test_two_classes_are_learnt_by_one_unit_and_labels_by_one_each():
    keras.utils.set_random_seed(0)
    two = CHANCES[:, :2] / CHANCES[:, :2].sum(axis=1, keepdims=True)
    wanted = plain(of_one_unit({}), "binary_crossentropy", two[:, 1:])
    network = sf.KerasClassifier(of_one_unit, epochs=3, shuffle=False, random_state=0)
    assert_allclose(network.fit_probabilities(X, two, [0, 1]).predict_proba(X)[:, 1:], wanted, 1e-5)
    keras.utils.set_random_seed(0)
    wanted = plain(of_labels({"n_outputs_": 3}), "binary_crossentropy", CHANCES)
    network = sf.KerasClassifier(of_labels, epochs=3, shuffle=False, random_state=0)
    assert_allclose(network.fit_probabilities(X, CHANCES).predict_proba(X), wanted, atol=1e-6)


def test_certain_probabilities_teach_what_labels_do():
    y = CHANCES.argmax(axis=1)
    network = sf.KerasClassifier(build, epochs=2, validation_split=0.2, random_state=0)
    on_labels = network.fit(X, y).predict_proba(X)
    of_labels = network.history_["val_loss"]
    network.fit_probabilities(X, np.eye(3)[y], [0, 1, 2])
    assert_allclose(network.predict_proba(X), on_labels, atol=1e-6)
    assert_allclose(network.history_["val_loss"], of_labels, rtol=1e-5)
    network.set_params(warm_start=True).fit(X, y)  # on labels, from where it ended
    assert len(network.history_["loss"]) == 4


@pytest.mark.parametrize(
    ("settings", "chances", "classes", "said"),
    [
        ({"class_weight": "balanced"}, CHANCES, LABELS, "Use class_weight=None"),
        ({"metrics": ["sparse_categorical_accuracy"]}, CHANCES, LABELS, "Use 'accuracy'"),
        ({"loss": "sparse_categorical_focal"}, CHANCES, LABELS, "not in keras.losses"),
        ({}, CHANCES[:, 0], LABELS, r"got shape \(60,\)"),
        ({}, CHANCES - 0.5, LABELS, "between 0 and 1"),
        ({}, CHANCES / 2, LABELS, "pass classes=None"),
        ({}, CHANCES, ["c", "b", "a"], "sorted"),
        ({}, CHANCES, ["a", "b"], "3 labels of the columns"),
        ({}, CHANCES[:9], LABELS, "X has 60 rows, y has 9"),
    ],
)
def test_what_cannot_be_learnt_is_told(settings, chances, classes, said):
    network = sf.KerasClassifier(build, random_state=0, **settings)
    with pytest.raises(ValueError, match=said):
        network.fit_probabilities(X, chances, classes)
