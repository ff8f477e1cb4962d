"""A limit to the time that fits may take: whoever fits asks whether it is over."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class TimeLimit:
    """A time after which fits are given up; it runs from when it is made.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; negative once it is over."""
        return self._end - time.monotonic()

    def __str__(self) -> str:
        return f"time_limit={self.seconds:g} s"


class OutOfTime(BaseException):
    """Ends a fit whose limit of time is over.

    It is no Exception, for searches and ensembles go on without a part that failed: what they
    then leave would depend on the time.

    Parameters
    ----------
    limit : TimeLimit
        The one that is over.
    """

    def __init__(self, limit: TimeLimit):
        super().__init__(limit)
        self.limit = limit


#: The limits around the present fit, the outermost first.
_limits: ContextVar[tuple[TimeLimit, ...]] = ContextVar("limits", default=())


@contextmanager
def within(limit: TimeLimit | None) -> Iterator[None]:
    """Limit the time of the fits within, in this thread; of None, not."""
    token = _limits.set(_limits.get() if limit is None else (*_limits.get(), limit))
    try:
        yield
    finally:
        _limits.reset(token)


def nearest() -> TimeLimit | None:
    """Return the limit of the present fit that is over first; None if it has none."""
    return min(_limits.get(), key=lambda limit: limit.left, default=None)


def check() -> None:
    """Raise if a limit of the present fit is over.

    Raises
    ------
    OutOfTime
        If a limit has passed; the error names the outermost one.
    """
    for limit in _limits.get():
        if limit.left <= 0:
            raise OutOfTime(limit)
