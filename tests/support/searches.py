"""A small network, and what makes the results of two searches the same."""

import keras
import numpy as np

import stackfuse as sf
from stackfuse.engines import SideBySideEngine

#: How far scores may lie apart: networks are equal up to rounding.
CLOSE = 5e-5


def mlp(meta, units=4):
    """Return a network for any target."""
    activation = {"multilabel-indicator": "sigmoid", "binary": "softmax", "multiclass": "softmax"}
    inputs = keras.Input((meta["n_features_in_"],))
    x = keras.layers.Dense(units, activation="relu")(inputs)
    last = activation.get(meta["target_type_"])
    units = meta["n_classes_"] or meta["n_outputs_"]
    return keras.Model(inputs, keras.layers.Dense(units, last)(x))


def net(kind=sf.KerasClassifier, model=mlp, **settings):
    """Return an estimator that trains for two epochs."""
    return kind(model, **{"epochs": 2, "batch_size": 16, "random_state": 0, **settings})


class Watched:
    """An engine that trains side by side or fails, and notes how many jobs it was handed."""

    def __init__(self):
        self.handed = []
        self.models = []

    def run_jobs(self, jobs, data):
        jobs = list(jobs)
        self.handed.append(len(jobs))
        yield from SideBySideEngine().run_jobs(jobs, data)


def assert_same_results(ours, theirs) -> None:
    """Check that two searches have found the same: scores up to rounding, times aside."""
    assert list(ours) == list(theirs)
    assert ours["params"] == theirs["params"]
    for name, values in theirs.items():
        if name.startswith("param_"):
            assert ours[name].tolist() == values.tolist()
        elif name.endswith("_time"):
            assert (ours[name] >= 0).all()
            assert ours[name].shape == values.shape
        elif name != "params":
            np.testing.assert_allclose(ours[name], values, atol=CLOSE, rtol=CLOSE)
