"""Which bases can be fitted in a given time, measured on some of the rows."""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from stackfuse._core import sklearn_private

#: The most rows that a base is tried on, and how many fits of it a stack of five folds makes.
_TRIED_ROWS, _N_FITS = 2000, 6

#: The epochs after which a network has usually stopped.
_USUAL_EPOCHS = 40


def within(seconds: float, bases: list, X, y, classifier: bool) -> list:
    """Return the bases whose fits take no longer than some seconds in all.

    The dearest are left out first, with a warning that names them; the cheapest always stays. Bases
    that have not been measured when the time is over are left out too.

    Parameters
    ----------
    seconds : float
    bases : list of (str, estimator)
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    classifier : bool
        Whether y holds classes: then the tried rows hold all of them, if they can.
    """
    costs: dict[str, float] = {}
    started = time.perf_counter()
    for name, base in bases:
        over = time.perf_counter() - started > seconds and len(costs) > 0
        cost = np.inf if over else _seconds_of(base, X, y, classifier, seconds / _N_FITS)
        costs[name] = _N_FITS * cost
    kept = sorted(costs, key=costs.__getitem__)
    while len(kept) > 1 and sum(costs[name] for name in kept) > seconds:
        kept.pop()
    left_out = [name for name, _ in bases if name not in kept]
    if left_out:
        warnings.warn(
            f"Left out, because their fits take more than {seconds:g} s: {', '.join(left_out)}.",
            stacklevel=3,
        )
    return [(name, base) for name, base in bases if name in kept]


def _seconds_of(base, X, y, classifier: bool, most: float) -> float:
    """Return the time of a fit on all rows, as if it grew in proportion to the rows.

    More than `most` need not be measured well.
    """
    n_rows = sklearn_private.num_samples(X)
    small, large = min(n_rows, _TRIED_ROWS // 4), min(n_rows, _TRIED_ROWS)
    epochs = [name for name in base.get_params() if name.endswith("__epochs")]
    if epochs:  # a network: what takes time is an epoch, and before the first the program
        one, three = (
            _measured(clone(base).set_params(**dict.fromkeys(epochs, k)), X, y, large, classifier)
            for k in (1, 3)
        )
        return one + max(0.0, three - one) / 2 * (_USUAL_EPOCHS - 1) * n_rows / large
    first = _measured(base, X, y, small, classifier)
    if large == small or first > most:
        return first
    second = _measured(base, X, y, large, classifier)
    per_row = max(0.0, second - first) / (large - small)
    return second + per_row * (n_rows - large)


def _measured(base, X, y, n_rows: int, classifier: bool) -> float:
    rows = np.arange(sklearn_private.num_samples(X))
    if n_rows < len(rows):
        strata = _strata(y, min(n_rows, len(rows) - n_rows)) if classifier else None
        rows, _ = train_test_split(rows, train_size=n_rows, random_state=0, stratify=strata)
    X, y = (sklearn_private.safe_indexing(array, rows) for array in (X, np.asarray(y)))
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the stack is fitted
        clone(base).fit(X, y)
    return time.perf_counter() - started


def _strata(y, n_rows: int) -> np.ndarray | None:
    """Return the classes to draw from evenly, None if there are too many or too few of one."""
    y = np.asarray(y)
    counts = np.unique(y, return_counts=True)[1]
    return y if counts.min() > 1 and len(counts) <= n_rows else None
