"""Losses that nothing would be learnt with, and those that are allowed."""

import re

import numpy as np
import pytest

import stackfuse as sf

SINGLE = "'binary_crossentropy'"
SEVERAL = "'sparse_categorical_crossentropy'"


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype("float32")
    return X, {
        "two": (X[:, 0] > 0).astype(int),
        "three": np.digitize(X[:, 0], [-0.5, 0.5]),
        "labels": (X[:, :3] > 0).astype(int),
        "numbers": X[:, 0] * 2,
        "rows": X[:, :2],
    }


def ends_in(units, activation=None, *layers):
    import keras

    return lambda: keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, activation=activation), *layers]
    )


def one_hot_losses():
    names = ["categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence"]
    return [*names, "cosine_similarity", "KLDivergence", "sparse_categorical_crossentropy"]


@pytest.mark.parametrize("loss", one_hot_losses())
@pytest.mark.parametrize(("target", "units"), [("two", 1), ("labels", 3)])
def test_losses_over_classes_need_a_unit_per_class(data, loss, target, units):
    X, targets = data
    network = sf.KerasClassifier(ends_in(units, "sigmoid"), loss=loss)
    message = f"The loss '{loss}' needs one unit per class, but the network ends in {units} unit"
    with pytest.raises(ValueError, match=f"{message}.* Use {SINGLE}"):
        network.fit(X, targets[target])


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "categorical_hinge", "circle"])
@pytest.mark.parametrize(
    ("target", "units", "activation", "use"),
    [
        ("two", 1, "sigmoid", SINGLE),
        ("two", 1, None, SINGLE),
        ("two", 1, "tanh", SINGLE),
        ("two", 2, "softmax", SEVERAL),
        ("three", 3, "softmax", SEVERAL),
        ("labels", 3, "sigmoid", SINGLE),
    ],
)
def test_losses_that_lead_to_no_probabilities(data, loss, target, units, activation, use):
    X, targets = data
    network = sf.KerasClassifier(ends_in(units, activation), loss=loss)
    with pytest.raises(ValueError, match=f"'{loss}' does not train .*Use {use}, or loss=None"):
        network.fit(X, targets[target])


@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]
)
@pytest.mark.parametrize(("target", "units"), [("numbers", 1), ("rows", 2)])
def test_crossentropies_teach_no_numbers(data, loss, target, units):
    import keras

    X, targets = data
    message = f"'{loss}' cannot train the network to predict numbers. Use 'mean_squared_error'"
    with pytest.raises(ValueError, match=message):
        sf.KerasRegressor(ends_in(units), loss=loss).fit(X, targets[target])

    def compiled():
        model = ends_in(units)()
        model.compile("adam", keras.losses.get(loss))
        return model

    with pytest.raises(ValueError, match=message):
        sf.KerasRegressor(compiled).fit(X, targets[target])


def test_the_direction_of_one_number_tells_nothing(data):
    X, targets = data
    with pytest.raises(
        ValueError, match="'cosine_similarity' cannot train the network to predict numbers"
    ):
        sf.KerasRegressor(ends_in(1), loss="cosine_similarity").fit(X, targets["numbers"])
    network = sf.KerasRegressor(ends_in(2), loss="cosine_similarity").fit(X, targets["rows"])
    assert network.predict(X).shape == (60, 2)


@pytest.mark.parametrize("loss", ["class", "function", "subclass"])
def test_losses_of_one_s_own_may_be_anything(data, loss):
    import keras

    def hinge(y, p):
        return keras.ops.mean(keras.ops.maximum(1 - y * p, 0))

    class Hinge(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return hinge(y_true, y_pred)

    class CategoricalHinge(keras.losses.CategoricalHinge):
        pass

    X, targets = data
    own = {"function": hinge, "class": Hinge, "subclass": CategoricalHinge}[loss]
    network = sf.KerasClassifier(ends_in(1, "sigmoid"), loss=own)
    assert len(network.fit(X, targets["two"]).history_["loss"]) == 1


@pytest.mark.parametrize("layer", ["ReLU", "LeakyReLU", "ELU", "PReLU"])
@pytest.mark.parametrize(("target", "units"), [("two", 1), ("three", 3), ("labels", 3)])
def test_a_last_layer_that_is_an_activation(data, layer, target, units):
    import keras

    X, targets = data
    network = sf.KerasClassifier(ends_in(units, None, getattr(keras.layers, layer)()))
    with pytest.raises(ValueError, match=f"activation '{layer.lower()}', which gives neither"):
        network.fit(X, targets[target])


def test_softmax_as_a_layer_and_losses_over_numbered_classes(data):
    import keras

    X, targets = data
    build = ends_in(3, None, keras.layers.Softmax())
    settings = {"epochs": 40, "optimizer__learning_rate": 0.1, "random_state": 0}
    for loss in (None, keras.losses.CategoricalGeneralizedCrossEntropy()):
        network = sf.KerasClassifier(build, loss=loss, **settings).fit(X, targets["three"])
        assert network.score(X, targets["three"]) > 0.8


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("binary_crossentropi", "loss='binary_crossentropi' is not in keras.losses. Did you mean"),
        ({"kind": "mse"}, "loss has no loss for the model's output 'long', so it would"),
        ({"kind": "mse", "long": None}, "loss has no loss for the model's output 'long'"),
        (["mse", None], "loss has no loss for the model's output 'long'"),
        (
            {"kind": "mse", "lang": "mse", "long": "mse"},
            "loss names 'lang', but the model's outputs are ['kind', 'long']. Did you mean 'long'?",
        ),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_for_each_head(data, loss, message, compiled):
    import keras

    def build():
        inputs = keras.Input((4,))
        heads = [keras.layers.Dense(2, "softmax", name=name)(inputs) for name in ("kind", "long")]
        model = keras.Model(inputs, heads)
        if compiled:
            model.compile("adam", loss)
        return model

    X, targets = data
    network = sf.KerasClassifier(build, loss=None if compiled else loss)
    with pytest.raises(ValueError, match=re.escape(message)):
        network.fit(X, targets["labels"][:, :2])


@pytest.mark.parametrize(
    ("units", "activation", "loss", "message"),
    [
        (4, "softmax", None, "The network's output 'kind' has 4 output units, but y has 3 classes"),
        (3, "relu", None, "The network's output 'kind' ends in 3 units with activation 'relu'"),
        (3, None, "mse", "the last activation of the network's output 'kind' is 'linear'"),
        (3, "softmax", "hinge", "The loss 'hinge' does not train probabilities"),
    ],
)
def test_messages_name_the_head(data, units, activation, loss, message):
    import keras

    def build():
        inputs = keras.Input((4,))
        kind = keras.layers.Dense(units, activation, name="kind")(inputs)
        return keras.Model(inputs, [keras.layers.Dense(2, "softmax", name="a")(inputs), kind])

    X, targets = data
    with pytest.raises(ValueError, match=re.escape(message)):
        sf.KerasClassifier(build, loss=loss and ["mse", loss]).fit(
            X, np.column_stack([targets["two"], targets["three"]])
        )


def test_outputs_within_outputs(data):
    import keras

    def build():
        inputs = keras.Input((4,))
        a, b, c = (keras.layers.Dense(2, "softmax")(inputs) for _ in range(3))
        return keras.Model(inputs, [[a, b], c])

    X, targets = data
    with pytest.raises(ValueError, match="returns outputs within outputs"):
        sf.KerasClassifier(build).fit(X, targets["labels"])
