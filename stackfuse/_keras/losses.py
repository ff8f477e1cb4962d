"""Losses of Keras: what each compares, and which of them fit a target."""

from typing import Any

import keras

from stackfuse._core import messages, targets

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

#: What to do where a 0/1 matrix stands for classes.
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
    return False if getattr(loss, "__module__", "").startswith("keras.") else None


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
                f"The loss {loss_name(loss)!r} cannot teach {what} numbers. "
                "Use 'mean_squared_error', or a classifier if y holds classes."
            )
        return
    single = n_units == 1 or task == "multilabel"
    fitting = "'binary_crossentropy'" if single else "'sparse_categorical_crossentropy'"
    if stock in _MARGINS | _OTHERS:
        raise ValueError(
            f"The loss {loss_name(loss)!r} does not lead to probabilities of the classes. "
            f"Use {fitting}, or loss=None to have it chosen."
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
