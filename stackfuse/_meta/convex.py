"""The super learner: a convex combination of the bases' predictions."""

from typing import Any

import numpy as np

from stackfuse._core import fitting
from stackfuse._meta.combining.combiners import (
    CombiningClassifier,
    CombiningRegressor,
)
from stackfuse._meta.combining.pooling import (
    SMALLEST_SUM,
    apply_link,
    invert_link,
    log_loss,
)
from stackfuse._meta.combining.simplex import (
    least_squares,
    minimise,
)


class ConvexClassifier(CombiningClassifier):
    """Weights that are not negative and sum to one, with the smallest log-loss.

    A meta-learner for :class:`StackingClassifier`: a weighted average of the bases' probabilities
    is as well calibrated as they are, and cannot overfit much with one weight per base.

    Parameters
    ----------
    link : {"identity", "logit"}, default="identity"
        The numbers to average: probabilities, or their log-odds, which are scaled to sum to one
        afterwards. Averaged log-odds are more extreme.
    per_class : bool, default=False
        Whether each class, or label, has weights of its own.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base if there are two classes; with more classes,
        each run of ``n_classes`` columns is a base. Columns that hold no probabilities are scores.

    Attributes
    ----------
    weights_ : ndarray of shape (n_models,), or (n_models, n_classes) with `per_class`
        The weights. They are not negative, and sum to one over the bases.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    calibrators_ : list of (estimator or None)
        For each base with scores, such as those of ``decision_function``, the logistic regression
        that turns them into probabilities (Platt scaling); None for other bases.
    classes_ : ndarray of shape (n_classes,)
        The labels; for a multilabel target the numbers of its columns.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    van der Laan, M. J., Polley, E. C. and Hubbard, A. E. "Super learner." Statistical Applications
    in Genetics and Molecular Biology 6.1 (2007).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[0.9, 0.4], [0.2, 0.6], [0.7, 0.7], [0.3, 0.5]])
    >>> meta = sf.ConvexClassifier().fit(predictions, ["yes", "no", "yes", "no"])
    >>> meta.weights_.round(3).tolist()
    [1.0, 0.0]
    """

    def __init__(self, *, link: str = "identity", per_class: bool = False, columns: Any = None):
        self.link = link
        self.per_class = per_class
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        fitting.check_settings({"per_class": self.per_class}, {"per_class": fitting.FLAG})
        if not self._is_multilabel:
            return _minimise_log_loss(predictions, target, weight, self.link, self.per_class)
        # Each label is a problem of two classes. Without weights per label, all are one problem.
        pairs = np.stack([1 - predictions, predictions], axis=-1)
        if self.per_class:
            labels = range(target.shape[1])
            parts = [
                _minimise_log_loss(pairs[:, :, j], target[:, j], weight, self.link) for j in labels
            ]
            return np.column_stack(parts)
        rows = pairs.swapaxes(1, 2).reshape(-1, *pairs.shape[1::2])
        return _minimise_log_loss(
            rows, target.ravel(), np.repeat(weight, target.shape[1]), self.link
        )


def _minimise_log_loss(
    predictions: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    link: str,
    per_class: bool = False,
) -> np.ndarray:
    """Return the weights with the smallest log-loss.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_models, n_classes)
    target : ndarray of shape (n_samples,)
    weight : ndarray of shape (n_samples,)
    link : {"identity", "logit"}
    per_class : bool
    """
    linked = apply_link(predictions, link, labels=False)
    share = weight / weight.sum()
    is_true = np.eye(linked.shape[2])[target]

    def loss(weights):
        average = (linked * weights).sum(axis=1)
        probabilities = invert_link(average, link, labels=False)
        if link == "identity":
            average = np.maximum(average, SMALLEST_SUM)
            slope = 1 / average.sum(axis=1, keepdims=True) - is_true / average
        else:
            slope = probabilities - is_true
        # The chain rule: from the slope by each average to the slope by each weight.
        gradient = np.einsum("nc,nkc->kc", slope * share[:, None], linked)
        if weights.shape[1] == 1:
            gradient = gradient.sum(axis=1, keepdims=True)
        return log_loss(probabilities, target, share, labels=False), gradient

    n_models, n_classes = linked.shape[1:]
    shared = minimise(loss, np.full((n_models, 1), 1 / n_models))
    if not per_class:
        return shared[:, 0]
    return minimise(loss, np.repeat(0.9 * shared + 0.1 / n_models, n_classes, axis=1))


class ConvexRegressor(CombiningRegressor):
    """Weights that are not negative and sum to one, with the smallest squared error.

    Parameters
    ----------
    per_output : bool, default=False
        Whether each column of y has weights of its own.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base; with several targets, each run of
        ``n_outputs`` columns is one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_models,), or (n_models, n_outputs) with `per_output`
        The weights. They are not negative, and sum to one over the bases.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    Breiman, L. "Stacked regressions." Machine Learning 24 (1996): 49-64.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 3.0]])
    >>> sf.ConvexRegressor().fit(predictions, [1.5, 2.5, 4.5]).weights_.round(3).tolist()
    [0.75, 0.25]
    """

    def __init__(self, *, per_output: bool = False, columns: Any = None):
        self.per_output = per_output
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        fitting.check_settings({"per_output": self.per_output}, {"per_output": fitting.FLAG})
        errors = (predictions - target[:, None]) * np.sqrt(weight)[:, None, None]
        if self.per_output:
            return np.column_stack([least_squares(column) for column in errors.transpose(2, 0, 1)])
        return least_squares(errors.swapaxes(1, 2).reshape(-1, errors.shape[1]))
