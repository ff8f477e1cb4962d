"""Checks of a network before it is used."""

from typing import Any

import keras

from stackfuse._core import multi_input
from stackfuse._keras import private
from stackfuse._keras.rows import Rows


def check_network(model, X) -> None:
    """Raise unless a network takes batches of any size of X's rows.

    Builds a sequential model without an input layer for X.

    Parameters
    ----------
    model : keras.Model
    X : ndarray, sparse matrix or MultiInput

    Raises
    ------
    ValueError
        If the model has a fixed batch size, keeps state between batches, or takes other rows.
    """
    shapes = multi_input.row_shapes(X)
    if isinstance(model, keras.Sequential) and not model.built and isinstance(shapes, tuple):
        try:
            model.build((None, *shapes))  # a first call would fix the number of rows
        except ValueError as error:
            raise ValueError(
                f"The model {model.name!r} cannot take rows of shape {shapes}, the shape of "
                f"X: {error}"
            ) from error
    for layer in private.flatten_layers(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} of model {model.name!r} is stateful. It would carry "
                "its state from one batch of rows to another, although they are unrelated. Use "
                "stateful=False."
            )
    for name, tensor in Rows(X, model).inputs.items():
        if tensor.shape[0] is not None:
            raise ValueError(
                f"The input {name!r} of model {model.name!r} is for {tensor.shape[0]} rows at a "
                "time, but the last batch may be smaller. Begin the model with keras.Input(shape), "
                "without batch_size or batch_shape."
            )
        several = isinstance(shapes, dict)
        _check_shape(model, name, tensor.shape[1:], shapes[name] if several else shapes, several)


def _check_shape(model, name: str, wanted: Any, given: tuple, several: bool) -> None:
    """Raise if rows of one shape do not fit an input; Keras adds or drops a last axis of one."""
    added, dropped = wanted[-1:] == (1,), given[-1:] == (1,)
    if _fits(wanted, given) or (added and _fits(wanted[:-1], given)):
        return
    if dropped and _fits(wanted, given[:-1]):
        return
    rows, meta = ("X", "")
    if several:
        rows, meta = f"X[{name!r}]", f"[{name!r}]"
    raise ValueError(
        f"The input {name!r} of model {model.name!r} takes rows of shape {tuple(wanted)}, but "
        f"{rows} has rows of shape {given}. Let the builder take the shape from the data: "
        f'def build(meta): ... keras.Input(meta["X_shape_"]{meta}[1:]).'
    )


def _fits(wanted: tuple, given: tuple) -> bool:
    return len(wanted) == len(given) and all(w in (None, g) for w, g in zip(wanted, given))
