"""An X that several estimators are asked about is checked once for all that want it alike."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: An X, and what the checks of it returned, by the form that it was checked for.
_shared: ContextVar[tuple[Any, dict[Hashable, Any]] | None] = ContextVar("shared", default=None)


@contextmanager
def checked_once(X) -> Iterator[None]:
    """Within, check this X once for each form; it must not be changed there."""
    token = _shared.set((X, {}))
    try:
        yield
    finally:
        _shared.reset(token)


def checked(X, form: Hashable, check: Callable[[], Any]) -> Any:
    """Return what a check of X returns, or returned before for this X and form.

    Parameters
    ----------
    X : array-like
    form : hashable
        Everything that the check depends on besides X.
    check : callable
        Returns the checked X.
    """
    shared = _shared.get()
    if shared is None or shared[0] is not X:
        return check()
    done = shared[1]
    if form not in done:
        done[form] = check()
    return done[form]
