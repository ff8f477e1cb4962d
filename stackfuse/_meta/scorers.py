"""Score a combination of predictions by scikit-learn's scorers, or by the loss."""

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from stackfuse._core import errors, messages
from stackfuse._meta.combining.combiners import (
    CombiningClassifier,
    CombiningRegressor,
)
from stackfuse._meta.combining.pooling import (
    invert_link,
    log_loss,
)

#: From averaged predictions of shape (n_samples, n_outputs) to a score; higher is better.
Score = Callable[[np.ndarray], float]


class ProbabilitiesAsX(ClassifierMixin, BaseEstimator):
    """A classifier that returns its X as probabilities, for scikit-learn's scorers."""

    def __init__(self, classes, labels):
        self.classes_ = classes
        self._is_multilabel = labels

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return (X > 0.5).astype(int) if self._is_multilabel else self.classes_[X.argmax(axis=1)]


class ScoresAsX(ClassifierMixin, BaseEstimator):
    """A classifier that returns its X as a decision function."""

    def __init__(self, classes):
        self.classes_ = classes

    def decision_function(self, X):
        return X[:, 0] if X.shape[1] == 1 else X

    def predict(self, X):
        return self.classes_[(X[:, 0] > 0).astype(int) if X.shape[1] == 1 else X.argmax(axis=1)]


class LabelsAsX(ClassifierMixin, BaseEstimator):
    """A classifier that returns its X as class numbers."""

    def __init__(self, classes):
        self.classes_ = classes

    def predict(self, X):
        return X[:, 0]


class NumbersAsX(RegressorMixin, BaseEstimator):
    """A regressor that returns its X as predictions."""

    def predict(self, X):
        return X


class ScoringClassifier(CombiningClassifier):
    """Base of the classifiers that try combinations and keep what scores best."""

    scoring: str | Callable | None

    def _score(self, target: np.ndarray, weight: np.ndarray) -> Score:
        labels = self._is_multilabel
        if self.scoring is None:

            def score(average: np.ndarray) -> float:
                probabilities = invert_link(average, self.link, labels=labels)
                return -float(log_loss(probabilities, target, weight, labels=labels))

            return score
        scorer, params = scorer_of(self.scoring), _weights_if_any(weight)
        reader = ProbabilitiesAsX(self.classes_, labels)
        y = target if labels else self.classes_[target]
        return lambda average: scorer(
            reader, invert_link(average, self.link, labels=labels), y, **params
        )


class ScoringRegressor(CombiningRegressor):
    """Base of the regressors that try combinations and keep what scores best."""

    scoring: str | Callable | None

    def _score(self, target: np.ndarray, weight: np.ndarray) -> Score:
        if self.scoring is None:
            return lambda average: (
                -float(np.average(np.square(average - target).mean(axis=1), weights=weight))
            )
        scorer, params = scorer_of(self.scoring), _weights_if_any(weight)
        y = target[:, 0] if self._y_is_column else target
        return lambda average: scorer(NumbersAsX(), average.reshape(y.shape), y, **params)


def scorer_of(scoring: str | Callable) -> Callable[..., float]:
    """Return a scorer, whose errors tell which it is.

    Parameters
    ----------
    scoring : str or callable
        One of scikit-learn's scorers, by name or as a function `(estimator, X, y)`.

    Returns
    -------
    scorer : callable
        It raises a ValueError if a model cannot be judged, a TypeError if the score is no number.
    """
    scorer = get_scorer(scoring)
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", str(scoring))

    def score(model, X, y, **params) -> float:
        try:
            value = scorer(model, X, y, **params)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            said = (
                errors.message_of(error).replace(type(model).__name__, "what is judged").rstrip(".")
            )
            several = "For several classes choose 'roc_auc_ovr'. " if "ovo" in said else ""
            raise ValueError(
                f"scoring={name!r} cannot judge these predictions: {said}. "
                f"{several}It is called as scoring(estimator, X, y): make such a function of a "
                "metric, sklearn.metrics.make_scorer(metric)."
            ) from error
        if np.ndim(value) or not isinstance(value, int | float | np.number | np.bool_):
            raise TypeError(
                f"scoring={name!r} must return a number, got {messages.in_short(value)}."
            )
        return float(value)

    return score


def least_if_not_finite(score: Score) -> Score:
    """Return a score that is minus infinity in place of NaN and infinity: such a choice loses."""

    def finite(average: np.ndarray) -> float:
        value = score(average)
        return float(value) if np.isfinite(value) else -np.inf

    return finite


def finite_places(scores: np.ndarray, scoring, n_samples: int) -> np.ndarray:
    """Return the numbers of the bases with a finite score; the others are never chosen.

    Raises
    ------
    ValueError
        If no score is finite.
    """
    places = np.flatnonzero(np.isfinite(scores))
    if not len(places):
        raise ValueError(
            f"scoring={scoring!r} is NaN or infinite for every base (n_samples = {n_samples}). "
            "Check the predictions and the target, or choose another scoring."
        )
    return places


def _weights_if_any(weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights as a parameter of a scorer, unless all rows weigh the same."""
    return {} if (weight == weight[0]).all() else {"sample_weight": weight}
