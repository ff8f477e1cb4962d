"""Which bases can be fitted in a given time, measured on some of the rows."""

import time
import warnings

import numpy as np
import pandas as pd
from keras import callbacks
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from stackfuse._core import fitting, sklearn_private

#: The most rows that a base is tried on, and how many fits of it a stack of five folds makes.
_TRIED_ROWS, _N_FITS = 2000, 6

#: As many fits of these networks take as long as the six of a stack, which are trained side by
#: side: measured on 1,000 rows, 1.2 to 1.3, 1.9 and 4.7.
_N_FITS_OF = {"mlp": 2, "mlp_plr": 2, "tabm": 5}

#: The epochs after which a network has usually stopped, and how many of them are measured.
_USUAL_EPOCHS, _TRIED_EPOCHS = 40, 3


def within(seconds: float, bases: list, X, y, classifier: bool) -> list:
    """Return the bases whose fits take no longer than what measuring them leaves of some seconds.

    The dearest are left out first, with a warning that names them; the cheapest always stays.
    Networks are measured last, because to compile them takes longer than to fit most other bases.
    Bases that have not been measured when a third of the time is over are left out too.

    Parameters
    ----------
    seconds : float
    bases : list of (str, estimator)
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    classifier : bool
        Whether y holds classes: then the tried rows hold all of them, if they can.
    """
    y = pd.factorize(np.ravel(y))[0] if classifier else np.asarray(y)  # as a stack hands classes on
    costs: dict[str, float] = {}
    started = time.perf_counter()
    limit = fitting.time_limit.TimeLimit(seconds / 3)
    for name, base in sorted(bases, key=lambda named: bool(_params(named[1], "epochs"))):
        costs[name] = np.inf
        if limit.left > 0 or len(costs) == 1:
            n_fits = _N_FITS_OF.get(name, _N_FITS)
            costs[name] = n_fits * _seconds_within(limit, seconds / n_fits, base, X, y, classifier)
    left = seconds - (time.perf_counter() - started)
    kept = sorted(costs, key=costs.__getitem__)
    while len(kept) > 1 and sum(costs[name] for name in kept) > left:
        kept.pop()
    left_out = [name for name, _ in bases if name not in kept]
    if left_out:
        warnings.warn(
            f"Left out, because {seconds:g} s are too few for their fits: {', '.join(left_out)}.",
            stacklevel=3,
        )
    return [(name, base) for name, base in bases if name in kept]


def _seconds_within(limit, most: float, base, X, y, classifier: bool) -> float:
    """Return the time of a fit on all rows; infinity for a network that cannot be measured."""
    try:
        with fitting.time_limit.within(limit):
            return _seconds_of(base, X, y, classifier, most)
    except fitting.time_limit.OutOfTime as over:
        if over.limit is not limit:
            raise
        return np.inf


def _seconds_of(base, X, y, classifier: bool, most: float) -> float:
    """Return the time of a fit on all rows, as if it grew in proportion to the rows.

    More than `most` need not be measured well.
    """
    n_rows = sklearn_private.num_samples(X)
    small, large = min(n_rows, _TRIED_ROWS // 4), min(n_rows, _TRIED_ROWS)
    if _params(base, "epochs"):
        return _seconds_of_network(base, X, y, classifier, n_rows, large)
    first = _measured(base, X, y, small, classifier)
    if large == small or first > most:
        return first
    second = _measured(base, X, y, large, classifier)
    per_row = max(0.0, second - first) / (large - small)
    return second + per_row * (n_rows - large)


def _seconds_of_network(base, X, y, classifier: bool, n_rows: int, n_tried: int) -> float:
    """Return the time of a fit on all rows, whose epochs take time in proportion to them."""
    ends = []

    class Clock(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ends.append(time.perf_counter())

    tried = clone(base).set_params(
        **dict.fromkeys(_params(base, "epochs"), _TRIED_EPOCHS),
        **{name: [Clock] for name in _params(base, "callbacks")},
    )
    seconds = _measured(tried, X, y, n_tried, classifier)  # the first epoch compiles
    an_epoch = (ends[-1] - ends[0]) / (len(ends) - 1)
    return seconds + an_epoch * (_USUAL_EPOCHS - _TRIED_EPOCHS) * n_rows / n_tried


def _params(base, ending: str) -> list[str]:
    """Return the names of the parameters of a base's networks that end so."""
    return [name for name in base.get_params() if name.endswith(f"__{ending}")]


def _measured(base, X, y, n_rows: int, classifier: bool) -> float:
    rows = np.arange(sklearn_private.num_samples(X))
    if n_rows < len(rows):
        strata = _strata(y, min(n_rows, len(rows) - n_rows)) if classifier else None
        some, _ = train_test_split(rows, train_size=n_rows, random_state=0, stratify=strata)
        rows = np.union1d(some, _two_of_each(y)) if classifier else some
    X, y = (sklearn_private.safe_indexing(array, rows) for array in (X, y))
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the stack is fitted
        clone(base).fit(X, y)
    return time.perf_counter() - started


def _two_of_each(y) -> np.ndarray:
    """Return the first two rows of each class, fewer than which some classifiers refuse."""
    labels = pd.Series(np.asarray(y))
    return np.flatnonzero(labels.groupby(labels).cumcount() < 2)


def _strata(y, n_rows: int) -> np.ndarray | None:
    """Return the classes to draw from evenly, None if there are too many or too few of one."""
    y = np.asarray(y)
    counts = np.unique(y, return_counts=True)[1]
    return y if counts.min() > 1 and len(counts) <= n_rows else None
