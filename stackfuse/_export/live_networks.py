"""Networks of a stack in a graph that never becomes a file: the stack's own, not copies."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.compiled import built_by
from stackfuse._export.graph.build import (
    Build,
    building,
)
from stackfuse._export.graph.convert import convert
from stackfuse._export.graph.masks import without_refused
from stackfuse._keras import indices, input_structure
from stackfuse._training import (
    compiled,
    locked,
    prediction,
    seeded,
)


@built_by
def one_call(stack, method: str) -> Callable:
    """Return a method of a fitted stack as a compiled function of X.

    Parameters
    ----------
    stack : fitted stack
        Fitted on an array.
    method : str

    Returns
    -------
    function : callable
        From an array of float64 to a tensor. A row that an estimator would refuse gives NaN.

    Raises
    ------
    NotConvertible
        If some estimator has no exact counterpart.
    """
    shape = stack._sample_X.shape[1:]
    with locked(), seeded(0), building(Build(live=True)):
        x = keras.Input(shape, dtype="float64")
        y = convert(stack, x, method)
        if isinstance(y, list):
            raise NotConvertible(f"{method} returns a list.")
        model = keras.Model(x, without_refused({method: y}, "float64")[method])
        function = compiled(
            lambda X: model(X, training=False), tf.TensorSpec((None, *shape), "float64")
        )
    function(np.zeros((1, *shape)))  # TensorFlow optimises a graph when it is first called
    return function


def live(estimator, x, meaning: str):
    """Return what a network itself predicts, or decides, for a symbolic tensor.

    Parameters
    ----------
    estimator : NetworkEstimator
    x : KerasTensor
        In the dtype of the network's input.
    meaning : {"predict", "decide"}
        A method of the network's outputs.

    Returns
    -------
    y : KerasTensor of shape (batch, n_outputs), float64

    Raises
    ------
    NotConvertible
        If the network takes anything but one array of floating-point numbers, or indices that
        cannot be told from it: such are checked, value by value, before they are cast.
    """
    model, outputs = estimator.model_, estimator.outputs_
    declared = input_structure(model)
    if (
        declared is None
        or isinstance(declared, dict | list | tuple)
        or "float" not in declared.dtype
        or model.run_eagerly
    ):
        raise NotConvertible("The network does not take one array of floating-point numbers.")
    limits = indices.limits_of(model)
    if not limits.complete:
        raise NotConvertible("The network looks up indices that are not X's own.")
    between = limits.inputs.get(declared.name)
    finish = getattr(outputs, meaning)
    function = prediction.finished_model(model, finish, f"{meaning} {outputs}")
    width = finish(keras.KerasTensor((None, *model.output_shape[1:]))).shape[1]

    class Live(keras.layers.Layer):
        """Calls the network's compiled function, with its variables as they are then."""

        def call(self, x):
            taken = ops.isfinite(x)
            if between is not None:  # an index out of range would fail the call
                above, below = (np.asarray(n, declared.dtype) for n in between.limits)
                taken = ops.logical_and(taken, ops.logical_and(x > above, x < below))
            taken = ops.all(ops.reshape(taken, (ops.shape(x)[0], -1)), axis=1)
            if between is not None:
                beside = ops.reshape(taken, (-1, *(1 for _ in x.shape[1:])))
                x = ops.where(beside, x, ops.zeros_like(x))
            y = ops.reshape(function(x), (-1, width))
            return ops.where(taken[:, None], y, np.full(1, np.nan))

        def compute_output_spec(self, x):
            return keras.KerasTensor((None, width), "float64")

    return Live(dtype="float64", autocast=False)(x)
