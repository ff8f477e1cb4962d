"""Networks with code of the user's own in the fused engine: the loop's numbers, or a refusal."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal

import stackfuse as sf
from stackfuse._core.errors import CannotTrainSideBySide
from stackfuse._oof.engines import (
    SequentialEngine,
    SideBySideEngine,
)
from stackfuse._oof.folds import draw_folds
from tests.support.folds import fit_folds
from tests.training.test_fused import L, compare, dense, small


class Scaled(L.Layer):
    """Keeps its factor out of its configuration."""

    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x):
        return x * self.factor


class Noisy(L.Layer):
    """Adds noise in training, from a generator of its own that goes on in validation too."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seed_generator = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        noise = keras.random.normal(ops.shape(x), seed=self.seed_generator)
        return x + noise if training else x


class Centered(L.Layer):
    """Keeps a running mean, a weight without axes, and adds a loss."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(), trainable=False, initializer="zeros")
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x))
        self.add_loss(0.01 * ops.mean(ops.square(x)))
        return (x - self.mean) * self.scale


class Words(L.Layer):
    """Looks up whole numbers in a table."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.table = L.Embedding(10, 3)

    def call(self, x):
        return ops.mean(self.table(ops.cast(ops.round(x), "int32")), axis=1)


class Recurrent(L.Layer):
    """Holds a loop, which is a function of its own in the graph."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.cells = L.GRU(3)

    def call(self, x):
        return self.cells(ops.expand_dims(x, -1))


class Subclassed(keras.Model):
    """No graph of layers, but code."""

    def __init__(self):
        super().__init__()
        self.hidden, self.drop = L.Dense(8, "relu"), L.Dropout(0.3)
        self.head = L.Dense(3, "softmax")

    def call(self, x, training=False):
        return self.head(self.drop(self.hidden(x), training=training))


def scaled_by_chance():
    return small(lambda: Scaled(random.uniform(0.5, 2)), dense)()


def normalized():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    return small(lambda: layer, dense)()


def squared(target, output):
    """Return the squared error: a loss that is a plain function."""
    return ops.mean(ops.square(target - output), axis=-1)


class Weighed(keras.losses.Loss):
    """A loss with a setting that its configuration does not tell."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * squared(y_true, y_pred)


@pytest.mark.parametrize("split", [0.0, 0.3])
@pytest.mark.parametrize(
    "build",
    [
        scaled_by_chance,
        small(Noisy, dense),
        small(Centered, dense),
        small(Words, dense),
        small(Recurrent),
        small(lambda: L.Lambda(lambda x: 2 * x), dense),
        normalized,
    ],
    ids=[
        "hidden setting",
        "noise",
        "state and loss",
        "embedding",
        "loop",
        "Lambda",
        "Normalization",
    ],
)
def test_layers_of_ones_own(iris, build, split):
    compare(sf.KerasClassifier(build, epochs=3, validation_split=split), *iris)


class Several(L.Layer):
    """Rows about their mean, of batches that have more than one."""

    def call(self, x):
        n_rows = tf.shape(x)[0]
        with tf.control_dependencies([tf.debugging.assert_greater(n_rows, 1)]):
            return x - tf.reduce_mean(x, 0)


class Pairs(L.Layer):
    """Rows about the mean of pairs, of batches that are even."""

    def call(self, x):
        pairs = tf.reshape(x, (-1, 2, x.shape[-1]))
        return tf.reshape(pairs - tf.reduce_mean(pairs, 1, keepdims=True), (-1, x.shape[-1]))


def test_layers_that_need_several_rows(iris):
    X, y = (part[:144] for part in iris)  # folds are done before the refit is
    compare(sf.KerasClassifier(small(Several, dense), epochs=2, batch_size=8), X, y)
    network = sf.KerasClassifier(small(Pairs, dense), batch_size=8)
    folds = draw_folds(3, X, y, classifier=True)
    settings = {"method": "predict_proba", "seeds": [0, 1, 2]}
    with pytest.raises(CannotTrainSideBySide, match="cannot be traced"):
        fit_folds(SideBySideEngine(), network, X, y, folds, **settings)
    loop = fit_folds(SequentialEngine(), network, X, y, folds, **settings)
    auto = fit_folds(SideBySideEngine(SequentialEngine()), network, X, y, folds, **settings)
    assert_array_equal(auto.predictions, loop.predictions)


def test_subclassed_models(iris):
    loss = keras.losses.SparseCategoricalCrossentropy()
    compare(sf.KerasClassifier(Subclassed, loss=loss, metrics=["accuracy"], epochs=3), *iris)


@pytest.mark.parametrize("loss", [squared, Weighed], ids=["function", "class"])
def test_losses_of_ones_own(iris, loss):
    compare(sf.KerasClassifier(small(dense), loss=loss, epochs=3), *iris)


def test_stops_and_weights_with_code_of_ones_own(iris):
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    network = sf.KerasClassifier(
        small(Noisy, dense), optimizer__learning_rate=0.1, epochs=8, validation_split=0.3
    )
    weight = np.random.default_rng(0).uniform(0.1, 2, 150)
    fused = compare(
        network.set_params(callbacks=[stop]), *iris, fit_params={"sample_weight": weight}
    )
    assert len({len(history["loss"]) for history in fused.histories}) > 1


class Unseeded(L.Layer):
    """Draws from the generator of the process."""

    def call(self, x):
        return x + keras.random.normal(ops.shape(x))


class DrawnByTensorFlow(L.Layer):
    """Draws without a seed."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class ThroughPython(L.Layer):
    """Runs Python in every step."""

    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(np.abs, [x], tf.float32), x.shape)


class Counting(L.Layer):
    """Computes something else each time it is traced."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * self.calls


class OfItsClass(L.Layer):
    """Reads what the builder changes."""

    factor = 1.0

    def call(self, x):
        return x * OfItsClass.factor


class Untracked(L.Layer):
    """Hides a variable from Keras."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.hidden = {"mean": [tf.Variable(tf.constant(1.0))]}

    def call(self, x):
        return x + self.hidden["mean"][0].assign_add(1.0)


class OwnStep(keras.Model):
    """Trains in its own way."""

    def train_step(self, data):
        return super().train_step(data)


def of_its_class():
    OfItsClass.factor = random.uniform(0.5, 2)
    return small(OfItsClass, dense)()


def own_step():
    inputs = keras.Input((4,))
    return OwnStep(inputs, L.Dense(3, "softmax")(inputs))


def shared_layer():
    return small(lambda: SHARED, dense)()


SHARED = L.Dense(4, name="the_same")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (small(Unseeded, dense), "a random generator from outside"),
        (small(DrawnByTensorFlow, dense), "runs the operation RandomStandardNormal"),
        (small(ThroughPython, dense), "runs the operation PyFunc"),
        (small(Counting, dense), "computes different results at different calls"),
        (of_its_class, "after other models were built"),
        (small(Untracked, dense), "uses a variable, a table"),
        (own_step, "has its own train_step"),
        (shared_layer, "the same variables to several replicas"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_depends_on_more_than_the_model_is_declined(iris, build, reason):
    X, y = iris
    folds = draw_folds(2, X, y, classifier=True)
    network = sf.KerasClassifier(build, epochs=2, validation_split=0.2)
    with pytest.raises(CannotTrainSideBySide, match=reason):
        fit_folds(SideBySideEngine(), network, X, y, folds, method="predict_proba", seeds=[0, 1])


def test_auto_does_in_the_loop_what_only_the_last_replica_shows_not_to_fuse(iris):
    """One fold lacks a class, and its model a unit."""
    X, y = iris
    folds = [(np.arange(149), np.arange(149, 150)), (np.arange(100), np.arange(100, 150))]

    def build(meta):
        return keras.Sequential([keras.Input((4,)), L.Dense(meta["n_classes_"], "softmax")])

    network = sf.KerasClassifier(build, epochs=150)
    folds = draw_folds(folds, X, y, classifier=True)
    settings = {"method": "predict_proba", "seeds": [0, 1]}
    loop = fit_folds(SequentialEngine(), network, X, y, folds, **settings)
    auto = fit_folds(SideBySideEngine(SequentialEngine()), network, X, y, folds, **settings)
    for one, other in zip(auto.predictions, loop.predictions):
        assert_array_equal(one, other)


def test_auto_fuses_code_of_ones_own(iris):
    X, y = iris
    network = sf.KerasClassifier(small(Noisy, dense), epochs=80)
    stack = sf.StackingClassifier([("net", network)], cv=3, random_state=0)
    auto = stack.fit(X, y).predict_proba(X)
    loop = stack.set_params(engine="sequential").fit(X, y).predict_proba(X)
    assert_allclose(auto, loop, atol=1e-4)
