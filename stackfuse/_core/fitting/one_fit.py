"""Answers that come from one fit, whoever fits anew meanwhile."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def as_it_is(estimator) -> Any:
    """Return an estimator with the attributes that this one has now, all of the same moment."""
    twin = object.__new__(type(estimator))
    vars(twin).update(vars(estimator))
    return twin


def of_one_fit(method: Method) -> Method:
    """Let a method see one fit to its end, a decorator: another thread may fit anew meanwhile."""

    @functools.wraps(method)
    def answered(self, *args, **kwargs):
        return method(as_it_is(self), *args, **kwargs)

    return answered  # type: ignore[return-value]
