"""Losses of Keras: what each compares, and which of them fit a target."""

from typing import Any

import keras
import numpy as np

from stackfuse._core import messages, targets
from stackfuse._keras.architecture import last_activation

#: Losses over one column per class; they have no meaning for a single unit or separate labels.
_ONE_HOT = {
    "categoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "cosinesimilarity",
    "kldivergence",
}

#: Losses over class numbers whose names do not begin with "sparse".
_NUMBERED = {"categoricalgeneralizedcrossentropy"}

#: Losses that push a score to one side of a margin; a network learns no probabilities with them.
_MARGINS = {"categoricalhinge", "hinge", "squaredhinge"}

#: The advice for a 0/1 matrix that stands for classes.
_ONE_HOT_Y = " If y is one-hot, pass the classes and keep the loss: y.argmax(axis=1)."

#: Losses of embeddings and of sequences.
_OTHERS = {"circle", "ctc"}


def resolved(loss: Any, name: str = "loss") -> Any:
    """Return the function or object that a loss's name stands for.

    Raises
    ------
    ValueError
        If Keras knows no loss of this name.
    """
    return messages.keras_object_named(loss, keras.losses, name) if isinstance(loss, str) else loss


def loss_name(loss) -> str:
    """Return how a loss is called, for a message."""
    if isinstance(loss, str):
        return loss
    return getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__)


def is_sparse(loss) -> bool:
    """Whether a loss takes the numbers of the classes, instead of one column per class."""
    if loss is None:
        return False
    return loss_name(loss).lower().startswith("sparse") or stock_name(loss) in _NUMBERED


def from_logits(loss) -> bool | None:
    """Whether a loss expects logits; None if that is unknown."""
    loss = resolved(loss)
    if isinstance(loss, type):
        loss = loss()
    if isinstance(loss, keras.losses.Loss):
        # Stock losses other than the cross-entropies compare with probabilities.
        stock = type(loss).__module__.startswith("keras.")
        return loss.get_config().get("from_logits", False if stock else None)
    return False if str(getattr(loss, "__module__", "")).startswith("keras.") else None


def for_probabilities(loss: Any) -> Any:
    """Return the loss that compares probabilities where a loss compares class numbers.

    Parameters
    ----------
    loss : str, callable, keras.losses.Loss or None

    Raises
    ------
    ValueError
        If it takes class numbers and has no counterpart.
    """
    if not is_sparse(loss):
        return loss
    if stock_name(loss) != "sparsecategoricalcrossentropy":
        raise ValueError(
            f"The loss {loss_name(loss)!r} compares class numbers, but the target holds "
            "probabilities of the classes. Use 'categorical_crossentropy', or loss=None to have "
            "it chosen."
        )
    return keras.losses.CategoricalCrossentropy(from_logits=bool(from_logits(loss)))


def check_loss(loss: Any, task: targets.Task, n_units: int, what: str) -> None:
    """Raise if a loss of Keras does not fit a task; any other loss is accepted.

    Parameters
    ----------
    loss : str, callable, keras.losses.Loss or None
    task : str
        The task that y sets.
    n_units : int
        Width of the output.
    what : str
        Names the output.

    Raises
    ------
    ValueError
        Naming a loss that fits.
    """
    stock = stock_name(loss)
    if task in ("regression", "multioutput"):
        one_number = n_units == 1 and stock in _ONE_HOT  # of one number only the sign counts
        if stock and ("crossentropy" in stock or stock in _NUMBERED | _OTHERS or one_number):
            raise ValueError(
                f"The loss {loss_name(loss)!r} cannot train {what} to predict numbers. Use "
                "'mean_squared_error', or a classifier if y holds classes."
            )
        return
    single = n_units == 1 or task == "multilabel"
    fitting = "'binary_crossentropy'" if single else "'sparse_categorical_crossentropy'"
    if stock in _MARGINS | _OTHERS:
        raise ValueError(
            f"The loss {loss_name(loss)!r} does not train probabilities of the classes. Use "
            f"{fitting}, or loss=None to have it chosen."
        )
    if single and (is_sparse(loss) or stock in _ONE_HOT):
        units = "1 unit" if n_units == 1 else f"{n_units} units, one per label"
        raise ValueError(
            f"The loss {loss_name(loss)!r} needs one unit per class, but {what} "
            f"ends in {units}.{_ONE_HOT_Y if task == 'multilabel' else ''} Use {fitting}"
            f"{' if a row may have several labels' if task == 'multilabel' else ''}."
        )


def stock_name(loss) -> str:
    """Return the name of a loss of Keras in small letters alone; nothing for any other."""
    loss = resolved(loss)
    if isinstance(loss, keras.losses.Loss):
        loss = type(loss)
    if not (getattr(loss, "__module__", None) or "").startswith("keras."):
        return ""
    return getattr(loss, "__name__", "").replace("_", "").lower()


def axes_of_y(loss: Any, n_units: int, given: int) -> int:
    """Return whether a loss takes one column of y in one axis or in two.

    A loss of one's own that is written for the one broadcasts the other against all rows, and
    learns nonsense without an error. So it is tried on a few rows: the loss of several rows has to
    be that of each by itself. Where both forms do, or none (some losses compare rows), y stays as
    it was passed, as in Keras.

    Parameters
    ----------
    loss : callable, keras.losses.Loss or its class
    n_units : int
        Width of the outputs.
    given : {1, 2}
        The axes of y as it was passed.

    Raises
    ------
    ValueError
        If the loss fails for both.
    """
    loss = loss() if isinstance(loss, type) else loss
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    failures = {}
    for axes in (given, 3 - given):
        try:
            if _goes_row_by_row(function, n_units, axes):
                return axes
        except Exception as error:  # whatever the user's own code raises
            failures[axes] = error
    if len(failures) == 2:
        shape = "(n_samples,)" if given == 1 else "(n_samples, 1)"
        said = str(failures[given]).splitlines()[0]
        raise ValueError(
            f"The loss {loss_name(loss)!r} fails for y of shape {shape} and outputs of shape "
            f"(n_samples, {n_units}): {said}"
        ) from failures[given]
    return 3 - given if given in failures else given


def _goes_row_by_row(function, n_units: int, y_axes: int) -> bool:
    """Whether a loss of several rows is that of each row, or their mean or sum."""
    n_rows = n_units + 2  # numbers that do not broadcast by chance
    random = np.random.default_rng(0)
    y = random.uniform(0.1, 0.9, (n_rows, *[1] * (y_axes - 1))).astype("float32")
    outputs = random.uniform(0.1, 0.9, (n_rows, n_units)).astype("float32")

    def of(rows) -> np.ndarray:
        y_true, y_pred = (keras.ops.convert_to_tensor(array[rows]) for array in (y, outputs))
        return np.asarray(function(y_true, y_pred), np.float64)

    together = of(slice(None))
    alone = np.array([of(slice(k, k + 1)).mean() for k in range(n_rows)])
    if together.ndim:
        if len(together) != n_rows:
            return False
        by_row = together.reshape(n_rows, -1).mean(axis=1)
        return np.allclose(by_row, alone, rtol=1e-3, atol=1e-5, equal_nan=True)
    likes = (alone.mean(), alone.sum())
    return any(np.allclose(together, one, rtol=1e-3, atol=1e-5, equal_nan=True) for one in likes)


#: The least and the greatest number that activations give.
_REACH = {
    "exponential": (0.0, np.inf),
    "hard_sigmoid": (0.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softplus": (0.0, np.inf),
    "softsign": (-1.0, 1.0),
    "tanh": (-1.0, 1.0),
}

#: Losses that read numbers below 0 as 0, or have no minimum for them, by their plain names.
_OF_POSITIVE = ("poisson", "meansquaredlogarithmicerror")


def numbers_out_of_reach(model, y: np.ndarray) -> str | None:
    """Return why a network of one output cannot learn numbers, or None.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

    Returns
    -------
    sentence : str or None
        The numbers that its last activation does not give, or that its loss is not made for.
    """
    activation, loss = last_activation(model), stock_name(model.loss)
    least, most = _REACH.get(str(activation), (-np.inf, np.inf))
    what, advice = f"the network ends in activation={activation!r}, which gives", "end it without"
    if loss in _OF_POSITIVE and least < 0:
        least, what, advice = 0.0, f"the loss {loss!r} is for", "choose another loss"
    outside = (y < least) | (y > most)
    if not outside.any():
        return None
    reach = f"numbers from {least:g} {f'to {most:g}' if np.isfinite(most) else 'on'}"
    return (
        f"{what[0].upper()}{what[1:]} {reach}, but y holds {y[outside].ravel()[0]:.6g} "
        f"({int(outside.reshape(len(y), -1).any(axis=1).sum())} of {len(y)} rows): {advice}, or "
        "scale y, TransformedTargetRegressor(network, transformer=MinMaxScaler())."
    )
