"""Joined models have names, are joined again, and vote."""

import keras
import numpy as np
import pytest
from keras import layers as L
from numpy.testing import assert_allclose, assert_array_equal

import stackfuse as sf

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")


def net(units=3, activation="softmax", loss="categorical_crossentropy"):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(6, "tanh"),
            L.Dense(units, activation, bias_initializer="normal"),
        ]
    )
    model.compile(loss=loss)
    return model


def out(model, x=X):
    return np.asarray(model(x), np.float64)


LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)

KINDS = {
    "classes": {},
    "labels": {"activation": "sigmoid", "loss": "binary_crossentropy"},
    "one unit": {"units": 1, "activation": "sigmoid", "loss": "binary_crossentropy"},
    "logits": {"activation": None, "loss": LOGITS},
    "numbers": {"activation": None, "loss": "mse"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["average", "median", "maximum", "weighted"])
def test_a_joined_model_is_joined_again(tmp_path, kind, how):
    one, two, three = (net(**KINDS[kind]) for _ in range(3))
    joined = sf.fuse([one, two], how)
    again = sf.fuse([joined, three], "average")
    assert_allclose(out(again), (out(joined) + out(three)) / 2, atol=1e-6)
    joined.save(tmp_path / "joined.keras")
    from_file = sf.fuse([tmp_path / "joined.keras", three], "average")
    assert_array_equal(out(from_file), out(again))


def test_what_has_lost_its_meaning_is_asked_for():
    side_by_side = sf.fuse([net(), net()], "concat")
    with pytest.raises(ValueError, match="Declare it with one word per model"):
        sf.fuse([side_by_side, net(6)], "average")


def test_names():
    models = [net(), net()]
    keras.backend.clear_session()
    names = [sf.fuse(models, "average").name for _ in range(3)]
    assert names == ["joined", "joined_1", "joined_2"]
    assert sf.fuse(models, "average", name="mine").name == "mine"


@pytest.mark.parametrize("n_models", [2, 3, 4, 5])
def test_median(n_models):
    models = [net(**KINDS["numbers"]) for _ in range(n_models)]
    wanted = np.median([out(model) for model in models], axis=0)
    assert_allclose(out(sf.fuse(models, "median")), wanted, atol=1e-6)
    classes = [net() for _ in range(n_models)]
    middle = np.median([out(model) for model in classes], axis=0)
    wanted = middle / middle.sum(axis=1, keepdims=True)
    assert_allclose(out(sf.fuse(classes, "median")), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["classes", "logits"])
def test_votes_for_classes(kind):
    models = [net(**KINDS[kind]) for _ in range(4)]
    ballots = [np.eye(3)[out(model).argmax(axis=1)] for model in models]
    assert_allclose(out(sf.fuse(models, "vote")), np.mean(ballots, axis=0))


@pytest.mark.parametrize("kind", ["labels", "one unit"])
def test_votes_for_labels(kind):
    models = [net(**KINDS[kind]) for _ in range(3)]
    wanted = np.mean([out(model) > 0.5 for model in models], axis=0)
    assert_allclose(out(sf.fuse(models, "vote")), wanted, atol=1e-7)


def test_equal_probabilities_are_a_vote_for_the_first():
    models = [net(), net()]
    for model in models:
        model.layers[-1].set_weights([np.zeros((6, 3)), np.zeros(3)])
    assert_array_equal(out(sf.fuse(models, "vote")), np.tile([1.0, 0.0, 0.0], (12, 1)))


def test_numbers_do_not_vote():
    models = [net(**KINDS["numbers"]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"'vote' is a choice of classes.*'median'"):
        sf.fuse(models, "vote")


@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
@pytest.mark.parametrize("how", ["median", "vote"])
def test_they_are_exported(tmp_path, how, ending):
    joined = sf.fuse([net(), net(), net()], how)
    assert sf.export(joined, tmp_path / f"joined{ending}", verify=X).max_difference < 1e-6


def test_a_file_of_weights_is_told_from_a_model(tmp_path):
    model = net()
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(ValueError, match=r"net\.weights\.h5' holds weights but no model"):
        sf.fuse([tmp_path / "net.weights.h5", model])
    with pytest.raises(ValueError, match="holds weights but no model"):
        sf.KerasClassifier(tmp_path / "net.weights.h5").fit(X, np.arange(12) % 3)
