"""Callbacks, optimizers and constraints in replicas that are trained side by side."""

import csv
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris

import stackfuse as sf
from stackfuse._core.errors import CannotTrainSideBySide, OtherArchitecture
from stackfuse._training import SideBySide, train
from tests.training.test_fused import MODELS, compare, dense, pooled_words, small

C, L, optimizers = keras.callbacks, keras.layers, keras.optimizers


class Slower(C.Callback):
    """Sets the learning rate, and adds to the logs what it sees."""

    def on_epoch_end(self, epoch, logs: Any = None):
        if epoch % 2:
            self.model.optimizer.learning_rate *= 0.3
        logs["rate"] = float(self.model.optimizer.learning_rate)
        logs["steps"] = int(self.model.optimizer.iterations)
        logs["norm"] = float(sum(np.square(w).sum() for w in self.model.get_weights()))


class Halve(C.Callback):
    """Changes the weights."""

    def on_epoch_end(self, epoch, logs: Any = None):
        self.model.set_weights([0.5 * value for value in self.model.get_weights()])


class WarmUp(C.Callback):
    """Sets the learning rate before every step, and reads the logs after it."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.01 * (len(self.losses) + 1)

    def on_train_batch_end(self, batch, logs: Any = None):
        self.losses.append(logs["loss"])
        if batch == 3 and logs["loss"] < 0.9:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs: Any = None):
        logs["last"], logs["n"] = self.losses[-1], len(self.losses)


class Rate(C.Callback):
    """Adds the learning rate to the logs."""

    def on_epoch_end(self, epoch, logs: Any = None):
        logs["rate"] = float(self.model.optimizer.learning_rate)


def stop(**settings):
    return C.EarlyStopping(patience=1, restore_best_weights=True, **settings)


CALLBACKS = {
    "several": [
        C.ReduceLROnPlateau(patience=0, min_delta=0.02, factor=0.3),
        stop(start_from_epoch=2),
        C.TerminateOnNaN(),
    ],
    "scheduler": [C.LearningRateScheduler(lambda epoch, rate: 0.7 * rate)],
    "functions": [C.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(two=2 * logs["loss"]))],
    "rate, steps and weights": [Slower()],
    "weights set": [Halve()],
    "batches": [WarmUp()],
}

SETTINGS = {
    "by each weight": {"optimizer__clipnorm": 0.01},
    "by all weights": {"optimizer__global_clipnorm": 0.02},
    "averages": {"optimizer__use_ema": True, "validation_split": 0.2, "callbacks": [stop()]},
    "averages taken over": {
        "optimizer": optimizers.SGD(
            0.1, 0.9, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
        )
    },
    "accumulated": {
        "optimizer": optimizers.SGD(
            0.1, momentum=0.5, gradient_accumulation_steps=3, clipvalue=0.05
        )
    },
    "constraint": {"model": small(lambda: L.Dense(8, kernel_constraint="max_norm"))},
    "schedule": {
        "optimizer": optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)),
        "callbacks": [Rate()],
    },
    "decay": {
        "optimizer": optimizers.AdamW(0.01, weight_decay=0.1),
        "callbacks": CALLBACKS["scheduler"],
    },
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_of_each_replica(iris, name):
    network = sf.KerasClassifier(MODELS["dropout"], epochs=5, batch_size=16)
    network.set_params(optimizer__learning_rate=0.05, validation_split=0.2)
    compare(network.set_params(callbacks=CALLBACKS[name]), *iris, cv=2)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_each_replica(iris, name):
    network = sf.KerasClassifier(MODELS["dense"], epochs=4, batch_size=16)
    compare(network.set_params(**SETTINGS[name]), *iris, cv=2)


@pytest.mark.parametrize(
    "optimizer", [optimizers.SGD(0.1, global_clipnorm=0.01), optimizers.AdamW(0.01, 0.1)]
)
def test_words_whose_rate_is_lowered(optimizer):
    X = np.random.default_rng(0).integers(0, 6, (90, 5))
    network = sf.KerasClassifier(pooled_words(), optimizer=optimizer, epochs=3, batch_size=16)
    compare(network.set_params(callbacks=CALLBACKS["scheduler"]), X, (X.sum(axis=1) > 12) * 1, cv=2)


class Freeze(C.Callback):
    def on_train_begin(self, logs=None):
        freeze(self.model)


def freeze(model):
    model.layers[0].trainable = False


class Watch(C.Callback):
    def on_test_batch_end(self, batch, logs=None):
        self.seen = batch


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        (Freeze(), "the callback Freeze has 'trainable' in its code"),
        (Watch(), "the callback Watch has on_test_batch_end"),
        (C.BackupAndRestore("folder"), "the callback BackupAndRestore may touch"),
        (C.ModelCheckpoint("best.keras", save_freq=2), "saves in the middle of epochs"),
        (C.CSVLogger("gs://bucket/log.csv"), "writes to another machine"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_callbacks_that_are_declined(iris, callback, reason):
    network = sf.KerasClassifier(MODELS["dense"], callbacks=[callback])
    with pytest.raises(CannotTrainSideBySide, match=reason):
        sf.StackingClassifier([("net", network)], engine="fused").fit(*iris)


def test_files_are_those_that_a_loop_leaves(iris, tmp_path):
    left = {}
    for engine in ("fused", "sequential"):
        folder = tmp_path / engine
        callbacks = [
            C.ModelCheckpoint(folder / "models" / "{epoch}.keras"),
            C.ModelCheckpoint(folder / "best.weights.h5", "loss", save_weights_only=True),
            C.CSVLogger(folder / "log.csv"),
            C.CSVLogger(folder / "all.csv", append=True),
        ]
        folder.mkdir()
        network = sf.KerasClassifier(MODELS["dense"], epochs=2, callbacks=callbacks)
        stack = sf.StackingClassifier([("net", network)], cv=2, random_state=0, engine=engine)
        stack.fit(*iris)
        models = [keras.models.load_model(folder / "models" / f"{k}.keras") for k in (1, 2)]
        best = MODELS["dense"]()
        best.load_weights(folder / "best.weights.h5")
        weights = [v.numpy() for model in [*models, best] for v in model.weights]
        logs = [rows_of_log(folder / name) for name in ("log.csv", "all.csv")]
        left[engine] = weights, logs
    for one, other in zip(left["fused"][0], left["sequential"][0], strict=True):
        assert_allclose(one, other, atol=1e-5)
    assert [len(log) for log in left["fused"][1]] == [2, 6]
    for one, other in zip(left["fused"][1], left["sequential"][1], strict=True):
        assert_allclose(one, other, atol=1e-5)


def rows_of_log(path):
    """Return the numbers in a log, which has one header."""
    header, *rows = csv.reader(path.read_text().splitlines())
    assert header[0] == "epoch"
    return np.array([[value.replace("NA", "nan") for value in row] for row in rows], float)


def training_of(X, y, **params) -> tuple[Any, Any]:
    """Return a network and what it is going to be trained on."""
    network = sf.KerasClassifier(adjustable, epochs=3, random_state=3).set_params(**params)
    begun = network.begin(X, y, np.arange(len(y)))
    return network, begun


def adjustable(rate=0.2, units=8, activation="relu"):
    return small(lambda: L.Dense(units, activation), lambda: L.Dropout(rate))()


CANDIDATES = [
    {"optimizer__learning_rate": 0.1},
    {"optimizer__learning_rate": 0.001},
    {"rate": 0.5},
    {"optimizer": "sgd", "random_state": 5},
    {"optimizer": optimizers.AdamW(0.01, weight_decay=0.3)},
    {"optimizer": optimizers.Adam(0.01, beta_1=0.5), "activation": "tanh"},
]


def test_candidates_of_a_search_are_trained_side_by_side(iris):
    X, y = iris
    together = SideBySide()
    begun = [training_of(X, y, **params) for params in CANDIDATES]
    for _, fit in begun:
        together.add(fit.training)
    for other in ({"units": 9}, {"loss": "categorical_crossentropy"}):
        with pytest.raises(OtherArchitecture):
            together.add(training_of(X, y, **other)[1].training)
    with pytest.raises(CannotTrainSideBySide) as caught:
        together.add(training_of(X, y, optimizer="muon")[1].training)
    assert not isinstance(caught.value, OtherArchitecture)
    together.make_graphs()
    together.train()
    for params, (network, fit) in zip(CANDIDATES, begun):
        alone, same = training_of(X, y, **params)
        train(same.training)
        for one, other in zip(network.model_.weights, alone.model_.weights, strict=True):
            assert_allclose(one.numpy(), other.numpy(), rtol=2e-5, atol=2e-5, err_msg=str(params))
        assert_allclose(fit.training.history["loss"], same.training.history["loss"], rtol=1e-5)


def test_candidates_that_differ_in_the_learning_rate_share_what_is_traced(iris):
    X, y = iris
    graphs = set()
    for rate in (0.1, 0.2):
        together = SideBySide()
        together.add(training_of(X, y, optimizer__learning_rate=rate)[1].training)
        together.make_graphs()
        graphs |= set(map(id, together._graphs))
    assert len(graphs) == 1


def test_a_rate_that_the_loop_takes_is_the_models_own():
    X, y = load_iris(return_X_y=True)
    weights = []
    for rates in ([0.1, 0.001], [0.001]):
        for rate in rates:
            network = sf.KerasClassifier(small(dense), random_state=0)
            network.set_params(optimizer__learning_rate=rate).fit(X, y)
        weights.append(network.model_.get_weights())
    for one, other in zip(*weights):
        assert_array_equal(one, other)
