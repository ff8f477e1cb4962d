"""The purpose of the graph that is being built, and the parts that have been built so far."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np

#: The outputs of whole numbers; in rows that are refused they are -1, and all others NaN.
WHOLE = ("label", "set")

#: The largest float64 that does not become infinite in float32.
LARGEST = float(np.nextafter(float(np.finfo(np.float32).max) + 2.0**103, 0.0))

#: Large numbers are multiplied by it before they are added up; else their sum may be infinite.
SMALL = 2.0**-64


@dataclass(frozen=True)
class Refusal:
    """Rows that are refused.

    Attributes
    ----------
    tensor : tensor
        The tensor with these rows; kept, so that no other tensor can get its id.
    mask : tensor of bool, shape (batch,), or None
        None where an earlier refusal has the mask.
    numbers : set of {"missing", "infinite", "too large"}
        The kinds of numbers for which rows are in the mask.
    """

    tensor: Any
    mask: Any
    numbers: Set[str] = frozenset()


@dataclass(frozen=True)
class Build:
    """The purpose and the state of the graph that is being built.

    Attributes
    ----------
    precision : {"float64", "float32"}
        The dtype of all arithmetic outside networks.
    trainable : bool
        Whether networks and linear models can be trained on; then networks keep their dropout.
    live : bool
        Whether to call the networks themselves and no copies; such a graph never becomes a file.
    native_trees : bool
        Whether the graph is written in a format with an operator for trees; see ``trees.py``.
    bitwise : bool
        Whether it may hold bitwise operations, by which some trees take less time.
    traced : bool
        Whether it becomes operations of TensorFlow, without layers; see ``traced.py``.
    n_trees : list of int
        How many trees each ensemble has that was converted.
    built : dict
        The parts that have been built so far; see :func:`once`.
    refused : list of Refusal
        Rows that some estimator refuses; see ``masks.py``.
    """

    precision: str = "float64"
    trainable: bool = False
    live: bool = False
    native_trees: bool = False
    bitwise: bool = True
    traced: bool = False
    n_trees: list[int] = field(default_factory=list, repr=False, compare=False)
    built: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    refused: list[Refusal] = field(default_factory=list, repr=False, compare=False)


_build: ContextVar[Build] = ContextVar("build")


@contextmanager
def building(build: Build) -> Iterator[None]:
    """Make a build the current one for a block; :func:`current_build` returns it."""
    token = _build.set(build)
    try:
        yield
    finally:
        _build.reset(token)


def current_build() -> Build:
    """Return the build of the graph that is being built."""
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
            # Estimator and x are kept too, so that no other objects can get their ids.
            built[key] = estimator, x, function(estimator, x, *names)
        return built[key][2]

    return shared
