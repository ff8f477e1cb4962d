"""Checks of a network before it is trained."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import stackfuse as sf


def ends(*layers):
    import keras

    return keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])


def test_a_fixed_batch_size_is_refused(iris):
    import keras

    message = "is for 10 rows at a time.* keras.Input(shape), without batch_size or batch_shape"
    pattern = ".*".join(map(re.escape, message.split(".*")))
    with pytest.raises(ValueError, match=pattern):
        sf.KerasClassifier(lambda: ends(keras.Input((4,), batch_size=10))).fit(*iris)


def test_stateful_layers_are_refused(iris):
    import keras

    X, y = iris

    def build():
        return ends(keras.Input((4, 1), batch_size=10), keras.layers.GRU(2, stateful=True))

    with pytest.raises(ValueError, match=r"The layer 'gru.*' of model .* Use stateful=False"):
        sf.KerasClassifier(build).fit(X[:, :, None], y)


@pytest.mark.parametrize(
    ("wanted", "given"), [((5,), (4,)), ((4,), (2, 2)), ((4, 4), (4,)), ((3, 1), (4,))]
)
def test_rows_that_do_not_fit_the_network(iris, wanted, given):
    import keras

    X, y = iris
    layers = [keras.Input(wanted, name="x"), keras.layers.Flatten()]
    network = sf.KerasClassifier(lambda: ends(*layers))
    message = f"'x' of model .* takes rows of shape {re.escape(str(wanted))}, but X has rows of "
    message += re.escape(f"shape {given}. Let the builder take the shape from the data: def")
    with pytest.raises(ValueError, match=message):
        network.fit(X.reshape(-1, *given), y)


def test_the_input_that_does_not_fit_is_named(iris):
    import keras

    X, y = iris

    def build():
        inputs = [keras.Input((width,), name=name) for name, width in (("a", 2), ("b", 3))]
        joined = keras.layers.Concatenate()(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(joined))

    message = r"but X\['b'\] has rows of shape \(2,\).*meta\[\"X_shape_\"\]\['b'\]\[1:\]"
    with pytest.raises(ValueError, match=message):
        sf.KerasClassifier(build).fit(sf.MultiInput(a=X[:, :2], b=X[:, 2:]), y)


@pytest.mark.parametrize(("wanted", "given"), [((4, 1), (4,)), ((4,), (4, 1))])
def test_a_last_axis_of_one_is_added_or_dropped_as_in_keras(iris, wanted, given):
    import keras

    X, y = iris

    def network():
        middle = keras.layers.Conv1D(2, 2) if wanted == (4, 1) else keras.layers.Dense(2)
        return ends(keras.Input(wanted), middle, keras.layers.Flatten())

    fitting = sf.KerasClassifier(network, epochs=2, random_state=0).fit(X.reshape(-1, *wanted), y)
    other = sf.KerasClassifier(network, epochs=2, random_state=0).fit(X.reshape(-1, *given), y)
    assert_array_equal(
        other.predict_proba(X.reshape(-1, *given)), fitting.predict_proba(X.reshape(-1, *wanted))
    )


def test_a_sequential_model_without_an_input_takes_any_number_of_rows(iris):
    X, y = iris
    network = sf.KerasClassifier(ends, loss="sparse_categorical_crossentropy", random_state=0)
    assert network.fit(X, y).model_.inputs[0].shape == (None, 4)
    assert network.predict_proba(X[:7]).shape == (7, 3)
    assert np.isfinite(network.history_["loss"]).all()
    import keras

    def build():
        return ends(keras.layers.Conv1D(2, 2))

    with pytest.raises(ValueError, match=r"cannot take rows of shape \(4,\), the shape of X"):
        sf.KerasClassifier(build, loss="sparse_categorical_crossentropy").fit(X, y)
