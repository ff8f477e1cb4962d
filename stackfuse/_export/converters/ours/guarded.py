"""Guard the layers of a network that look up indices.

One index outside of its table would fail the whole batch. So a guard in front of each table
replaces all indices of such a row by a valid one, and returns a mask of these rows.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
import numpy as np
from keras import ops

from stackfuse._core import NotConvertible, messages
from stackfuse._export.graph.arithmetic import constant
from stackfuse._keras import (
    indices,
    input_structure,
    private,
)


def guarded(model):
    """Return a model that shares another's layers, with guards so that no index can fail a batch.

    Parameters
    ----------
    model : keras.Model
        A Sequential or functional one.

    Returns
    -------
    guarded : keras.Model or None
        Its outputs are a list: those of the model, then the mask of every guard, bool of shape
        (n_samples, 1). A masked row's output is meaningless. None if the model needs no guard.

    Raises
    ------
    NotConvertible
        If a layer that looks up indices is hidden inside another layer.
    """
    return _guarded(model, {})


def _guarded(model, guarded_models: dict[int, Any]):
    """Return the guarded model; models that are called several times are guarded once."""
    if not indices.takes_indices(model):
        return None
    if id(model) in guarded_models:
        return guarded_models[id(model)]
    masks: list[Any] = []
    taken = {part.name for part in private.flatten_layers(model)}
    names = (name for k in count() if (name := f"guard_{k}") not in taken)

    def call(layer, x, *args, **kwargs):
        if not isinstance(layer, keras.layers.Layer) or not indices.takes_indices(layer):
            return layer(x, *args, **kwargs)
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            inner = _guarded(layer, guarded_models)
            if inner is None:
                return layer(x, *args, **kwargs)
            y, *inner_masks = inner(x, *args, **kwargs)
            masks.extend(inner_masks)
            return y
        x, mask = _guard(layer, x, names)
        if mask is not None:
            masks.append(mask)
        return layer(x, *args, **kwargs)

    def call_layer(layer, *args, **kwargs):
        if args or "inputs" not in kwargs:
            return call(layer, *args, **kwargs)
        return call(layer, kwargs.pop("inputs"), **kwargs)

    structure = input_structure(model)
    output = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    copy = keras.models.clone_model(
        keras.Model(structure, output), clone_function=lambda layer: layer, call_function=call_layer
    )
    if masks:
        copy = keras.Model(copy.input, [copy.output, *masks], name=model.name)
    guarded_models[id(model)] = copy if masks else None
    return guarded_models[id(model)]


def _guard(layer, x, names: Iterator[str]):
    """Return a layer's input without invalid indices, and a mask of the changed rows or None.

    The mask is of shape (n_samples, 1).
    """
    if x.shape[0] is not None:  # the model's own indices, the same for all rows
        return x, None
    # A separate model, so that the names of its operations cannot clash with others.
    inner = keras.Input(batch_shape=x.shape, dtype=x.dtype)
    safe, mask = _safe_input(layer, inner)
    if safe is inner:
        return x, None
    if mask is None:
        return keras.Model(inner, safe, name=next(names))(x), None
    return keras.Model(inner, [safe, mask], name=next(names))(x)


def _safe_input(layer, x):
    """Return the input without invalid indices, and the mask, within the guard's model."""
    limits = indices.index_range(layer, len(x.shape))
    if limits is not None:
        return _replaced(x, _outside(x, *limits), min(1, int(limits[1]) - 1))
    if indices.refuses_unknown(layer):
        known = np.array(layer.get_vocabulary(include_special_tokens=False), np.int64)
        whole = ops.cast(x, "int64")
        unknown = ops.all(ops.not_equal(ops.expand_dims(whole, -1), known), axis=-1)
        if layer.mask_token is not None:
            masked = np.array([layer.mask_token], np.int64)
            unknown = ops.logical_and(unknown, ops.not_equal(whole, masked))
        return _replaced(x, unknown, int(known[0]))
    if isinstance(layer, keras.layers.CategoryEncoding):
        # No number fails this layer. Some runtimes count negative ones from the end.
        return ops.where(_outside(x, -1.0, np.inf), _index_array(layer.num_tokens, x), x), None
    if len(private.flatten_layers(layer)) > 1:
        raise NotConvertible(
            f"The layer {layer.name!r}, {messages.with_article(type(layer).__name__)}, contains a "
            "layer that looks indices up. There one wrong index would fail a whole batch. Move "
            "that layer outside, in front of it."
        )
    return x, None


def _outside(x, above: float, below: float):
    """Whether each number, cut to a whole one, lies outside of two limits; NaN does."""
    if "int" in x.dtype:
        whole = ops.cast(x, "int64")
        masks = [ops.less_equal(whole, np.array([above], np.int64))]
        if np.isfinite(below):
            masks.append(ops.greater_equal(whole, np.array([below], np.int64)))
    else:
        # Not "not between": TensorFlow folds that, and NaN would be an index.
        masks = [ops.isnan(x), ops.less_equal(x, constant(above, x))]
        if np.isfinite(below):
            masks.append(ops.greater_equal(x, constant(below, x)))
    outside = masks[0]
    for mask in masks[1:]:
        outside = ops.logical_or(outside, mask)
    return outside


def _replaced(x, wrong, index: int):
    """Replace all numbers of a row by an index if any of them is wrong; return x and the mask.

    Callers give an index other than 0, which some layers skip.
    """
    axes = tuple(range(1, len(x.shape)))
    mask = ops.any(wrong, axis=axes, keepdims=True) if axes else wrong
    return ops.where(mask, _index_array(index, x), x), ops.reshape(mask, (-1, 1))


def _index_array(index: int, x):
    return np.array([index]).astype(x.dtype if x.dtype != "bfloat16" else "float32")


def negative_codes(x, limits: indices.InputLimits):
    """Return a mask of the rows whose columns of codes hold a negative one.

    Parameters
    ----------
    x : tensor of shape (n_samples, ...)
        One input of a network, as declared.
    limits : InputLimits
        Those of the input.

    Returns
    -------
    mask : tensor of bool, shape (n_samples, 1)
    """
    codes = np.broadcast_to(np.isfinite(limits.above), limits.above.shape)
    negative = ops.logical_and(ops.less_equal(x, constant(-1.0, x)), codes)
    axes = tuple(range(1, len(x.shape)))
    return ops.reshape(ops.any(negative, axis=axes, keepdims=True), (-1, 1))


def whole_numbers(x, dtype: str):
    """Return x cast to a dtype of whole numbers, and a mask of the rows that it cannot hold.

    Parameters
    ----------
    x : tensor of floating-point numbers, shape (n_samples, ...)
    dtype : str

    Returns
    -------
    cast : tensor
        With 0 in place of such rows.
    mask : tensor of bool, shape (n_samples, 1)
    """
    limits = np.iinfo(dtype)
    wrong = ops.logical_or(
        _outside(x, float(limits.min) - 1.0, float(limits.max) + 1.0),
        ops.not_equal(x, ops.floor(x)),
    )
    kept, mask = _replaced(x, wrong, 0)
    return ops.cast(kept, dtype), mask
