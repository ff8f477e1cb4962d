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
    made : dict
        What has been built so far; see :func:`once`.
    refused : list of Refusal
        Rows that some estimator refuses; see ``_masks.py``.
    """

    precision: str = "float64"
    trainable: bool = False
    live: bool = False
    made: dict = field(default_factory=dict, repr=False, compare=False)
    refused: list[Any] = field(default_factory=list, repr=False, compare=False)


_build: ContextVar[Build] = ContextVar("build")


@contextmanager
def building(build: Build) -> Iterator[None]:
    """Say what the graphs that are built inside are for."""
    token = _build.set(build)
    try:
        yield
    finally:
        _build.reset(token)


def current_build() -> Build:
    """Return what the graph that is being built is for."""
    return _build.get(Build())


def once(function: Callable) -> Callable:
    """Decorate a function ``(estimator, x, *names)``: what it built is used again in one graph.

    Label and probabilities are asked for one after the other; what both are computed from, a
    forest's trees or a stack's bases, is to be in the graph once.
    """

    @wraps(function)
    def shared(estimator, x, *names):
        made = current_build().made
        key = function, id(estimator), id(x), *names
        if key not in made:
            # Estimator and x are kept with it, so that no other objects can have their numbers.
            made[key] = estimator, x, function(estimator, x, *names)
        return made[key][2]

    return shared
