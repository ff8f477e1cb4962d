"""Layers that look their input up in a table, the columns of X that reach them, and its codes.

An index outside the table fails a whole batch, or is silently replaced, depending on the device.
"""

import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._core import MultiInput, multi_input
from stackfuse._keras import private

#: Operations that rearrange numbers and change none, by class name.
_REARRANGING = {
    "Cast",
    "ExpandDims",
    "Flatten",
    "GetItem",
    "Identity",
    "Permute",
    "Ravel",
    "RepeatVector",
    "Reshape",
    "Split",
    "Squeeze",
    "Swapaxes",
    "Transpose",
}

#: The limits of models, which are traced once.
_limits: "weakref.WeakKeyDictionary[Any, Limits]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class InputLimits:
    """The limits of the entries in one input's rows.

    Attributes
    ----------
    above, below : ndarray
        Exclusive limits, of the shape of a row or one that broadcasts to it.
    layers : ndarray of str
        Names the layer that each limit comes from.
    """

    above: np.ndarray
    below: np.ndarray
    layers: np.ndarray

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Both limits."""
        return self.above, self.below

    def check(self, array: np.ndarray, shown: str, model) -> None:
        """Raise ValueError if rows hold an index that a layer of the model does not know."""
        outside = (array <= self.above) | (array >= self.below)
        if not outside.any():
            return
        place = tuple(np.argwhere(outside)[0])
        entry = tuple(np.minimum(place[1:], np.array(self.below.shape) - 1))
        column = f", column {place[1]}," if array.ndim == 2 else ""
        below = self.below[entry]
        known = f"0 to {below - 1:.0f}" if below < 2**31 else "0 and above"
        raise ValueError(
            f"{shown}{column} holds {array[place].item()!r}, but the layer "
            f"{str(self.layers[entry])!r} of model {model.name!r} takes the indices {known}. Make "
            "the layer larger, or encode X so that all of its indices are known, for example "
            "with an OrdinalEncoder."
        )


@dataclass(frozen=True)
class Limits:
    """The limits of a model's inputs.

    Attributes
    ----------
    inputs : dict of str to InputLimits
        By the name of the input. Inputs that no layer takes for indices are not in it.
    complete : bool
        Whether all indices could be traced to an input.
    """

    inputs: dict[str, InputLimits]
    complete: bool


def index_range(layer, rank: int) -> tuple[float, float] | None:
    """Return the limits of a layer's indices, or None if it takes any.

    Parameters
    ----------
    layer : keras.layers.Layer
    rank : int
        Number of axes of its input.

    Notes
    -----
    As in Keras, numbers are cut to whole ones, and an Embedding counts negative ones from its end:
    those that a model computes itself. In the columns of X they are refused.
    """
    if isinstance(layer, keras.layers.TimeDistributed):
        return index_range(layer.layer, rank - 1)
    if isinstance(layer, keras.layers.Embedding):
        return -float(layer.input_dim) - 1.0, float(layer.input_dim)
    if isinstance(layer, keras.layers.CategoryEncoding) and rank <= 2:
        # The layer drops indices that are too large, without an error.
        return None if layer.output_mode == "one_hot" else (-1.0, 2.0**31)
    return None


def limits_of(model) -> Limits:
    """Return the limits of those inputs of a model that are indices."""
    if model not in _limits:
        _limits[model] = _trace_limits(model)
    return _limits[model]


def cardinalities_of(X, rows: np.ndarray | None) -> Any:
    """Return how many codes the columns of X have: one more than the largest.

    A column has codes if its numbers are whole and at least -1. OrdinalEncoder can write -1 for
    missing and unknown values; it is no code.

    Parameters
    ----------
    X : ndarray, sparse matrix, StoredRows or MultiInput of shape (n_all_samples, ...)
    rows : ndarray of int of shape (n_samples,), or None
        The rows that are looked at; None for all.

    Returns
    -------
    cardinalities : list of (int or None), dict of these by the name of the input, or None
        One number per column, None for a column without codes. Rows that are no table, are sparse,
        or are read from a file, have None in place of the list.

    Examples
    --------
    >>> cardinalities_of(np.array([[0, 0.5], [3, 1.0]]), None)
    [4, None]
    """
    if isinstance(X, MultiInput):
        return {name: cardinalities_of(array, rows) for name, array in X.arrays.items()}
    if multi_input.is_lazy(X) or X.dtype.kind not in "biuf" or X.ndim not in (1, 2):
        return None
    table = X.reshape(len(X), -1)
    rows = np.arange(len(X)) if rows is None else rows
    found: list[int | None] = []
    for column in table.T:
        few = column[rows[:_FEW]]  # most columns of other numbers show it at once
        codes = _n_codes(few) and _n_codes(column[rows])
        found.append(codes or None)
    return found


#: Rows that are looked at first.
_FEW = 100


def _n_codes(column: np.ndarray) -> int:
    """Return one more than the largest of whole numbers from -1 on; 0 if there are others."""
    least, most = float(column.min()), float(column.max())  # float16 has no 2**31
    whole = least >= -1 and most < 2**31 and bool((column == np.floor(column)).all())
    return int(most) + 1 if whole else 0


#: TensorFlow's message for an index outside of a table.
_OUTSIDE = re.compile(r"indices\[[\d,]*\] = (-?\d+) is not in \[0, (\d+)\)")


@contextmanager
def failed_lookups_explained(model) -> Iterator[None]:
    """Within, an index that a model computes, and that is in no table of its layers, is told.

    Raises
    ------
    ValueError
        In place of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _OUTSIDE.search(error.message)
        if found is None:
            raise
        index, size = map(int, found.groups())
        tables = [
            layer.name
            for layer in private.flatten_layers(model)
            if isinstance(layer, keras.layers.Embedding) and layer.input_dim == size
        ]
        layer = f"the layer {tables[0]!r}" if len(tables) == 1 else "a layer"
        raise ValueError(
            f"{layer[0].upper()}{layer[1:]} of model {model.name!r} got the index {index}, but "
            f"takes the indices 0 to {size - 1}. Make it larger, or encode X so that all of its "
            "indices are known, for example with an OrdinalEncoder."
        ) from error


def takes_indices(model) -> bool:
    """Whether some layer of a model fails for some numbers."""
    kinds = keras.layers.Embedding, keras.layers.CategoryEncoding, keras.layers.IntegerLookup
    return any(isinstance(layer, kinds) for layer in private.flatten_layers(model))


def refuses_unknown(layer) -> bool:
    """Whether a layer fails for whole numbers that are not in its vocabulary."""
    return isinstance(layer, keras.layers.IntegerLookup) and layer.num_oov_indices == 0


def _trace_limits(model) -> Limits:
    inputs = getattr(model, "inputs", None)
    if not inputs or not takes_indices(model):
        return Limits({}, complete=not takes_indices(model))
    sizes = [int(np.prod([n or 1 for n in tensor.shape[1:]], dtype=int)) for tensor in inputs]
    starts = np.cumsum([0, *sizes])
    columns = {
        id(tensor): np.arange(start, start + size).reshape([n or 1 for n in tensor.shape[1:]])
        for tensor, start, size in zip(inputs, starts, sizes)
    }
    above, below = np.full(starts[-1], -np.inf), np.full(starts[-1], np.inf)
    layers = np.full(starts[-1], "", object)
    complete = True
    for layer, limits, places in _lookups(model, columns):
        if limits is None or places is None:
            complete = False
            continue
        places = places.ravel()
        limits = max(limits[0], -1.0), limits[1]  # a negative number in X is no code
        narrower = places[limits[1] < below[places]]
        layers[narrower] = layer.name
        above[places] = np.maximum(above[places], limits[0])
        below[places] = np.minimum(below[places], limits[1])
    found = {}
    for tensor, start, end in zip(inputs, starts, starts[1:]):
        if np.isfinite(below[start:end]).any():
            parts = (part[start:end] for part in (above, below, layers))
            found[tensor.name] = InputLimits(*(p.reshape(columns[id(tensor)].shape) for p in parts))
    return Limits(found, complete)


def _lookups(model, columns: dict[int, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the layers that look something up, their limits, and the columns that they see.

    The limits are None where they are not known, the columns where they are not X's own.
    """
    seen, waiting = set(), list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        operation, _, _ = private.history_of(tensor)
        node = private.node_of(tensor)
        if id(node) in seen or id(tensor) in columns:
            continue
        seen.add(id(node))
        waiting += node.input_tensors
        if not isinstance(operation, keras.layers.Layer) or not takes_indices(operation):
            continue
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            given = [_columns_behind(tensor, columns) for tensor in node.input_tensors]
            inner = {id(tensor): numbers for tensor, numbers in zip(operation.inputs, given)}
            yield from _lookups(operation, inner)
            continue
        given = node.input_tensors[0]
        limits = index_range(operation, len(given.shape))
        if limits is not None:
            yield operation, limits, _columns_behind(given, columns)
        elif refuses_unknown(operation) or not _stands_alone(operation):
            yield operation, None, None


def _stands_alone(layer) -> bool:
    """Whether a layer looks something up itself, and not a layer inside of it."""
    return len(private.flatten_layers(layer)) == 1


def _columns_behind(tensor, columns: dict[int, Any]) -> np.ndarray | None:
    """Return the numbers of the columns in a symbolic tensor, if it holds nothing else."""
    if id(tensor) in columns:
        return columns[id(tensor)]
    operation, _, which = private.history_of(tensor)
    node = private.node_of(tensor)
    if type(operation).__name__ not in _REARRANGING or len(node.input_tensors) != 1:
        return None
    given = node.input_tensors[0]
    numbers = _columns_behind(given, columns)
    if numbers is None or type(operation).__name__ == "Cast":
        return numbers
    if None in given.shape[1:] or not type(operation).__module__.startswith("keras."):
        return None

    args, kwargs = node.arguments.fill_in({id(given): numbers[None].astype(np.float32)})
    moved = keras.tree.flatten(operation(*args, **kwargs))[which]
    return np.asarray(moved).astype(int)[0]
