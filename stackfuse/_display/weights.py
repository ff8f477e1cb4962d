"""Weights of the bases in the meta-learner."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackfuse._core import messages
from stackfuse._display import drawing


class WeightsDisplay:
    """Weights of the bases in the meta-learner, greatest first.

    Parameters
    ----------
    names : sequence of str
        The names of the bases.
    weights : array-like of shape (n_bases,)
        The weight of each base.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    bars_ : matplotlib BarContainer
        The bars, in the order of the names.

    Examples
    --------
    >>> import stackfuse as sf
    >>> shown = sf.WeightsDisplay(["net", "forest"], [0.3, 0.7]).plot()
    >>> [float(bar.get_width()) for bar in shown.bars_]
    [0.3, 0.7]
    """

    ax_: Any
    figure_: Any
    bars_: Any

    def __init__(self, names: Sequence[str], weights: Any):
        self.names: list[str] = drawing.names_of(names)
        self.weights: np.ndarray = drawing.numbers_of("weights", weights)
        if len(self.weights) != len(self.names):
            raise ValueError(
                f"weights must hold one for each of {self.names}, got {len(self.weights)}."
            )

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, ax: Any = None, **kwargs: Any
    ) -> "WeightsDisplay":
        """Draw the weights of a fitted stack, as ``stack.report()`` has them.

        Parameters
        ----------
        estimator : StackingClassifier or StackingRegressor
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``barh``.

        Returns
        -------
        display : WeightsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the meta-learner has neither weights nor importances nor coefficients.
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        bases = drawing.report_of(estimator, X).bases
        if all(np.isnan(base.weight) for base in bases):
            raise ValueError(
                "The meta-learner, "
                f"{messages.with_article(type(estimator.final_estimator_).__name__)}, has neither "
                "weights nor importances nor coefficients to draw. Use LeaderboardDisplay, or "
                "stack.report(), which shows how much worse the stack is without each base."
            )
        names = [base.name for base in bases]
        return cls(names, [base.weight for base in bases]).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> "WeightsDisplay":
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``barh``.

        Returns
        -------
        display : WeightsDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = drawing.new_axes(ax, (6.4, 1.2 + 0.35 * len(self.names)))
        order = np.argsort(self.weights, kind="stable")
        places = np.empty(len(order), int)
        places[order] = np.arange(len(order))  # the bars are in the order of the names
        self.bars_ = self.ax_.barh(places, self.weights, **{"height": 0.6, **kwargs})
        self.ax_.bar_label(self.bars_, fmt="%.2f", padding=3)
        self.ax_.set_yticks(places, drawing.labels_of(self.names))
        self.ax_.set_xlabel("weight in the meta-learner")
        self.ax_.margins(x=0.2)  # room for the numbers
        return self
