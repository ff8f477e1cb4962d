"""Rows that scikit-learn would refuse: the graph cannot raise, so it says that it does not know.

An unknown category, or NaN where an estimator takes none, would be swallowed by the next tree and
become a number like any other. So whatever refuses rows says which, and in the end the outputs of
these rows are NaN, and their label -1.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from stackfuse.export._arithmetic import constant
from stackfuse.export._build import current_build

#: The label of a row that is refused.
NO_CLASS = -1


def refuse_rows(where) -> None:
    """Refuse rows, of all outputs of the graph that is being built.

    Parameters
    ----------
    where : tensor of bool, shape (batch, n_columns)
        A row in which any is true is refused.
    """
    from keras import ops

    current_build().refused[id(where)] = where, ops.any(where, axis=1)


def refuse_infinite(x) -> None:
    """Refuse rows with an infinite number, for an estimator that takes NaN.

    Parameters
    ----------
    x : tensor of numbers, shape (batch, n_columns)
    """
    from keras import ops

    refuse_rows(ops.greater(ops.abs(x), constant(np.finfo(x.dtype).max, x)))


def refuse_missing(estimator, x, method: str) -> None:
    """Refuse rows with NaN or infinity if a method of the estimator does.

    Parameters
    ----------
    estimator : fitted estimator
    x : tensor of numbers, shape (batch, ...), or dict of such
    method : str
        See :func:`stackfuse.convert`.
    """
    from keras import ops

    if get_tags(estimator).input_tags.allow_nan or not _raises(estimator, x, method):
        return
    refused = current_build().refused
    for tensor in x.values() if isinstance(x, dict) else [x]:
        if id(tensor) not in refused and tensor.dtype in ("float64", "float32"):
            # A sum is finite if all numbers are; it is quicker than asking each.
            total = ops.abs(ops.sum(tensor, axis=tuple(range(1, len(tensor.shape)))))
            most = constant(np.finfo(tensor.dtype).max, tensor)
            # The tensor is kept with it, so that no other can have its number.
            # Not "not at most": TensorFlow folds that into "more than", which NaN is not.
            broken = ops.logical_or(ops.isnan(total), ops.greater(total, most))
            refused[id(tensor)] = tensor, broken


def _raises(estimator, x, method: str) -> bool:
    """Whether an estimator refuses a missing value, which its tags do not always tell."""
    if isinstance(x, dict):
        return True
    row = np.full((1, *x.shape[1:]), np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(estimator, "predict" if method == "label" else method)(row)
    except (ValueError, IndexError):
        return True
    return False


def without_refused(outputs: dict[str, Any], precision: str) -> dict[str, Any]:
    """Return a graph's outputs by name, in which those of refused rows are missing."""
    from keras import ops

    masks = [mask for _, mask in current_build().refused.values()]
    if not masks:
        return outputs
    refused = masks[0]
    for mask in masks[1:]:
        refused = ops.logical_or(refused, mask)
    none = np.full(1, NO_CLASS, np.int64)
    kept = ops.where(refused, np.zeros(1, precision), np.ones(1, precision))
    return {
        name: ops.where(_beside(refused, y), none, y)
        if name == "label"
        # 0 / 0 is NaN, which a file in JSON cannot hold; else this changes no bit.
        else y * _beside(kept, y) / _beside(kept, y)
        for name, y in outputs.items()
    }


def _beside(values, y):
    """Return one value per row in a shape that meets every column of y."""
    from keras import ops

    return ops.reshape(values, (-1, *(1 for _ in y.shape[1:])))
