"""Losses and metrics that cannot be computed: their names, what they were given, and why."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._core import errors, messages
from stackfuse._keras import private

#: Names of metrics that Keras reads by the shape of y.
_CHOSEN_BY_KERAS = ("acc", "accuracy", "ce", "crossentropy")

#: Errors of Keras and TensorFlow about something that cannot be computed.
_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)

#: Marks of TensorFlow around the sentence of an error.
_AROUND = re.compile(r"\{\{[^}]*\}\} ?|,? ?\[Op:\w+\].*$| name: *$")

#: Rows that a loss or metric is tried on, once a training has failed.
_N_ROWS = 4


@contextmanager
def told_by_name(model, x, y) -> Iterator[None]:
    """Within, a failure of the model's loss, or of one of its metrics, is told by its name.

    Nothing is computed unless something fails. Models with several outputs are left as they are.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    x : Rows
    y : ndarray of shape (n_samples, ...), or another structure
        As the model is given it.

    Raises
    ------
    ValueError
        In place of the error of Keras or TensorFlow.
    """
    try:
        yield
    except _FAILURES as error:
        sentence = _sentence(model, x, y)
        if sentence is None and "No gradients provided" in str(error):
            loss = _name(private.compile_arguments(model).get("loss"))
            sentence = (
                f"The loss {loss} cannot teach model {model.name!r}: no weight of it changes the "
                "loss. Compute it from the outputs, by operations of keras.ops."
            )
        if sentence is None:
            raise
        raise ValueError(sentence) from error


def _sentence(model, x, y) -> str | None:
    """Return what fails, or None if nothing that is computed of y does."""
    if not isinstance(y, np.ndarray) or type(model).train_step is not keras.Model.train_step:
        return None
    target = y[:_N_ROWS]
    try:
        outputs = model(x[slice(0, len(target))], training=False)
    except Exception:  # not the loss's fault: the first error is told
        return None
    if not hasattr(outputs, "shape"):
        return None
    given = private.compile_arguments(model)
    shapes = f"y of shape {('n', *y.shape[1:])} and dtype {y.dtype}".replace("'", "")
    shapes += f" and outputs of shape {('n', *outputs.shape[1:])}".replace("'", "")
    reason = _failure(
        lambda: keras.ops.convert_to_numpy(model.compute_loss(y=target, y_pred=outputs))
    )
    if reason is not None:
        return (
            f"The loss {_name(given.get('loss'))} cannot be computed from {shapes}: {reason}. A "
            "loss of your own is a function of y and the outputs that returns a number for each "
            "row; with loss=None a fitting one is chosen."
        )
    for metric in keras.tree.flatten(given.get("metrics")):
        reason = _failure(lambda metric=metric: _measured(metric, target, outputs))
        if reason is not None:
            return (
                f"The metric {_name(metric)} cannot be computed from {shapes}: {reason}. Leave it "
                "out of metrics=, or judge by scikit-learn, cross_validate(network, X, y, "
                "scoring=...)."
            )
    return None


def _failure(compute: Callable[[], Any]) -> str | None:
    """Return the first line of the error that a computation raises, or None."""
    try:
        compute()
    except Exception as error:
        text = _AROUND.sub("", errors.message_of(error)).strip(" .")
        return messages.printable(text) or type(error).__name__
    return None


def _measured(metric: Any, y, outputs) -> None:
    """Compute one metric, as Keras would."""
    if metric is None or (isinstance(metric, str) and metric.lower() in _CHOSEN_BY_KERAS):
        return
    found = keras.metrics.get(metric)
    if isinstance(found, keras.metrics.Metric):
        found = type(found).from_config(found.get_config())
    else:
        found = keras.metrics.MeanMetricWrapper(found)
    found.update_state(y, outputs)
    float(np.sum(keras.ops.convert_to_numpy(found.result())))


def _name(given: Any) -> str:
    """Return the name of a loss or metric for a message."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    return repr(str(name or getattr(given, "__name__", None) or type(given).__name__))
