"""Averaged weights: the rule in numpy, over the weights of a training by plain Keras."""

from typing import ClassVar

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import stackfuse as sf
from stackfuse._core import fitting

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(60, 3)).astype("float32")
Y = X @ [1.0, -2.0, 0.5] + GENERATOR.normal(size=60)


def build(meta):
    layers = [keras.layers.Dense(4, activation="relu"), keras.layers.BatchNormalization()]
    layers += [keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,)), *layers])


def network(epochs, **params):
    return sf.KerasRegressor(build, epochs=epochs, batch_size=16, random_state=0, **params)


def averaged(estimator):
    with fitting.averaging.within(True):
        return estimator.fit(X, Y)


class Keeper(keras.callbacks.Callback):
    """Keeps the weights after each epoch where a test can find them."""

    kept: ClassVar[list] = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def by_rule(epochs):
    """Return the average of the weights after each epoch of a plain training."""
    Keeper.kept.clear()
    network(epochs, callbacks=[Keeper()]).fit(X, Y)
    assert len(Keeper.kept) == epochs
    mean = Keeper.kept[0]
    for t, newest in enumerate(Keeper.kept, 1):
        part = 1 / min(max(t / 4, 1), 8)
        mean = [old + part * (new - old) for old, new in zip(mean, newest, strict=True)]
    return mean


def same(weights, wanted):
    for one, other in zip(weights, wanted, strict=True):
        if one.dtype.kind == "f":
            assert_allclose(one, other, atol=1e-6)


def test_the_last_epochs_are_averaged_and_training_goes_on_from_the_newest_weights():
    same(averaged(network(40)).model_.get_weights(), by_rule(40))
    few = averaged(network(4)).model_.get_weights()  # too few epochs: the newest ones
    for one, other in zip(few, Keeper.kept[3], strict=True):
        assert_array_equal(one, other)


def test_early_stopping_scores_and_restores_averages():
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    settings = {"validation_split": 0.3, "optimizer__learning_rate": 0.3, "callbacks": [stop]}
    fitted = averaged(network(30, **settings))
    n_epochs, losses = len(fitted.history_["loss"]), fitted.history_["val_loss"]
    best = int(np.argmin(losses))
    assert n_epochs == best + 3 < 30
    again = averaged(network(best + 1, **settings))
    assert_allclose(again.predict(X), fitted.predict(X), rtol=1e-5)
    plain = network(n_epochs, **settings).fit(X, Y)
    assert_allclose(fitted.history_["loss"][:4], plain.history_["loss"][:4], rtol=1e-5)


@pytest.mark.parametrize("ema", [False, True])
def test_an_optimizer_with_averages_of_its_own_keeps_them(ema):
    given = network(6, optimizer__use_ema=ema, optimizer__ema_momentum=0.5)
    same_as_plain = np.allclose(averaged(given).predict(X), given.fit(X, Y).predict(X))
    assert same_as_plain == ema
