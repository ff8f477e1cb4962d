"""Fusion strategies: functions from a list of tensors to one tensor, made of stock Keras layers."""

from collections.abc import Callable, Sequence

from stackfuse._checks import listed

#: (list of tensors of shape (batch, width_k)) -> tensor of shape (batch, width_out)
Fusion = Callable[[list], object]


def dense(tensors: list, *, hidden_units: Sequence[int] = (), activation: str = "relu"):
    """Concatenate, then pass dense layers.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, width_k)
        One per model.
    hidden_units : sequence of int, default=()
        Widths of the hidden layers; without any, the output layer sees the tensors themselves.
    activation : str, default="relu"
        Of the hidden layers.

    Returns
    -------
    tensor of shape (batch, width)
        Of the last hidden layer, or of the concatenation, in the tensors' dtype.
    """
    from keras import layers

    fused = layers.Concatenate(dtype=tensors[0].dtype)(tensors) if len(tensors) > 1 else tensors[0]
    for units in hidden_units:
        fused = layers.Dense(units, activation=activation, dtype=fused.dtype)(fused)
    return fused


FUSIONS: dict[str, Callable] = {"dense": dense}


def fusion_named(name: str) -> Callable:
    """Return the strategy of that name.

    Raises
    ------
    ValueError
        If there is none; the message lists them all.

    Examples
    --------
    >>> fusion_named("densest")
    Traceback (most recent call last):
        ...
    ValueError: fusion must be 'dense', got 'densest'.
    """
    if name not in FUSIONS:
        raise ValueError(f"fusion must be {listed(list(FUSIONS))}, got {name!r}.")
    return FUSIONS[name]
