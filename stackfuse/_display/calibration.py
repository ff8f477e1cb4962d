"""Whether probabilities mean what they say."""

from typing import Any

import numpy as np

from stackfuse._core import messages
from stackfuse._display import drawing, rowwise


class CalibrationDisplay:
    """Calibration curves of out-of-fold probabilities: of all bases and the cross-fitted stack.

    Parameters
    ----------
    curves : dict of str to (ndarray, ndarray)
        By model the mean predicted probabilities and the shares that came true, of each bin. The
        stack is called ``"(stack)"``, and stands out.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        By model.
    diagonal_ : matplotlib Line2D
        What a perfectly calibrated model would show.

    Examples
    --------
    >>> import stackfuse as sf
    >>> said = {"one": [0.1, 0.8, 0.9, 0.4]}
    >>> shown = sf.CalibrationDisplay.from_predictions([0, 1, 1, 0], said, n_bins=2)
    >>> [values.round(2).tolist() for values in shown.curves["one"]]
    [[0.25, 0.85], [0.0, 1.0]]
    """

    def __init__(self, curves: dict[str, tuple[np.ndarray, np.ndarray]]):
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
        estimator : fitted StackingClassifier
        X : array-like of shape (n_samples, ...), default=None
            The rows of fit; needed with `passthrough` only.
        n_bins : int, default=10
            Bins of equal width, as in :func:`sklearn.calibration.calibration_curve`. Of more than
            two classes, and of labels, all are counted together, each against the rest.
        sample_weight : array-like of shape (n_samples,), default=None
            Of the meta-learner's training.
        ax : matplotlib Axes, default=None
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay

        Raises
        ------
        ValueError
            If nothing in the stack gives probabilities.
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
            Probabilities of one model, or of several by name, of shape (n_samples, n_classes),
            their columns in the order of the sorted classes; of two classes those of the second
            suffice.
        n_bins : int, default=10
        ax : matplotlib Axes, default=None
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay
        """
        return cls._of(rowwise.evidence_of(y_true, y_prob), n_bins).plot(ax, **kwargs)

    @classmethod
    def _of(cls, evidence: rowwise.Evidence, n_bins: int) -> "CalibrationDisplay":
        if evidence.kind == "numbers":
            raise ValueError(
                "CalibrationDisplay draws probabilities, and these are predictions of numbers: use "
                "ResidualsDisplay."
            )
        if not evidence.predictions:
            raise ValueError(
                "Neither the bases nor the meta-learner give probabilities: use estimators with "
                "predict_proba, or LeaderboardDisplay."
            )
        return cls(evidence.calibration(n_bins))

    def plot(self, ax: Any = None, **kwargs: Any) -> "CalibrationDisplay":
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CalibrationDisplay
        """
        self.ax_, self.figure_ = drawing.new_axes(ax, (6.4, 5.2))
        ideal = {"color": "0.3", "linestyle": ":", "label": "perfectly calibrated"}
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], **ideal)
        self.lines_ = {}
        for name, (expected, happened) in self.curves.items():
            own = name == rowwise.STACK
            style = {"marker": "o", "markersize": 4, "label": messages.printable(name)}
            style |= {"linewidth": 2.5, "color": "black", "zorder": 3} if own else {"linewidth": 1}
            (self.lines_[name],) = self.ax_.plot(expected, happened, **{**style, **kwargs})
        self.ax_.set_xlabel("mean predicted probability")
        self.ax_.set_ylabel("share that came true")
        self.ax_.legend(loc="best", fontsize="small")
        return self
