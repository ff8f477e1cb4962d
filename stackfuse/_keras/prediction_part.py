"""Which part of a network's output is the prediction: a column, some columns, or a function."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

#: A column, a slice of the columns, a list of columns, or a function of the outputs.
Part = int | slice | Sequence[int] | Callable

#: How the parameter is called.
NAME = "predict__output"


def check_part(part: Any) -> None:
    """Raise unless a value can choose a part of the outputs.

    Raises
    ------
    ValueError
        With what to pass instead.
    """
    numbers = part if isinstance(part, list | tuple | np.ndarray) else [part]
    if callable(part) or isinstance(part, slice):
        return
    if len(numbers) and all(_is_whole(number) for number in numbers):
        return
    raise ValueError(
        f"{NAME} must be the number of an output column, a slice or list of them, or a function "
        f"of the outputs, got {part!r}. For example, {NAME}=0 is the first column."
    )


def refuse_part(part: Any, n_outputs: int) -> None:
    """Raise if a part is chosen of a model that has several outputs."""
    if part is not None:
        raise ValueError(
            f"{NAME} chooses columns of one output, but the model has {n_outputs} outputs. Leave "
            "it out, or let the model end in one layer: keras.layers.Concatenate()(outputs)."
        )


def width_of(part: Part, n_units: int, what: str) -> int:
    """Return the number of columns that a part of `n_units` output columns has.

    Parameters
    ----------
    part : int, slice, list of int or callable
    n_units : int
    what : str
        The subject of messages.

    Raises
    ------
    ValueError
        If there are no such columns, or a function returns something else than columns.
    """
    check_part(part)
    if not callable(part):
        return len(_places(part, n_units, what))
    shape = tuple(chosen(np.zeros((3, n_units), "float32"), part).shape)
    if len(shape) != 2 or shape[0] != 3:
        raise ValueError(
            f"{NAME} returned shape {shape} for outputs of shape (3, {n_units}). It must return "
            "one row for each row: (n_samples,) or (n_samples, n_columns)."
        )
    return shape[1]


def chosen(outputs, part: Part):
    """Return a part of a network's outputs; written in ``keras.ops``.

    Parameters
    ----------
    outputs : tensor of shape (n_samples, n_units)
    part : int, slice, list of int or callable

    Returns
    -------
    predictions : tensor of shape (n_samples, n_columns)
    """
    if callable(part):
        result = part(outputs)
        return ops.expand_dims(result, -1) if len(result.shape) == 1 else result
    places = _places(part, outputs.shape[1], "the network")
    return outputs if places == list(range(outputs.shape[1])) else ops.take(outputs, places, axis=1)


def _places(part: Any, n_units: int, what: str) -> list[int]:
    """Return the numbers of the columns."""
    try:
        places = np.atleast_1d(
            np.arange(n_units)[part if isinstance(part, slice) else [*_all(part)]]
        )
    except IndexError:
        places = np.arange(0)
    if not places.size:
        raise ValueError(
            f"{NAME}={part!r} chooses no output: {what} has {n_units} output units, "
            f"{'which is number 0' if n_units == 1 else f'numbered 0 to {n_units - 1}'}."
        )
    return places.tolist()


def _all(part: Any) -> list[int]:
    return [int(number) for number in np.atleast_1d(part)]


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool | np.bool_)
