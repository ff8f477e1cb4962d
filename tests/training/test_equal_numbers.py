"""Equal fits and calls give equal numbers, bit for bit, whatever the process did before."""

import subprocess
import sys
from collections import OrderedDict

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris

import stackfuse as sf
from tests.training.test_fused import small

L = keras.layers
X, y = load_iris(return_X_y=True)
LOSS = keras.losses.SparseCategoricalCrossentropy()
LOWER = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate)


def build(units=6):
    return small(lambda: L.Dense(units, "relu"), lambda: L.Dropout(0.2))()


def sequences():
    return small(L.GlobalAveragePooling1D, shape=(None, 4))()


def stack(engine="auto", units=6):
    """Return a stack of networks, of which the second alone has enough steps for a graph."""
    nets = [
        ("few", sf.KerasClassifier(build, units=units)),
        ("many", sf.KerasClassifier(build, units=units, epochs=15)),
        ("lowered", sf.KerasClassifier(build, units=units, epochs=2, callbacks=[LOWER])),
    ]
    return sf.StackingClassifier(nets, cv=3, engine=engine, random_state=0)


def numbers(stack=None):
    """Return what a stack predicts out of fold and after, once it is fitted."""
    stack = (stack or globals()["stack"]()).fit(X, y)
    return np.concatenate([stack.oof_.predictions, stack.predict_proba(X)], axis=1)


def other_fits():
    """Train by both engines: other rows, other sizes, and more networks than are kept."""
    for engine in ("sequential", "fused"):
        stack(engine).fit(X[10:], y[10:])
    for units in range(20, 38):
        sf.KerasClassifier(build, units=units, random_state=0).fit(X, y)


@pytest.fixture
def afresh(monkeypatch):
    """Begin with nothing compiled."""
    monkeypatch.setattr("stackfuse._training.program._programs", OrderedDict())


def test_five_equal_fits_and_one_after_others(afresh):
    wanted = numbers()
    for _ in range(4):
        assert_array_equal(numbers(), wanted)
    other_fits()
    assert_array_equal(numbers(), wanted)


def test_a_fit_in_a_process_that_trained_others(afresh):
    code = (
        "import sys; from tests.training import test_equal_numbers as t; t.stack('fused')"
        ".fit(t.X[9:], t.y[9:]); sys.stdout.write(t.numbers().tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout == numbers().tobytes().hex()


@pytest.mark.parametrize("engine", ["sequential", "fused"])
def test_sequences_of_one_length_after_others(afresh, engine):
    def fitted(length):
        rows = np.repeat(X[:, None], length, axis=1) * np.linspace(0.1, 1, length)[:, None]
        net = sf.KerasClassifier(sequences, epochs=2)
        meta = sf.ConvexClassifier()  # the default would be a constant
        fit = sf.StackingClassifier([("net", net)], meta, cv=2, engine=engine, random_state=0)
        return fit.fit(rows, y).predict_proba(rows)

    wanted = fitted(5)
    assert not np.array_equal(fitted(11), fitted(7))
    assert_array_equal(fitted(5), wanted)


class Subclassed(keras.Model):
    """Does not say what it takes."""

    def __init__(self):
        super().__init__()
        self.last = L.Dense(3, "softmax")

    def call(self, x):
        return self.last(x / keras.ops.sum(keras.ops.abs(x), axis=0))


def test_predictions_do_not_depend_on_those_before():
    predicted = []
    for sizes in ([150], [7, 1, 150], [150, 3, 150]):
        net = sf.KerasClassifier(Subclassed, loss=LOSS, random_state=0).fit(X, y)
        predicted.append([net.predict_proba(X[:size]) for size in sizes][-1])
    assert_array_equal(predicted[1], predicted[0])
    assert_array_equal(predicted[2], predicted[0])
