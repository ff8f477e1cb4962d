"""What a model costs: milliseconds for a row, and kilobytes."""

import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np

from stackfuse._oof import contributions

#: The seconds after which no more calls are made, and the least and the most of them.
_SECONDS, _LEAST, _CALLS = 0.1, 5, 200


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes: the median of several, after a first one that may prepare."""
    call()
    seconds: list[float] = []
    ends = time.perf_counter() + _SECONDS
    while len(seconds) < _LEAST or (len(seconds) < _CALLS and time.perf_counter() < ends):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def kilobytes(model: Any) -> float:
    """Return the size of a fitted model in units of 1,000 bytes: of its weights and its pickle.

    Of networks the weights count, and not what their training left; of all else the pickle.

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
