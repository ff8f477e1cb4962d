"""Calibration curves of predicted probabilities."""

from typing import Any

import numpy as np

from stackfuse._display import drawing, rowwise


class CalibrationDisplay:
    """Calibration curves of out-of-fold probabilities, for all bases and the stack.

    The stack is cross-fitted: its meta-learner predicts rows of folds that it was not trained on.

    Parameters
    ----------
    curves : dict of str to (ndarray, ndarray)
        For each model two arrays of shape (n_bins,): the mean predicted probability of each bin
        that holds rows, and the share of these rows that came true. The stack has the name
        ``"(stack)"`` and a thick line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    lines_ : dict of str to matplotlib Line2D
        The curves, by the name of the model.
    diagonal_ : matplotlib Line2D
        The curve of a perfectly calibrated model.

    Examples
    --------
    >>> import stackfuse as sf
    >>> said = {"one": [0.1, 0.8, 0.9, 0.4]}
    >>> shown = sf.CalibrationDisplay.from_predictions([0, 1, 1, 0], said, n_bins=2)
    >>> [values.round(2).tolist() for values in shown.curves["one"]]
    [[0.25, 0.85], [0.0, 1.0]]
    """

    ax_: Any
    figure_: Any
    diagonal_: Any
    lines_: dict[str, Any]

    def __init__(self, curves: dict[str, tuple[np.ndarray, np.ndarray]]):
        if not isinstance(curves, dict) or not curves:
            raise ValueError(
                "curves must be a dict of names of models to (mean predictions, mean outcomes), "
                f"got {curves!r}."
            )
        self.curves = curves

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        n_bins: int = 10,
        sample_weight: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> "CalibrationDisplay":
        """Draw the calibration of a fitted stack and its bases, from out-of-fold predictions.

        The stack's probabilities are those of meta-learners that were trained on other folds.

        Parameters
        ----------
        estimator : StackingClassifier
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        n_bins : int, default=10
            Number of bins of equal width, as in :func:`sklearn.calibration.calibration_curve`.
            More than two classes, or labels, are counted together, each against the rest.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the training of the meta-learner.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the stack is a regressor, or nothing in it gives probabilities.
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        report = drawing.report_of(estimator, X, sample_weight=sample_weight)
        return cls._of(report.evidence, n_bins).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_prob: Any, *, n_bins: int = 10, ax: Any = None, **kwargs: Any
    ) -> "CalibrationDisplay":
        """Draw the calibration of probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes, or 0/1 indicators of labels.
        y_prob : array-like, or dict of str to array-like
            Probabilities of shape (n_samples, n_classes) of one model, or of several models by
            name. The columns follow the sorted classes. For two classes, the probabilities of the
            second, of shape (n_samples,), are enough.
        n_bins : int, default=10
            Number of bins of equal width.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the predictions are numbers, or their shape does not fit y_true.
        """
        return cls._of(rowwise.evidence_of(y_true, y_prob), n_bins).plot(ax, **kwargs)

    @classmethod
    def _of(cls, evidence: rowwise.Evidence, n_bins: int) -> "CalibrationDisplay":
        if evidence.kind == "numbers":
            raise ValueError(
                "CalibrationDisplay draws probabilities, but got predictions of numbers: use "
                "ResidualsDisplay."
            )
        if not evidence.predictions:
            raise ValueError(
                "Neither the bases nor the meta-learner give probabilities: use estimators with "
                "predict_proba, or LeaderboardDisplay."
            )
        return cls(evidence.calibration(n_bins))

    def plot(self, ax: Any = None, **kwargs: Any) -> "CalibrationDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = drawing.new_axes(ax, (6.4, 5.2))
        ideal = {"color": "0.3", "linestyle": ":", "label": "perfectly calibrated"}
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], **ideal)
        self.lines_ = {}
        labels = drawing.labels_of(self.curves)
        for k, (name, (expected, happened)) in enumerate(self.curves.items()):
            own = name == rowwise.STACK
            style: dict[str, Any] = {"marker": "o", "markersize": 4, "label": labels[k]}
            style["linestyle"] = "-" if k < 10 or own else "--"  # there are ten colours
            style |= {"linewidth": 2.5, "color": "black", "zorder": 3} if own else {"linewidth": 1}
            (self.lines_[name],) = self.ax_.plot(expected, happened, **{**style, **kwargs})
        self.ax_.set_xlabel("mean predicted probability")
        self.ax_.set_ylabel("share that came true")
        drawing.add_legend(self.ax_)
        return self
