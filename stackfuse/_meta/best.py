"""The discrete super learner: choose the one base estimator that scores best out-of-fold."""

from typing import Any

import numpy as np

from stackfuse._meta.combining.combiners import Combiner
from stackfuse._meta.scorers import (
    Score,
    ScoringClassifier,
    ScoringRegressor,
    finite_places,
)


class _Best(Combiner):
    """The choice of the best base, shared by classifier and regressor."""

    scores_: np.ndarray

    def _find_weights(self, predictions, target, weight):
        score: Score = self._score(target, weight)
        n_models = predictions.shape[1]
        self.scores_ = np.array([float(score(predictions[:, k])) for k in range(n_models)])
        places = finite_places(self.scores_, self.scoring, len(predictions))
        return np.eye(n_models)[places[self.scores_[places].argmax()]]

    @property
    def best_(self) -> str:
        """The name of the base with the best score."""
        return self.bases_[self.weights_.argmax()]


class BestClassifier(_Best, ScoringClassifier):
    """A meta-learner that uses the best classifier alone.

    It scores out-of-fold as the best base does: the benchmark for every other meta-learner of a
    :class:`StackingClassifier`.

    Parameters
    ----------
    scoring : str or callable, default=None
        One of scikit-learn's scorers, by name or as a function `(estimator, X, y)`. By default,
        the log-loss.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base if there are two classes; with more classes,
        each run of ``n_classes`` columns is a base. Columns that hold no probabilities are scores.

    Attributes
    ----------
    best_ : str
        The name of the base with the best score.
    scores_ : ndarray of shape (n_models,)
        The scores of all bases; higher is better.
    weights_ : ndarray of shape (n_models,)
        1 for the chosen base, 0 for the others.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    calibrators_ : list of (estimator or None)
        For each base the logistic regression that turns its scores into probabilities; None for
        a base that gives probabilities.
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
    >>> sf.BestClassifier().fit(predictions, ["yes", "no", "yes", "no"]).best_
    'x0'
    """

    def __init__(self, *, scoring: Any = None, columns: Any = None):
        self.scoring = scoring
        self.columns = columns


class BestRegressor(_Best, ScoringRegressor):
    """A meta-learner that uses the best regressor alone.

    Parameters
    ----------
    scoring : str or callable, default=None
        One of scikit-learn's scorers, by name or as a function `(estimator, X, y)`. By default,
        the mean squared error.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base; with several targets, each run of
        ``n_outputs`` columns is one.

    Attributes
    ----------
    best_ : str
        The name of the base with the best score.
    scores_ : ndarray of shape (n_models,)
        The scores of all bases; higher is better.
    weights_ : ndarray of shape (n_models,)
        1 for the chosen base, 0 for the others.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    van der Laan, M. J., Polley, E. C. and Hubbard, A. E. "Super learner." Statistical Applications
    in Genetics and Molecular Biology 6.1 (2007).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 3.0]])
    >>> sf.BestRegressor().fit(predictions, [1.5, 2.5, 4.5]).best_
    'x0'
    """

    def __init__(self, *, scoring: Any = None, columns: Any = None):
        self.scoring = scoring
        self.columns = columns
