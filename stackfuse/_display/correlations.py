"""Correlations of the errors of the bases."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackfuse._display import drawing, rowwise


class ErrorCorrelationDisplay:
    """Correlations of the bases' errors: bases that err differently help each other.

    Parameters
    ----------
    names : sequence of str
        The names of the bases.
    correlations : array-like of shape (n_bases, n_bases)
        The correlation of the errors of each pair of bases, from -1 to 1.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    image_ : matplotlib AxesImage
        The matrix as colours.
    texts_ : list of list of matplotlib Text
        The number in each cell.

    Examples
    --------
    >>> import stackfuse as sf
    >>> said = {"one": [1.0, 2.5, 3.0], "other": [1.5, 2.5, 2.0]}
    >>> shown = sf.ErrorCorrelationDisplay.from_predictions([1.0, 2.0, 3.5], said)
    >>> float(shown.correlations[0, 1].round(3))
    0.866
    """

    ax_: Any
    figure_: Any
    image_: Any
    texts_: list[list[Any]]

    def __init__(self, names: Sequence[str], correlations: Any):
        self.names: list[str] = drawing.names_of(names)
        shape = (len(self.names), len(self.names))
        self.correlations: np.ndarray = drawing.numbers_of("correlations", correlations, shape)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, ax: Any = None, **kwargs: Any
    ) -> "ErrorCorrelationDisplay":
        """Draw the correlations of a fitted stack's bases, as ``stack.report()`` has them.

        Parameters
        ----------
        estimator : StackingClassifier or StackingRegressor
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : ErrorCorrelationDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        matrix = drawing.report_of(estimator, X).correlations
        return cls([str(name) for name in matrix.index], matrix).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_pred: Any, *, ax: Any = None, **kwargs: Any
    ) -> "ErrorCorrelationDisplay":
        """Draw the correlations of the errors of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target: classes, 0/1 indicators of labels, or numbers.
        y_pred : dict of str to array-like
            Predictions by the names of the models: probabilities of shape (n_samples, n_classes)
            for classes, numbers in the shape of y_true otherwise.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : ErrorCorrelationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the shape of a prediction does not fit y_true.
        """
        evidence = rowwise.evidence_of(y_true, y_pred)
        errors = np.array([evidence.errors(name).ravel() for name in evidence.predictions])
        known = np.isfinite(errors).all(axis=0)
        matrix = np.atleast_2d(np.corrcoef(errors[:, known]))
        return cls(list(evidence.predictions), matrix).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> "ErrorCorrelationDisplay":
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``imshow``.

        Returns
        -------
        display : ErrorCorrelationDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        n_models = len(self.names)
        self.ax_, self.figure_ = drawing.new_axes(ax, (3.6 + 0.6 * n_models, 2.4 + 0.6 * n_models))
        style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, **kwargs}
        self.image_ = self.ax_.imshow(self.correlations, **style)
        self.texts_ = [
            [self._cell(row, column) for column in range(n_models)] for row in range(n_models)
        ]
        places = np.arange(n_models)
        names = drawing.labels_of(self.names)
        self.ax_.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
        self.ax_.set_yticks(places, names)
        self.figure_.colorbar(self.image_, ax=self.ax_, label="correlation of errors")
        return self

    def _cell(self, row: int, column: int):
        value = self.correlations[row, column]
        red, green, blue, _ = self.image_.cmap(self.image_.norm(value))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 or np.isnan(value)
        words = "" if np.isnan(value) else f"{value:.2f}"
        colour = "black" if light else "white"
        style = {"ha": "center", "va": "center", "fontsize": "small"}
        return self.ax_.text(column, row, words, color=colour, **style)
