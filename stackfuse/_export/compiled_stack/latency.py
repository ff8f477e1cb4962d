"""How long calls take, measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stackfuse._core import messages

#: Calls before the measured ones, the first of which may still allocate.
_N_BEFORE = 5

#: The seconds after which no more calls are made, and the numbers of calls.
_SECONDS, _LEAST, _MOST = 0.5, 20, 1000


@dataclass(frozen=True)
class Latency:
    """How long one call takes.

    Attributes
    ----------
    median : float
        Milliseconds.
    low, high : float
        Milliseconds between which eight of ten calls take: the 10th and the 90th percentile.
    n_calls : int
        The calls that were measured.
    n_rows : int
        The rows of each.
    """

    median: float
    low: float
    high: float
    n_calls: int
    n_rows: int

    def __str__(self) -> str:
        rows = messages.counted(self.n_rows, "row")
        return (
            f"{self.median:.3g} ms for {rows} (median of {self.n_calls} calls, eight of ten take "
            f"{self.low:.3g} to {self.high:.3g} ms)"
        )


def measured(call: Callable[[], object], n_rows: int) -> Latency:
    """Return how long a call takes.

    Parameters
    ----------
    call : callable
    n_rows : int
        That it answers.
    """
    for _ in range(_N_BEFORE):
        call()
    seconds, ends = [], time.perf_counter() + _SECONDS
    while len(seconds) < _LEAST or (len(seconds) < _MOST and time.perf_counter() < ends):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    low, median, high = (float(1000 * q) for q in np.quantile(seconds, [0.1, 0.5, 0.9]))
    return Latency(median, low, high, len(seconds), n_rows)
