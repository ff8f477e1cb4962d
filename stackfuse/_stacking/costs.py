"""The costs of models: seconds to fit, milliseconds to predict, kilobytes."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd

from stackfuse._core import sklearn_private
from stackfuse._oof import contributions

#: The seconds after which no more calls are made, and the least and the most of them.
_SECONDS, _LEAST, _MOST = 0.02, 5, 100


def costs_of(stack, X) -> pd.DataFrame:
    """Return what each base of a fitted stack costs.

    Parameters
    ----------
    stack : fitted stack
    X : array-like of shape (n_samples, ...), or None
        Rows that the bases accept; without them one is made up.

    Returns
    -------
    costs : DataFrame of shape (n_models, 3)
        Seconds to fit, on all folds together; milliseconds to predict a row; kilobytes. With
        ``refit=False`` those of all fold models together. NaN where it is not known.
    """
    rows = {}
    for (name, _), replicas, method in zip(
        stack._columns_by_base(), stack._replicas(), stack.stack_method_
    ):
        seconds = getattr(stack, "_base_seconds", {}).get(name, np.nan)
        rows[name] = [seconds, _time_of(stack, replicas, method, X), kilobytes(replicas)]
    columns = pd.Index(["s to fit", "ms for a row", "kB"])
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _time_of(stack, replicas: list, method: str, X) -> float:
    """Return the milliseconds in which a base predicts a row; NaN if it refuses a made-up one."""

    def call() -> None:
        for replica in replicas:
            contributions.contribution(replica, method, row)

    if X is not None:
        row = sklearn_private.safe_indexing(X, [0])
        return milliseconds(call)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # about a row that nobody has
        try:
            row = stack._sketch.rows(1, np.random.default_rng(0))
            return milliseconds(call)
        except Exception:  # any error: each package has its own for rows that it refuses
            return np.nan


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes: the median of several, after a first one that may prepare."""
    call()
    seconds: list[float] = []
    ends = time.perf_counter() + _SECONDS
    while len(seconds) < _LEAST or (len(seconds) < _MOST and time.perf_counter() < ends):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def kilobytes(model: Any) -> float:
    """Return the size of a fitted model in units of 1,000 bytes: of its weights and its pickle.

    Networks count with their weights alone, everything else with its pickle.

    Parameters
    ----------
    model : fitted estimator, or list of these

    Returns
    -------
    size : float
        NaN if a part cannot be pickled.
    """
    counter = _Counter()
    pickler = _Pickler(counter)
    try:
        pickler.dump(model)
    except Exception:  # whatever the classes of its parts raise
        return np.nan
    return (counter.n_bytes + pickler.n_bytes) / 1000


class _Counter:
    """A file that counts what is written to it."""

    def __init__(self):
        self.n_bytes = 0

    def write(self, data) -> int:
        self.n_bytes += memoryview(data).nbytes
        return memoryview(data).nbytes


class _Pickler(cloudpickle.Pickler):
    """Counts the weights of networks in place of pickling them."""

    def __init__(self, file):
        super().__init__(file)
        self.n_bytes = 0

    def persistent_id(self, obj):
        if not contributions.is_network(obj) or not hasattr(obj, "model_"):
            return None
        self.n_bytes += sum(np.asarray(weight).nbytes for weight in obj.model_.weights)
        return type(obj).__name__


def in_digits(cost: float) -> str:
    """Return a cost with three digits that count.

    Examples
    --------
    >>> in_digits(3541.2), in_digits(0.01234)
    ('3,540', '0.0123')
    """
    return f"{float(f'{cost:.3g}'):,.10g}"
