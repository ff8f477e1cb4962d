"""Convert: one fitted estimator and a symbolic tensor in, the tensor of its predictions out.

A family of estimators is one file that registers a function for each class::

    @convert_type(Ridge)
    def _(estimator, x, method): ...

The graph is built of stock layers and ``keras.ops`` only. Tables of numbers live in the weights of
stock layers or in arrays of at least one axis: Keras writes a 0-d array or a numpy scalar to the
file as a Python number, which comes back as float32.
"""

import inspect
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from stackfuse._checks import NotConvertible

#: The methods that a class must have inherited unchanged to be converted as its parent.
_PREDICTING = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "_decision_function",
    "_raw_predict",
    "_transform",
)

#: What :func:`convert` can be asked for. "label" is the class number, as int64 of shape (batch,).
METHODS = ("predict_proba", "decision_function", "predict", "transform", "label")


@singledispatch
def _convert(estimator, x, method: str) -> Any:
    raise NotConvertible(_refusal(estimator))


def _refusal(estimator) -> str:
    return (
        f"{type(estimator).__name__} cannot be converted to a Keras graph: there is no converter "
        "for it. The README lists what can be in an exported stack."
    )


def convert_type(*classes: type) -> Callable:
    """Register a function ``(estimator, x, method) -> tensor`` for estimator classes."""

    def register(function: Callable) -> Callable:
        for cls in classes:
            _convert.register(cls, function)
        return function

    return register


def convert(estimator, x, method: str):
    """Return the symbolic tensor of a fitted estimator's predictions.

    Parameters
    ----------
    estimator : fitted estimator
    x : KerasTensor of shape (batch, n_features, ...)
        In float64, unless only networks will see it.
    method : {"predict_proba", "decision_function", "predict", "transform", "label"}
        With ``"predict"`` a classifier gives ``classes_``, which must be numbers; ``"label"``
        gives the number of the class.

    Returns
    -------
    y : KerasTensor
        In float64 (``"label"``: int64).

    Raises
    ------
    NotConvertible
        If the estimator, or this method of it, has no exact counterpart.
    """
    cls = type(estimator)
    converter = _convert.dispatch(cls)
    if converter is _convert.dispatch(object):
        raise NotConvertible(_refusal(estimator))
    _refuse_overridden(cls)
    check_is_fitted(estimator)
    if method == "predict" and hasattr(estimator, "classes_"):
        return _class_values(estimator, convert(estimator, x, "label"))
    return converter(estimator, x, method)


def _refuse_overridden(cls: type) -> None:
    """Raise if a class predicts differently from the registered class that it descends from."""
    parent = next(c for c in cls.__mro__ if c in _convert.registry)
    changed = [m for m in _PREDICTING if _static(cls, m) is not _static(parent, m)]
    if changed:
        raise NotConvertible(
            f"{cls.__name__} overrides {changed[0]} of {parent.__name__}, so it cannot be "
            f"converted as a {parent.__name__}. Register a converter for {cls.__name__}."
        )


def _static(cls: type, name: str):
    """Return an attribute as the class body holds it: some methods are made anew on access."""
    return inspect.getattr_static(cls, name, None)


def unsupported(estimator, method: str) -> NotConvertible:
    """Return the error for a method that a converter does not know."""
    return NotConvertible(f"{type(estimator).__name__}.{method} has no counterpart in the graph.")


def constant(values) -> np.ndarray:
    """Return float64 values with at least one axis, which survive saving as they are."""
    return np.atleast_1d(np.asarray(values, np.float64))


def held(x, *rows):
    """Return rows of numbers as tensors of shape (batch, n), read from a frozen layer's weights.

    TensorFlow rewrites arithmetic with constants when it compiles a graph: a division becomes a
    product with the reciprocal, sums are reordered. The last bit moves, and a value that lies on a
    tree's threshold falls to its other side. Weights are left as they are.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Tells the number of rows.
    *rows : array-like of shape (n,)
    """
    from keras import layers, ops

    table = np.vstack([np.atleast_1d(np.asarray(row, np.float64)) for row in rows])
    layer = layers.Embedding(*table.shape, trainable=False, dtype="float64")
    layer.build((None, None))
    layer.set_weights([table])
    first = ops.cast(ops.zeros_like(x[:, :1]), "int32")
    return [ops.reshape(layer(first + k), (-1, table.shape[1])) for k in range(len(rows))]


def first_largest(scores):
    """Return the number of the largest column, the first of equals, as int64 of shape (batch,).

    ``numpy.argmax`` written with comparisons: the graph of ``keras.ops.argmax`` does not load
    in every runtime.
    """
    from keras import ops

    n_columns = scores.shape[1]
    numbers = np.arange(n_columns, dtype=np.float64)
    is_largest = ops.equal(scores, ops.max(scores, axis=1, keepdims=True))
    candidates = ops.where(is_largest, numbers, np.full(n_columns, float(n_columns)))
    return ops.cast(ops.min(candidates, axis=1), "int64")


def is_positive(scores):
    """Return 1 where the one column of scores is above 0, as int64 of shape (batch,)."""
    from keras import ops

    return ops.cast(ops.reshape(ops.greater(scores, constant(0.0)), (-1,)), "int64")


def _class_values(estimator, label):
    """Return the class itself, for classes that are numbers."""
    from keras import ops

    values = np.asarray(estimator.classes_)
    if values.dtype.kind not in "buif":
        raise NotConvertible(
            f"{type(estimator).__name__} predicts the classes {values.tolist()}, which are not "
            "numbers. Use stack_method='predict_proba'."
        )
    hits = ops.equal(ops.reshape(label, (-1, 1)), np.arange(len(values), dtype=np.int64))
    return ops.sum(ops.where(hits, constant(values), np.zeros(len(values))), axis=1)
