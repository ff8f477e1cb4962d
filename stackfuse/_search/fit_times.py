"""How long fits took that were trained at the same time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class FitTimes:
    """The seconds of some fits; those that were trained together share their time equally.

    Parameters
    ----------
    n_fits : int

    Examples
    --------
    >>> times = FitTimes(2)
    >>> with times.shared_by([0, 1]), times.of(0), times.of(1):
    ...     time.sleep(0.02)
    >>> bool(0.009 < times.seconds[0] < 0.019 and 0.009 < times.seconds[1] < 0.019)
    True
    """

    def __init__(self, n_fits: int):
        self.seconds = np.zeros(n_fits)
        self._running: set[int] = set()
        self._since = 0.0

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        """Count the time as that of one fit; it is shared with the others that run meanwhile."""
        self._count()
        self._running.add(number)
        try:
            yield
        finally:
            self._count()
            self._running.remove(number)

    @contextmanager
    def shared_by(self, numbers: list[int]) -> Iterator[None]:
        """Share the time that is counted for no fit among these: to build and trace networks."""
        start, counted = time.perf_counter(), self.seconds.sum()
        try:
            yield
        finally:
            left = time.perf_counter() - start - (self.seconds.sum() - counted)
            self.seconds[numbers] += left / max(1, len(numbers))

    def _count(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[list(self._running)] += (now - self._since) / len(self._running)
        self._since = now
