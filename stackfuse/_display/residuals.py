"""How far predictions of numbers are off."""

from typing import Any, Literal

import numpy as np

from stackfuse._core import messages
from stackfuse._display import drawing, rowwise

_Kind = Literal["residual_vs_predicted", "actual_vs_predicted"]


class ResidualsDisplay:
    """Residuals, target minus prediction, over out-of-fold predictions of numbers.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
    name : str, default=None
        Of the model, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    scatter_ : matplotlib PathCollection
    line_ : matplotlib Line2D
        Where predictions are right.

    Examples
    --------
    >>> import stackfuse as sf
    >>> shown = sf.ResidualsDisplay.from_predictions([1.0, 2.0, 3.5], [1.5, 2.0, 3.0])
    >>> shown.residuals.tolist()
    [-0.5, 0.0, 0.5]
    """

    def __init__(self, y_true: Any, y_pred: Any, *, name: str | None = None):
        self.y_true = np.asarray(y_true, float)
        self.y_pred = np.asarray(y_pred, float)
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
        estimator : fitted StackingRegressor
        X : array-like of shape (n_samples, ...), default=None
            The rows of fit; needed with `passthrough` only.
        name : str, default="(stack)"
            Of the base to draw. The stack's predictions are those of meta-learners that were
            trained on other folds. Several targets are drawn together.
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
        ax : matplotlib Axes, default=None
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay

        Raises
        ------
        ValueError
            If the stack is a classifier, or has no such base.
        """
        evidence = drawing.report_of(estimator, X).evidence
        if evidence.kind != "numbers":
            raise ValueError(
                "ResidualsDisplay draws predictions of numbers, and this stack is a classifier: "
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
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
        name : str, default=None
            Of the model, for the title.
        ax : matplotlib Axes, default=None
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay
        """
        return cls(y_true, y_pred, name=name).plot(ax, kind=kind, **kwargs)

    def plot(
        self, ax: Any = None, *, kind: str = "residual_vs_predicted", **kwargs: Any
    ) -> "ResidualsDisplay":
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default new ones.
        kind : {"residual_vs_predicted", "actual_vs_predicted"}, default="residual_vs_predicted"
        **kwargs : dict
            Passed to matplotlib's ``scatter``.

        Returns
        -------
        display : ResidualsDisplay

        Raises
        ------
        ValueError
            If there is no such kind.
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
