"""Whether networks end their training with averaged weights: whoever fits them says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("averaged_weights", default=False)


@contextmanager
def within(wanted: bool) -> Iterator[None]:
    """Let the networks that are trained within, in this thread, average their weights, or not."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def is_wanted() -> bool:
    """Whether the network that is trained now averages its weights."""
    return _wanted.get()
