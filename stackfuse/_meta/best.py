"""The discrete super learner: choose the one base estimator that scores best out-of-fold."""

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

    def _find_weights(self, predictions, target, weight):
        score: Score = self._score(target, weight)
        n_models = predictions.shape[1]
        self.scores_ = np.array([float(score(predictions[:, k])) for k in range(n_models)])
        places = finite_places(self.scores_, self.scoring, len(predictions))
        return np.eye(n_models)[places[self.scores_[places].argmax()]]

    @property
    def best_(self) -> str:
        """The name of the chosen base."""
        return self.bases_[self.weights_.argmax()]


class BestClassifier(_Best, ScoringClassifier):
    """The base that scores best, alone.

    A meta-learner for :class:`StackingClassifier` that scores out-of-fold as the best base does:
    the benchmark for every other meta-learner.

    Parameters
    ----------
    scoring : str or callable, default=None
        Any of scikit-learn's scorers; by default the log-loss.
    columns : list of Column, default=None
        See :class:`ConvexClassifier`.

    Attributes
    ----------
    best_ : str
        The name of the chosen base.
    scores_ : ndarray of shape (n_models,)
        Of all bases; higher is better.
    weights_ : ndarray of shape (n_models,)
        One for the chosen base, else zero.
    bases_, blocks_, calibrators_, classes_, n_features_in_
        See :class:`ConvexClassifier`.

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

    def __init__(self, *, scoring=None, columns=None):
        self.scoring = scoring
        self.columns = columns


class BestRegressor(_Best, ScoringRegressor):
    """The base that scores best, alone, for numbers.

    Parameters
    ----------
    scoring : str or callable, default=None
        Any of scikit-learn's scorers; by default the mean squared error.
    columns : list of Column, default=None
        See :class:`ConvexRegressor`.

    Attributes
    ----------
    best_, scores_, weights_, bases_, blocks_, n_features_in_
        See :class:`BestClassifier`.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 3.0]])
    >>> sf.BestRegressor().fit(predictions, [1.5, 2.5, 4.5]).best_
    'x0'
    """

    def __init__(self, *, scoring=None, columns=None):
        self.scoring = scoring
        self.columns = columns
