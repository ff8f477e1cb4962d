"""What the graph that is being built is for, and what has been built of it so far."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class Build:
    """What the graph that is being built is for.

    Attributes
    ----------
    precision : {"float64", "float32"}
        Of all arithmetic outside networks.
    trainable : bool
        Whether networks and linear models are to be trained on: they keep their dropout.
    live : bool
        Whether networks are not copied: the graph is used beside them, and never becomes a file.
    built : dict
        What has been built so far; see :func:`once`.
    refused : list of Refusal
        Rows that some estimator refuses; see ``masks.py``.
    """

    precision: str = "float64"
    trainable: bool = False
    live: bool = False
    built: dict = field(default_factory=dict, repr=False, compare=False)
    refused: list[Any] = field(default_factory=list, repr=False, compare=False)


_build: ContextVar[Build] = ContextVar("build")


@contextmanager
def building(build: Build) -> Iterator[None]:
    """Build the graphs of a block for a purpose; :func:`current_build` returns it."""
    token = _build.set(build)
    try:
        yield
    finally:
        _build.reset(token)


def current_build() -> Build:
    """Return what the graph that is being built is for."""
    return _build.get(Build())


def once(function: Callable) -> Callable:
    """Decorate a function ``(estimator, x, *names)`` so that one graph computes its result once.

    A graph asks for the label and for the probabilities, one after the other. Both are computed
    from the same parts, a forest's trees or a stack's bases.
    """

    @wraps(function)
    def shared(estimator, x, *names):
        built = current_build().built
        key = function, id(estimator), id(x), *names
        if key not in built:
            # Estimator and x are kept with it, so that no other objects can have their numbers.
            built[key] = estimator, x, function(estimator, x, *names)
        return built[key][2]

    return shared
