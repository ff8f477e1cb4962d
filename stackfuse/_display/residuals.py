"""Residuals of predicted numbers."""

from typing import Any, Literal

import numpy as np

from stackfuse._core import messages
from stackfuse._display import drawing, rowwise

_Kind = Literal["residual_vs_predicted", "actual_vs_predicted"]


class ResidualsDisplay:
    """Residuals, target minus prediction, over out-of-fold predictions of numbers.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        The target and the predictions.
    name : str, default=None
        The name of the model, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    scatter_ : matplotlib PathCollection
        The points, one per row.
    line_ : matplotlib Line2D
        The line on which predictions are right.

    Examples
    --------
    >>> import stackfuse as sf
    >>> shown = sf.ResidualsDisplay.from_predictions([1.0, 2.0, 3.5], [1.5, 2.0, 3.0])
    >>> shown.residuals.tolist()
    [-0.5, 0.0, 0.5]
    """

    ax_: Any
    figure_: Any
    line_: Any
    scatter_: Any

    def __init__(self, y_true: Any, y_pred: Any, *, name: str | None = None):
        self.y_true: np.ndarray = drawing.numbers_of("y_true", y_true)
        self.y_pred: np.ndarray = drawing.numbers_of("y_pred", y_pred, self.y_true.shape)
        self.name = name

    @property
    def residuals(self) -> np.ndarray:
        """Target minus prediction, of shape (n_samples,)."""
        return self.y_true - self.y_pred

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        name: Any = rowwise.STACK,
        kind: str = "residual_vs_predicted",
        ax: Any = None,
        **kwargs: Any,
    ) -> "ResidualsDisplay":
        """Draw the residuals of a fitted stack, or of one of its bases.

        Parameters
        ----------
        estimator : StackingRegressor
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        name : str, default="(stack)"
            The base to draw; by default the stack, with the predictions of meta-learners that
            were trained on other folds. Several targets are drawn together.
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
            The vertical axis over the predictions: target minus prediction, or the target.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the stack is a classifier, has no such base, or there is no such `kind`.
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        evidence = drawing.report_of(estimator, X).evidence
        if evidence.kind != "numbers":
            raise ValueError(
                "ResidualsDisplay draws predictions of numbers, but this stack is a classifier: "
                "use CalibrationDisplay."
            )
        if name not in evidence.predictions:
            known = list(evidence.predictions)
            raise ValueError(f"name must be one of {known}, got {name!r}.")
        said = evidence.predictions[name].reshape(len(evidence.y), -1)
        y = evidence.y.reshape(said.shape)
        known = np.isfinite(said)
        return cls(y[known], said[known], name=name).plot(ax, kind=kind, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        kind: _Kind = "residual_vs_predicted",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> "ResidualsDisplay":
        """Draw the residuals of predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_samples,)
            The target and the predictions.
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
            The vertical axis over the predictions: target minus prediction, or the target.
        name : str, default=None
            The name of the model, for the title.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such `kind`.
        """
        return cls(y_true, y_pred, name=name).plot(ax, kind=kind, **kwargs)

    def plot(
        self, ax: Any = None, *, kind: str = "residual_vs_predicted", **kwargs: Any
    ) -> "ResidualsDisplay":
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
            The vertical axis over the predictions: target minus prediction, or the target.
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay
            This display.

        Raises
        ------
        ValueError
            If there is no such `kind`.
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        kinds = ["residual_vs_predicted", "actual_vs_predicted"]
        if kind not in kinds:
            raise ValueError(f"kind must be {kinds[0]!r} or {kinds[1]!r}, got {kind!r}.")
        self.ax_, self.figure_ = drawing.new_axes(ax)
        over_residuals = kind == kinds[0]
        heights = self.residuals if over_residuals else self.y_true
        ends = np.array([self.y_pred.min(), self.y_pred.max()])
        style = {"color": "0.2", "linestyle": "--", "linewidth": 1}
        (self.line_,) = self.ax_.plot(ends, 0 * ends if over_residuals else ends, **style)
        look = {"s": 14, "alpha": 0.6, "linewidths": 0, **kwargs}
        self.scatter_ = self.ax_.scatter(self.y_pred, heights, **look)
        self.ax_.set_xlabel("out-of-fold prediction")
        self.ax_.set_ylabel("target minus prediction" if over_residuals else "target")
        if self.name is not None:
            self.ax_.set_title(messages.printable(self.name))
        return self
