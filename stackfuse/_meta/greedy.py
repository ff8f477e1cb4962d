"""Ensemble selection: add base estimators one after another, the best one each time."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from stackfuse._core import fitting
from stackfuse._meta.combining.combiners import Combiner
from stackfuse._meta.combining.pooling import apply_link
from stackfuse._meta.scorers import (
    Score,
    ScoringClassifier,
    ScoringRegressor,
    finite_places,
    least_if_not_finite,
)


def select(
    predictions: np.ndarray,
    score: Score,
    among: Iterable[int],
    *,
    n_rounds: int,
    sorted_start: bool,
) -> np.ndarray:
    """Return how often each base has been chosen in the selection that scored best.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_models, n_outputs)
    score : callable
    among : iterable of int
        The bases to choose from.
    n_rounds : int
        The number of choices after the start.
    sorted_start : bool
        Whether to start with the bases that score best alone, as many as score best together.

    Returns
    -------
    counts : ndarray of shape (n_models,)
    """
    among = list(among)
    scores_alone = {k: score(predictions[:, k]) for k in among}
    counts = np.zeros(predictions.shape[1])
    best, best_score = counts, -np.inf
    if sorted_start:
        trial = counts.copy()
        for k in sorted(among, key=lambda k: -scores_alone[k]):  # the first of equals stays first
            trial = trial + np.eye(len(counts))[k]
            total = score(_average(predictions, trial))
            if total > best_score:
                best, best_score = trial, total
        counts = best
    for _ in range(n_rounds):
        trials = {k: counts + np.eye(len(counts))[k] for k in among}
        scores = {k: score(_average(predictions, trial)) for k, trial in trials.items()}
        chosen = max(among, key=lambda k: scores[k])
        counts = trials[chosen]
        if scores[chosen] > best_score:
            best, best_score = counts, scores[chosen]
    return best


def _average(predictions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.einsum("nkc,k->nc", predictions, counts / counts.sum())


_SETTINGS = {
    "sorted_start": fitting.FLAG,
    "bag_fraction": fitting.Wanted(
        lambda part: fitting.is_positive(part) and part <= 1, "above 0 and at most 1"
    ),
}


def _check_selection(selection) -> None:
    fitting.check_count("n_rounds", selection.n_rounds)
    fitting.check_count("n_bags", selection.n_bags)
    fitting.check_settings(selection.get_params(deep=False), _SETTINGS)
    if selection.random_state is not None:
        fitting.seed_of(selection.random_state)


class _Greedy(Combiner):
    """The selection, shared by classifier and regressor."""

    def _select_weights(self, predictions: np.ndarray, score: Score) -> np.ndarray:
        _check_selection(self)
        scores_alone = np.array([score(predictions[:, k]) for k in range(predictions.shape[1])])
        places = finite_places(scores_alone, self.scoring, len(predictions))
        score, bags = least_if_not_finite(score), [places]
        if self.n_bags > 1:
            rng = check_random_state(self.random_state)
            size = max(1, round(self.bag_fraction * len(places)))
            bags = [rng.choice(places, size, replace=False) for _ in range(self.n_bags)]
        settings = {"n_rounds": self.n_rounds, "sorted_start": self.sorted_start}
        counts = [select(predictions, score, np.sort(bag), **settings) for bag in bags]
        return np.mean([count / count.sum() for count in counts], axis=0)


class GreedyClassifier(_Greedy, ScoringClassifier):
    """Ensemble selection with replacement for classifiers, by any metric.

    A meta-learner for :class:`StackingClassifier`. Each round chooses the base, perhaps again, with
    which the average of all chosen bases scores best. The weight of a base is its share of the
    choices.

    Parameters
    ----------
    scoring : str or callable, default=None
        One of scikit-learn's scorers, by name or as a function `(estimator, X, y)`. By default,
        the log-loss.
    n_rounds : int, default=50
        The number of rounds. The selection that scored best on the way is kept.
    sorted_start : bool, default=True
        Whether to start with the bases that score best alone, as many of them as score best
        together. This keeps the selection from overfitting to its first choice.
    n_bags : int, default=1
        If more than one, the selection is repeated on this many random parts of the bases, and the
        weights are averaged. This helps with dozens of bases.
    bag_fraction : float, default=0.5
        The part of the bases in each bag, above 0 and at most 1.
    link : {"identity", "logit"}, default="identity"
        The numbers to average: probabilities, or their log-odds.
    random_state : int, RandomState or None, default=None
        Seeds the draw of the bags.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base if there are two classes; with more classes,
        each run of ``n_classes`` columns is a base. Columns that hold no probabilities are scores.

    Attributes
    ----------
    weights_ : ndarray of shape (n_models,)
        The weights. They are not negative and sum to one.
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
    Caruana, R., Niculescu-Mizil, A., Crew, G. and Ksikes, A. "Ensemble selection from libraries of
    models." ICML (2004).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[0.9, 0.4], [0.2, 0.6], [0.4, 0.9], [0.3, 0.2]])
    >>> meta = sf.GreedyClassifier(scoring="accuracy").fit(predictions, [1, 0, 1, 0])
    >>> meta.weights_.tolist()
    [0.5, 0.5]
    """

    def __init__(
        self,
        *,
        scoring: Any = None,
        n_rounds: int = 50,
        sorted_start: bool = True,
        n_bags: int = 1,
        bag_fraction: float = 0.5,
        link: str = "identity",
        random_state: Any = None,
        columns: Any = None,
    ):
        self.scoring = scoring
        self.n_rounds = n_rounds
        self.sorted_start = sorted_start
        self.n_bags = n_bags
        self.bag_fraction = bag_fraction
        self.link = link
        self.random_state = random_state
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        linked = apply_link(predictions, self.link, labels=self._is_multilabel)
        return self._select_weights(linked, self._score(target, weight))


class GreedyRegressor(_Greedy, ScoringRegressor):
    """Ensemble selection with replacement for regressors, by any metric.

    A meta-learner for :class:`StackingRegressor`. Each round chooses the base, perhaps again, with
    which the average of all chosen bases scores best. The weight of a base is its share of the
    choices.

    Parameters
    ----------
    scoring : str or callable, default=None
        One of scikit-learn's scorers, by name or as a function `(estimator, X, y)`. By default,
        the mean squared error.
    n_rounds : int, default=50
        The number of rounds. The selection that scored best on the way is kept.
    sorted_start : bool, default=True
        Whether to start with the bases that score best alone, as many of them as score best
        together. This keeps the selection from overfitting to its first choice.
    n_bags : int, default=1
        If more than one, the selection is repeated on this many random parts of the bases, and the
        weights are averaged. This helps with dozens of bases.
    bag_fraction : float, default=0.5
        The part of the bases in each bag, above 0 and at most 1.
    random_state : int, RandomState or None, default=None
        Seeds the draw of the bags.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base; with several targets, each run of
        ``n_outputs`` columns is one.

    Attributes
    ----------
    weights_ : ndarray of shape (n_models,)
        The weights. They are not negative and sum to one.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    Caruana, R., Niculescu-Mizil, A., Crew, G. and Ksikes, A. "Ensemble selection from libraries of
    models." ICML (2004).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 3.0]])
    >>> sf.GreedyRegressor().fit(predictions, [1.5, 2.5, 4.5]).weights_.tolist()
    [0.75, 0.25]
    """

    def __init__(
        self,
        *,
        scoring: Any = None,
        n_rounds: int = 50,
        sorted_start: bool = True,
        n_bags: int = 1,
        bag_fraction: float = 0.5,
        random_state: Any = None,
        columns: Any = None,
    ):
        self.scoring = scoring
        self.n_rounds = n_rounds
        self.sorted_start = sorted_start
        self.n_bags = n_bags
        self.bag_fraction = bag_fraction
        self.random_state = random_state
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        return self._select_weights(predictions, self._score(target, weight))
