"""Nearest neighbours that share equal distances: what ``ties="average"`` puts in their place.

Where training rows lie at equal distances, scikit-learn's search takes some of them, by the tree
that it has built or the order in which it computes. The estimators here take all of them, with
shares. They are scikit-learn's but for that, and compute in numpy: they tell what a graph must
return.

Let r be the distance of a row x to the k-th nearest training row, to the power that is compared
(squares, where the distance is Euclidean). Training rows are equally far as that one if theirs
differs from r by no more than

    1e-10 * r + (n_features + 8) * 2**-52 * (|x|**2 + max |row|**2)

the second term of Euclidean distances only: it is what rounding makes of them. Lengths are taken
from the middle of the training rows where scikit-learn searches in a tree, which is more exact.
All nearer rows count fully. If there are n of these, the m equally far ones count (k - n) / m each.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from scipy.sparse import issparse
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.impute import KNNImputer
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils.validation import validate_data

from stackfuse._core import messages, sklearn_private

#: The values of ``ties``, for neighbours that scikit-learn chooses by chance.
TIES = ("refuse", "average")

#: The relative difference up to which distances are equal, by the dtype that they are computed in.
RELATIVE = {"float64": 1e-10, "float32": 1e-6}

#: Numbers of distances that are held at a time.
_AT_ONCE = 2**21

#: Where masks of rows that had a choice are put while :func:`rows_with_choice` asks.
_choices: ContextVar[list[np.ndarray] | None] = ContextVar("choices", default=None)


def check_ties(ties: Any) -> None:
    """Raise ValueError unless this is what can be done about ties."""
    if ties not in TIES:
        raise ValueError(f"ties must be {messages.listed(TIES)}, got {ties!r}.")


def exponent_of(metric: Any, parameters: Any) -> float | None:
    """Return the p of a Minkowski distance by scikit-learn's name for it, or None for others."""
    if parameters.get("w") is not None:
        return None
    if metric in ("minkowski", "p"):
        return float(parameters.get("p", 2))
    p = {"euclidean": 2, "l2": 2, "sqeuclidean": 2, "manhattan": 1, "cityblock": 1, "l1": 1}
    p |= {"chebyshev": np.inf, "infinity": np.inf}
    return float(p[metric]) if isinstance(metric, str) and metric in p else None


@dataclass(frozen=True)
class Slack:
    """By how much distances may differ that count as equal.

    Attributes
    ----------
    origin : ndarray of shape (n_features,)
        Where lengths of rows are taken from.
    per_square : float
        The slack per squared length; 0 unless distances are Euclidean.
    longest : float
        The largest squared length of a training row.
    """

    origin: np.ndarray
    per_square: float
    longest: float

    @classmethod
    def of(cls, rows: np.ndarray, *, euclidean: bool, in_tree: bool) -> "Slack":
        """Return the slack of training rows; missing numbers count as zero."""
        rows = np.nan_to_num(rows)
        origin = np.median(rows, axis=0) if in_tree else np.zeros(rows.shape[1])
        longest = float(np.max(np.sum((rows - origin) ** 2, axis=1)))
        per_square = (rows.shape[1] + 8) * 2.0**-52 if euclidean else 0.0
        return cls(origin, per_square, longest)

    def floor(self, X: np.ndarray) -> np.ndarray:
        """Return the slack that rounding makes necessary, shape (n_samples, 1)."""
        squares = np.sum((np.nan_to_num(X) - self.origin) ** 2, axis=1, keepdims=True)
        return self.per_square * (squares + self.longest)


def slack_of(neighbors, rows: np.ndarray) -> Slack:
    """Return the slack of a fitted estimator by nearest neighbours."""
    p = exponent_of(neighbors.effective_metric_, neighbors.effective_metric_params_)
    return Slack.of(rows, euclidean=p == 2, in_tree=neighbors._fit_method != "brute")


@dataclass(frozen=True)
class _Shares:
    """How much each training row counts for each row.

    Attributes
    ----------
    inside, tied : ndarray of shape (n_samples, n_rows)
        The weights of rows that are nearer, and whether rows are equally far as the k-th.
    of_tied : ndarray of shape (n_samples, 1)
        The weight of each of the latter.
    choice : ndarray of bool, shape (n_samples,)
        Whether more rows are equally far than are wanted.
    """

    inside: np.ndarray
    tied: np.ndarray
    of_tied: np.ndarray
    choice: np.ndarray

    @classmethod
    def of(cls, reduced: np.ndarray, floor: np.ndarray, k: int, weigh: Callable) -> "_Shares":
        """Return the shares for distances to some power; infinite ones count nothing."""
        last = np.partition(reduced, k - 1, axis=1)[:, k - 1 : k]
        slack = RELATIVE["float64"] * last + floor
        is_far = np.isinf(last)
        finite = np.where(is_far, 0.0, last)
        inside = reduced < np.where(is_far, np.inf, finite - slack)
        tied = ~is_far & (np.abs(reduced - finite) <= slack)
        n_inside, n_tied = inside.sum(axis=1, keepdims=True), tied.sum(axis=1, keepdims=True)
        weights, of_last = weigh(np.where(inside, reduced, np.inf), finite, floor)
        of_tied = of_last * (k - n_inside) / np.maximum(n_tied, 1)
        choice = (n_inside + n_tied > k) & (of_tied > 0)
        return cls(
            np.where(inside, weights, 0.0), tied, np.where(is_far, 0.0, of_tied), choice[:, 0]
        )

    def sums(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weighed sums of values, and of the weights; remember rows with a choice."""
        of_tied = self.tied.astype(np.float64) @ values
        total = self.inside @ values + self.of_tied * of_tied
        weight = self.inside.sum(axis=1, keepdims=True)
        weight = weight + self.of_tied * self.tied.sum(axis=1, keepdims=True)
        return total, weight

    def matters(self, values: np.ndarray) -> np.ndarray:
        """Return for each row whether the choice changes the sums."""
        found = np.zeros(len(self.choice), bool)
        for row in np.flatnonzero(self.choice):
            found[row] = np.ptp(values[self.tied[row]], axis=0).any()
        return found


def _weigh(kind: str | None, power: float) -> Callable:
    """Return a function that weighs neighbours by their distances to a power."""

    def weigh(inside, last, floor):
        if kind in (None, "uniform"):
            return np.ones_like(inside), np.ones_like(last)
        with np.errstate(divide="ignore"):
            weights, of_last = inside ** (-1 / power), last ** (-1 / power)
        same, last_is_same = inside <= floor, last <= floor
        any_same = same.any(axis=1, keepdims=True) | last_is_same
        weights = np.where(any_same, same.astype(np.float64), weights)
        return weights, np.where(any_same, last_is_same.astype(np.float64), of_last)

    return weigh


class _AveragedNeighbors:
    """The part that classifier and regressor share."""

    def _sums(self: Any, X, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        X = np.asarray(X.toarray() if issparse(X) else X, np.float64)
        rows = np.asarray(self._fit_X.toarray() if issparse(self._fit_X) else self._fit_X)
        p = exponent_of(self.effective_metric_, self.effective_metric_params_) or 2.0
        power = 1.0 if p == np.inf or self.effective_metric_ == "sqeuclidean" else p
        slack, weigh = slack_of(self, rows), _weigh(self.weights, power)
        parts = []
        step = max(1, _AT_ONCE // len(rows))
        for start in range(0, len(X), step):
            some = X[start : start + step]
            reduced = _reduced(some, rows, p)
            shares = _Shares.of(reduced, slack.floor(some), self.n_neighbors, weigh)
            parts.append((*shares.sums(values), shares.matters(values)))
        total, weight, choice = (np.concatenate(part) for part in zip(*parts))
        _remember(choice)
        return total, weight


def _reduced(X: np.ndarray, rows: np.ndarray, p: float) -> np.ndarray:
    if p == 2:
        return cdist(X, rows, "sqeuclidean")
    if p == 1:
        return cdist(X, rows, "cityblock")
    return cdist(X, rows, "chebyshev") if p == np.inf else cdist(X, rows, "minkowski", p=p) ** p


class AveragedKNeighborsClassifier(_AveragedNeighbors, KNeighborsClassifier):
    """A fitted ``KNeighborsClassifier`` in which equally far rows share their votes."""

    def predict_proba(self, X):
        """Return the shares of the votes."""
        votes, weight = self._sums(X, one_hot(self))
        shares = split_by_output(self, votes / weight)
        return shares if self.outputs_2d_ else shares[0]

    def predict(self, X):
        """Return the class with the most votes, the first of several."""
        votes = split_by_output(self, self._sums(X, one_hot(self))[0])
        labels = [c[v.argmax(axis=1)] for c, v in zip(classes_by_output(self), votes)]
        return np.stack(labels, axis=1) if self.outputs_2d_ else labels[0]


class AveragedKNeighborsRegressor(_AveragedNeighbors, KNeighborsRegressor):
    """A fitted ``KNeighborsRegressor`` in which equally far rows share their weights."""

    def predict(self, X):
        """Return the weighed means."""
        y = np.asarray(self._y, np.float64)
        total, weight = self._sums(X, y.reshape(len(y), -1))
        return (total / weight).reshape(-1, *y.shape[1:])


def classes_by_output(estimator) -> list[np.ndarray]:
    """Return the classes of each column of y."""
    return estimator.classes_ if estimator.outputs_2d_ else [estimator.classes_]


def one_hot(estimator) -> np.ndarray:
    """Return the classes of the training rows, all outputs side by side."""
    numbers = estimator._y.reshape(len(estimator._y), -1)
    blocks = [np.eye(len(c))[numbers[:, k]] for k, c in enumerate(classes_by_output(estimator))]
    return np.hstack(blocks)


def split_by_output(estimator, votes) -> list[Any]:
    """Return the columns of votes that belong to each column of y."""
    stops = np.cumsum([len(c) for c in classes_by_output(estimator)])
    return [votes[:, stop - len(c) : stop] for c, stop in zip(classes_by_output(estimator), stops)]


class AveragedKNNImputer(KNNImputer):
    """A fitted ``KNNImputer`` in which equally far rows share their weights."""

    def transform(self, X):
        """Return X with means in place of missing values."""
        filled = super().transform(X)
        X = np.asarray(X, np.float64)
        missing = np.isnan(X)
        rows = np.where(self._mask_fit_X, np.nan, self._fit_X)
        kept = self._valid_mask | bool(self.keep_empty_features)
        places = {column: place for place, column in enumerate(np.flatnonzero(kept))}
        slack = Slack.of(rows, euclidean=True, in_tree=False)
        asked = np.flatnonzero(missing.any(axis=1))
        choice = np.zeros(len(X), bool)
        step = max(1, _AT_ONCE // len(rows))
        table = np.array(filled, np.float64)
        for start in range(0, len(asked), step):
            some = asked[start : start + step]
            squares, floor = nan_squares(X[some], rows), slack.floor(X[some])
            for column in np.flatnonzero(self._valid_mask):
                at = np.flatnonzero(missing[some, column])
                if len(at):
                    y, matters = self._imputed(squares[at], floor[at], rows[:, column])
                    table[some[at], places[column]] = y
                    choice[some[at]] |= matters
        _remember(choice)
        return table

    def _imputed(self, squares, floor, values):
        """Return means over the nearest rows that have a value, and whether a choice matters."""
        donors = ~np.isnan(values)
        values = values[donors, None]
        k = min(int(self.n_neighbors), len(values))
        shares = _Shares.of(squares[:, donors], floor, k, _weigh(self.weights, 2.0))
        total, weight = shares.sums(values)
        with np.errstate(invalid="ignore"):
            means = np.where(weight > 0, total / weight, values.mean())
        return means[:, 0], shares.matters(values)


def nan_squares(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return squared distances over the features that both rows have, scaled up to all features.

    They are infinite without a common feature; shape (n_samples, n_rows).
    """
    total = np.zeros((len(X), len(rows)))
    common = np.zeros((len(X), len(rows)))
    for column in range(X.shape[1]):
        square = (X[:, column, None] - rows[None, :, column]) ** 2
        common += ~np.isnan(square)
        total += np.nan_to_num(square)
    with np.errstate(invalid="ignore"):
        return np.where(common > 0, total / common * X.shape[1], np.inf)


_AVERAGED: dict[type, type] = {
    KNeighborsClassifier: AveragedKNeighborsClassifier,
    KNeighborsRegressor: AveragedKNeighborsRegressor,
    KNNImputer: AveragedKNNImputer,
}


def averaged(estimator) -> Any:
    """Return a fitted estimator in which nearest neighbours share equal distances.

    An object without nearest neighbours stays the same object; others are copied where they hold
    some.
    """
    return _Substitution().of(estimator)


class _Substitution:
    """Copies fitted estimators as far as there are neighbours in them, each once."""

    def __init__(self):
        self.done: dict[int, tuple[Any, Any]] = {}

    def of(self, part: Any) -> Any:
        holds_others = isinstance(part, BaseEstimator | dict) or type(part) in (list, tuple)
        is_array_of_objects = isinstance(part, np.ndarray) and part.dtype == object
        if not holds_others and not is_array_of_objects:
            return part
        if id(part) not in self.done:
            self.done[id(part)] = part, part  # where it holds itself
            self.done[id(part)] = part, self._changed(part)
        return self.done[id(part)][1]

    def _changed(self, part: Any) -> Any:
        if isinstance(part, BaseEstimator):
            return self._estimator(part)
        if isinstance(part, dict):
            found = {key: self.of(value) for key, value in part.items()}
            if all(found[key] is value for key, value in part.items()):
                return part
            other = copy.copy(part)  # a Bunch, for example
            other.update(found)
            return other
        values = part.ravel().tolist() if isinstance(part, np.ndarray) else list(part)
        found = [self.of(value) for value in values]
        if all(new is old for new, old in zip(found, values)):
            return part
        if isinstance(part, np.ndarray):
            other = np.empty(len(found), object)
            other[:] = found
            return other.reshape(part.shape)
        return type(part)(found)

    def _estimator(self, part: BaseEstimator) -> Any:
        changed = {name: self.of(value) for name, value in vars(part).items()}
        substitute = _AVERAGED.get(type(part)) if _can_be_averaged(part) else None
        if substitute is None and all(changed[n] is v for n, v in vars(part).items()):
            return part
        other = copy.copy(part)
        vars(other).update(changed)
        if substitute is not None:
            other.__class__ = substitute
        return other


def _can_be_averaged(part: Any) -> bool:
    """Whether an estimator is fitted, and its metric and weights have names."""
    if callable(getattr(part, "weights", None)) or callable(getattr(part, "metric", None)):
        return False
    if isinstance(part, KNNImputer):
        return hasattr(part, "_mask_fit_X") and bool(np.isnan(part.missing_values))
    if not hasattr(part, "effective_metric_"):
        return False
    return exponent_of(part.effective_metric_, part.effective_metric_params_) is not None


def _remember(choice: np.ndarray) -> None:
    masks = _choices.get()
    if masks is not None:
        masks.append(choice)


@contextmanager
def _remembering(masks: list[np.ndarray]) -> Iterator[None]:
    token = _choices.set(masks)
    try:
        with joblib.parallel_config("sequential"):
            yield
    finally:
        _choices.reset(token)


def rows_with_choice(answers: Callable[[Any], Any], X) -> np.ndarray:
    """Return for each row of X whether its answer depends on a choice among equally far rows.

    Parameters
    ----------
    answers : callable
        Asks an averaged estimator for its answers to X.
    X : array-like of shape (n_samples, ...)

    Returns
    -------
    choice : ndarray of bool, shape (n_samples,)
    """
    masks: list[np.ndarray] = []
    with _remembering(masks):
        answers(X)
    n_rows = sklearn_private.num_samples(X)
    fitting = [mask for mask in masks if len(mask) == n_rows]
    return np.any([np.zeros(n_rows, bool), *fitting], axis=0)
