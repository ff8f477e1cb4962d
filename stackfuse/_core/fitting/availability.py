"""scikit-learn's ``available_if``, typed as the method that it decorates."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.utils import metaestimators

Method = TypeVar("Method", bound=Callable)


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Return a decorator: the method is there while ``check(self)`` is true."""
    decorator: Any = metaestimators.available_if(check)
    return decorator
