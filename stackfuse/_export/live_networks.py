"""Call a stack's own networks, not copies, from a graph that never becomes a file."""

import keras
import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._keras import indices, input_structure, several_outputs
from stackfuse._training import prediction


def call_live(estimator, x, meaning: str):
    """Return the predictions or decisions of a network for a symbolic tensor, without a copy of it.

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
        If the network has several outputs or settings for its prediction, takes anything but one
        array of floating-point numbers, or looks up indices that it computes itself.
    """
    model, outputs = estimator.model_, estimator._meaning()
    if not isinstance(outputs, several_outputs.Outputs) or estimator._predict_params():
        raise NotConvertible("The network has several outputs, or settings for its prediction.")
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
        raise NotConvertible("The network looks up indices that it computes itself.")
    between = limits.inputs.get(declared.name)
    finish = getattr(outputs, meaning)
    function = prediction.finished_model(model, finish, f"{meaning} {outputs}")
    width = finish(keras.KerasTensor((None, *model.output_shape[1:]))).shape[1]

    class Live(keras.layers.Layer):
        """Calls the network's compiled function, with the variables of that moment."""

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
