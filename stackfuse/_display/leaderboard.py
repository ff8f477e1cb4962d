"""The scores of the bases and the stack, with their standard errors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import r2_score

from stackfuse._core import fitting, messages
from stackfuse._display import drawing, rowwise


class LeaderboardDisplay:
    """Scores of the bases and the stack, best first, with lines of two standard errors.

    Parameters
    ----------
    names : sequence of str
        The names of the models. The stack has the name ``"(stack)"`` and a colour.
    scores : array-like of shape (n_models,)
        The mean score of each model.
    errors : array-like of shape (n_models,)
        The standard errors of the scores; NaN where they are not known.
    metric : str, default="score"
        The name of the scores, for the label of the axis.
    greater_is_better : bool, default=True
        Whether a higher score is better.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    bases_, stack_ : matplotlib ErrorbarContainer or None
        The bars of the bases and of the stack; None if there are none.

    Examples
    --------
    >>> import stackfuse as sf
    >>> y = [0, 1, 1, 0]
    >>> said = {"one": [0.1, 0.8, 0.9, 0.4], "other": [0.5, 0.6, 0.5, 0.4]}
    >>> shown = sf.LeaderboardDisplay.from_predictions(y, said)
    >>> shown.metric, shown.scores.round(3).tolist()
    ('log-loss', [0.236, 0.602])
    """

    ax_: Any
    figure_: Any
    bases_: Any
    stack_: Any

    def __init__(
        self,
        names: Sequence[str],
        scores: Any,
        errors: Any,
        *,
        metric: str = "score",
        greater_is_better: bool = True,
    ):
        fitting.check_settings(
            {"greater_is_better": greater_is_better}, {"greater_is_better": fitting.FLAG}
        )
        self.names: list[str] = drawing.names_of(names)
        shape = (len(self.names),)
        self.scores: np.ndarray = drawing.numbers_of("scores", scores, shape)
        self.errors: np.ndarray = drawing.numbers_of("errors", errors, shape)
        self.metric = metric
        self.greater_is_better = greater_is_better

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        scoring: Any = None,
        sample_weight: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> "LeaderboardDisplay":
        """Draw the scores of a fitted stack and its bases, as ``stack.report()`` has them.

        Parameters
        ----------
        estimator : StackingClassifier or StackingRegressor
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        scoring : str or callable, default=None
            One of scikit-learn's scorers. By default, the log-loss or R2, as in the report.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the training of the meta-learner, and in the scores.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``errorbar``.

        Returns
        -------
        display : LeaderboardDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        report = drawing.report_of(estimator, X, scoring=scoring, sample_weight=sample_weight)
        estimates = [*(base.score for base in report.bases), report.stack]
        display = cls(
            [*(base.name for base in report.bases), rowwise.STACK],
            [estimate.mean for estimate in estimates],
            [estimate.error for estimate in estimates],
            metric=report.metric,
            greater_is_better=report.greater_is_better,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        metric: Callable[[Any, Any], float] | None = None,
        greater_is_better: bool = True,
        folds: Any = None,
        ax: Any = None,
    ) -> "LeaderboardDisplay":
        """Draw scores of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target: classes, 0/1 indicators of labels, or numbers.
        y_pred : dict of str to array-like
            Predictions by the names of the models: what `metric` takes. By default, probabilities
            of shape (n_samples, n_classes) for classes, numbers otherwise.
        metric : callable, default=None
            A function ``(y_true, prediction) -> float``, such as those of :mod:`sklearn.metrics`.
            By default, the log-loss for probabilities and R2 for numbers.
        greater_is_better : bool, default=True
            Whether a higher value of `metric` is better.
        folds : array-like of shape (n_samples,), default=None
            The number of each row's fold, -1 for none, as in ``oof.fold_ids``. With it, scores are
            means over folds and have standard errors.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.

        Returns
        -------
        display : LeaderboardDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the shape of a prediction does not fit y_true.
        """
        evidence = rowwise.evidence_of(y_true, y_pred)
        if metric is not None and not callable(metric):
            raise TypeError(
                "metric must be a function (y_true, prediction) -> float, such as "
                f"sklearn.metrics.accuracy_score, got {metric!r}."
            )
        if metric is not None:
            y, of, name = np.asarray(y_true), metric, getattr(metric, "__name__", "score")
            said = {model: np.asarray(one) for model, one in _named(y_pred).items()}
        elif evidence.kind == "numbers":
            y, of, name, said = evidence.y, r2_score, "R2", evidence.predictions
        else:
            y, of, name, said = evidence.y, _log_loss, "log-loss", evidence.predictions
            greater_is_better = False
        ids = np.zeros(len(y), int) if folds is None else np.asarray(folds)
        if ids.shape != (len(y),) or ids.dtype.kind not in "iu" or not (ids >= 0).any():
            raise ValueError(
                "folds must hold the number of each row's fold, -1 for none, got "
                f"{messages.in_short(folds)}."
            )
        parts = [ids == k for k in np.unique(ids[ids >= 0])]
        values = np.array([[of(y[rows], one[rows]) for rows in parts] for one in said.values()])
        if values.dtype.kind not in "biuf":
            raise TypeError(
                f"metric must return a number, got {messages.in_short(values.tolist()[0][0])}."
            )
        n_folds = len(parts)
        spread = values.std(axis=1, ddof=1) if n_folds > 1 else np.full(len(values), np.nan)
        display = cls(
            list(said),
            values.mean(axis=1),
            spread / np.sqrt(n_folds),
            metric=name,
            greater_is_better=greater_is_better,
        )
        return display.plot(ax)

    def plot(self, ax: Any = None, **kwargs: Any) -> "LeaderboardDisplay":
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``errorbar``.

        Returns
        -------
        display : LeaderboardDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = drawing.new_axes(ax, (6.4, 1.2 + 0.35 * len(self.names)))
        sign = 1 if self.greater_is_better else -1
        order = np.argsort(np.nan_to_num(sign * self.scores, nan=-np.inf), kind="stable")
        own = np.array([self.names[k] == rowwise.STACK for k in order])
        self.bases_ = self._errorbar(order, ~own, {"color": "0.45", **kwargs})
        self.stack_ = self._errorbar(order, own, {"color": "C0", **kwargs})
        names = drawing.labels_of(self.names)
        self.ax_.set_yticks(np.arange(len(names)), [names[k] for k in order])
        self.ax_.set_ylim(-0.6, len(names) - 0.4)
        better = "higher" if self.greater_is_better else "lower"
        self.ax_.set_xlabel(f"{self.metric} ({better} is better)\n± 2 standard errors")
        self.ax_.grid(axis="x", alpha=0.3)
        return self

    def _errorbar(self, order: np.ndarray, chosen: np.ndarray, style: dict):
        if not chosen.any():
            return None
        rows, places = order[chosen], np.flatnonzero(chosen)
        reach = 2 * np.nan_to_num(self.errors[rows])
        return self.ax_.errorbar(
            self.scores[rows], places, xerr=reach, **{"fmt": "o", "capsize": 3, **style}
        )


def _named(y_pred) -> dict[str, Any]:
    return dict(y_pred.items()) if hasattr(y_pred, "items") else {"model": y_pred}


def _log_loss(y: np.ndarray, said: np.ndarray) -> float:
    return float(rowwise.log_losses(y, said).mean())
