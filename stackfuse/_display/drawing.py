"""Parts that displays share: axes of matplotlib, imported when drawing, and reports of stacks."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import messages

#: The most letters of a name in a picture, and the most entries of a legend inside of one.
_LETTERS, _ENTRIES = 32, 6


def new_axes(ax: Any = None, size: tuple[float, float] | None = None):
    """Return the axes that are given, or new ones, and their figure.

    Parameters
    ----------
    ax : matplotlib Axes, default=None
    size : tuple of float, default=None
        Width and height of a new figure in inches.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if ax is not None and not hasattr(ax, "figure"):
        raise TypeError(f"ax must be matplotlib Axes or None, got {messages.in_short(ax)}.")
    if ax is not None:
        return ax, ax.figure
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install 'stackfuse[plot]'."
        ) from error
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    return ax, figure


def check_stack(estimator, what: str = "report") -> None:
    """Raise unless an estimator is a fitted stack.

    Raises
    ------
    TypeError
        If it is no stack.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    if not hasattr(estimator, what):
        raise TypeError(
            "from_estimator takes a fitted StackingClassifier or StackingRegressor, got a "
            f"{type(estimator).__name__}: pass pipeline[-1] of a pipeline, or best_estimator_ of "
            "a search."
        )
    check_is_fitted(estimator)


def report_of(estimator, X=None, **options):
    """Return the report of a fitted stack."""
    check_stack(estimator)
    return estimator.report(X, **options)


def names_of(names: Any) -> list[str]:
    """Return names of models as a list; raise ValueError if there is none."""
    listed = [] if isinstance(names, str) or not hasattr(names, "__iter__") else list(names)
    if not listed:
        raise ValueError(f"names must be a list of names of models, got {names!r}.")
    return listed


def labels_of(names: Iterable[Any]) -> list[str]:
    """Return names as a picture shows them: long ones without their middle, if they still differ.

    Examples
    --------
    >>> labels_of(["gradient_boosting_of_all_the_columns_1", "forest"])
    ['gradient_boostin…l_the_columns_1', 'forest']
    """
    whole = [messages.printable(name) for name in names]
    short = [messages.shortened(name, _LETTERS) for name in whole]
    labels = short if len(set(short)) == len(set(whole)) else whole
    return [label.replace("$", r"\$") for label in labels]  # it would begin a formula


def add_legend(ax) -> None:
    """Name the lines of a picture: at its side where there are many."""
    many = len(ax.get_legend_handles_labels()[0]) > _ENTRIES
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    ax.legend(fontsize="small", **(beside if many else {"loc": "best"}))


def numbers_of(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return numbers to draw as an array.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they have another shape, or there are none.
    """
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold numbers, got {messages.in_short(values)}.") from None
    if not array.ndim or not array.size or (shape is not None and array.shape != shape):
        wanted = "hold a number for each row" if shape is None else f"have the shape {shape}"
        raise ValueError(f"{name} must {wanted}, got the shape {array.shape}.")
    return array
