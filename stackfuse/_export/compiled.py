"""A fitted stack's prediction as one compiled call, from the hundredth time that it is asked for.

Base by base, three small networks and a logistic regression take a millisecond for one row: nearly
all of it goes into checking X four times and into four calls. The same as one graph takes a sixth
of that. The graph is that of :func:`stackfuse.to_keras`, but the networks in it are the stack's
own and not copies: no weight is held twice, and a weight that is set later counts at once. What
else a stack has learned is compared with what it was when the graph was built, at every call; so
estimators take part whose fitted state is small, or a list of trees, which each fit makes anew.
More than a thousand rows go base by base, for there the overhead is nothing; so do more than a few
where there are trees, which scikit-learn descends faster than a graph does.

To build the graph takes as long as some hundred calls save, therefore it waits for the hundredth.
Before it is used, it is compared with the stack on the training rows that the stack has kept.

The converters lie in :mod:`stackfuse.export`, above the stack; it leaves its builder here, by
:func:`built_by`, so that imports still point downwards only.
"""

import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.tree import BaseDecisionTree

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._keras import Outputs
from stackfuse._networks import NetworkEstimator
from stackfuse._training import prediction

#: The call at which the graph is built.
CALLS = 100

#: The most rows that go into one call: with 8,192 the bases by themselves are the faster ones.
LARGEST_X = 1024

#: The most rows if there are trees.
LARGEST_X_OF_TREES = 32

#: Nodes of all trees: a graph of this size is built within some seconds.
MOST_NODES = 300_000

#: Numbers in an array of an estimator's state that is compared at every call.
LARGEST_ARRAY = 4096

#: How far the graph may be from the stack, relative to numbers larger than one.
TOLERANCE = 1e-6

#: What a prediction does not change, and a fit makes anew.
_FIXED = (
    sklearn_private.Tree
    | sklearn_private.TreePredictor
    | sklearn_private.BaseLoss
    | np.random.RandomState
    | np.random.Generator
)

_builders: list[Callable] = []
_lock = threading.RLock()
_compares: ContextVar[bool] = ContextVar("compares", default=False)
# Not an attribute of the stack: copies, clones and pickles go without.
_calls: "weakref.WeakKeyDictionary[Any, dict[str, _Calls]]" = weakref.WeakKeyDictionary()


def built_by(builder: Callable) -> Callable:
    """Register what builds the graph: from (stack, method) to a function of X in float64."""
    _builders[:] = [builder]
    return builder


def one_call(stack, X, method: str) -> np.ndarray | None:
    """Return what a method of a fitted stack returns for X, if that is one compiled call.

    Parameters
    ----------
    stack : fitted stack
    X : ndarray of shape (n_samples, ...)
        Anything else, or rows unlike those of fit, is left to the bases, which check it.
    method : {"transform", "predict_proba", "predict"}

    Returns
    -------
    predictions : ndarray or None
        None if it has to be computed base by base.
    """
    if _compares.get() or not _is_plain(X, stack._sample_X):
        return None
    calls = _calls.setdefault(stack, {}).setdefault(method, _Calls())
    graph = calls.graph_for(stack, method)
    if graph is None or not graph.takes(X):
        return None
    predictions = graph(X)
    # A value that no network can take is an error, which the bases know how to tell.
    return predictions if np.isfinite(predictions).all() else None


@contextmanager
def base_by_base() -> Iterator[None]:
    """Let all stacks predict base by base in this thread, and count no call.

    Whoever compares a graph with a stack asks the stack in here: its compiled call is made by the
    same converters, and would agree with their mistakes.
    """
    token = _compares.set(True)
    try:
        yield
    finally:
        _compares.reset(token)


class _Calls:
    """How often a method of a stack has been called, and its graph once there is one."""

    def __init__(self):
        self.n_calls = 0
        self.graph: _Graph | None = None
        self.given_up: tuple = ()

    def graph_for(self, stack, method: str) -> "_Graph | None":
        """Return the graph of the stack as it is now, or None if there is none, or not yet."""
        self.n_calls += 1
        graph = self.graph
        if graph is not None:
            if graph.is_of(stack):
                return graph
            self.graph, self.n_calls = None, 1
        learned = (stack._sample_X, stack.final_estimator_)  # a new fit makes new ones
        if self.n_calls < CALLS or _same(self.given_up, learned):
            return None
        with _lock:
            if self.graph is None:
                try:
                    self.graph = _Graph.of(stack, method)
                except NotConvertible:
                    self.given_up = learned
            return self.graph


@dataclass(frozen=True)
class _Graph:
    """A compiled prediction and the state of the stack that it is of.

    Attributes
    ----------
    state : list
    function : callable
    is_networks : bool
        Whether all bases are networks; others may compute with X in its own precision.
    largest_x : int
        The most rows that it is worth it for.
    """

    state: list
    function: Callable
    is_networks: bool
    largest_x: int

    @classmethod
    def of(cls, stack, method: str) -> "_Graph":
        """Build the graph, and compare it with the stack.

        Raises
        ------
        NotConvertible
            If there is none.
        """
        state = [_kept(part) for part in _state_of(stack)]
        bases = [base for replicas in stack._replicas() for base in replicas]
        networks = [isinstance(base, NetworkEstimator) for base in bases]
        if not any(networks) or not _builders:
            raise NotConvertible("A stack without networks gains nothing by a graph.")
        n_nodes = sum(map(_n_nodes, state))
        if n_nodes > MOST_NODES:
            raise NotConvertible(f"Trees of {n_nodes} nodes take too long to build a graph of.")
        largest_x = LARGEST_X_OF_TREES if n_nodes else LARGEST_X
        graph = cls(state, _builders[0](stack, method), all(networks), largest_x)
        rows = stack._sample_X.astype(np.float64)
        with base_by_base():
            expected, got = np.asarray(getattr(stack, method)(rows)), graph(rows)
        scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
        if got.shape != expected.shape or not np.allclose(got, expected, 0, TOLERANCE * scale):
            warnings.warn(
                f"{type(stack).__name__}.{method} stays base by base, because its graph returns "
                "other numbers; please report that.",
                stacklevel=5,
            )
            raise NotConvertible("The graph returns other numbers than the stack.")
        return graph

    def is_of(self, stack) -> bool:
        """Whether the stack is still as it was."""
        try:
            return _same(self.state, list(_state_of(stack)))
        except NotConvertible:
            return False

    def takes(self, X: np.ndarray) -> bool:
        """Whether X is small enough, and the bases would compute with it in this precision."""
        return len(X) <= self.largest_x and (self.is_networks or X.dtype == np.float64)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return the predictions for X."""
        return self.function(X.astype(np.float64)).numpy()


def _is_plain(X, like) -> bool:
    """Whether X is an array of finite floating-point numbers, with rows as those of fit."""
    if not (type(X) is type(like) is np.ndarray and X.dtype.char in "efd" and X.size):
        return False
    if X.shape[1:] != like.shape[1:] or len(X) > min(
        LARGEST_X, prediction.rows_at_once(X[0].nbytes)
    ):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))


def _state_of(stack) -> Iterator[Any]:
    """Yield all that a fitted stack's predictions depend on, in parts that can be compared.

    Raises
    ------
    NotConvertible
        At a part that is too large, or of which nothing is known.
    """
    yield from (type(stack), stack._sample_X.shape, str(stack.passthrough))
    settings = (stack.stack_method_, stack.oof_.classes_, bool(stack.oof_.folds))
    for part in (settings, stack._replicas(), stack.final_estimator_):
        yield from _parts(part)


def _parts(value) -> Iterator[Any]:
    if isinstance(value, NetworkEstimator):  # its weights are shared
        if not isinstance(value.outputs_, Outputs) or value._predict_params():
            raise NotConvertible("The network has settings, or outputs, of its own.")
        yield from (type(value), value.model_, value.outputs_)
    elif isinstance(value, BaseDecisionTree):
        yield from (type(value), vars(value).get("tree_"))
    elif isinstance(value, BaseEstimator | sklearn_private.CalibratedClassifier):
        yield type(value)
        for name, part in vars(value).items():
            yield name
            yield from _parts(part)
    elif isinstance(value, list | tuple):
        yield type(value)
        yield len(value)
        for part in value:
            yield from _parts(part)
    elif isinstance(value, dict):
        yield from _parts([*value.items()])
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:  # strings, or trees
        yield value.shape
        yield from _parts(value.ravel().tolist())
    elif isinstance(value, np.ndarray) and value.size <= LARGEST_ARRAY and value.dtype.kind != "V":
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for part in fields(value):
            yield from _parts(getattr(value, part.name))
    elif value is None or isinstance(value, str | int | float | np.generic | type | _FIXED):
        yield value
    else:
        raise NotConvertible(f"A {type(value).__name__} is not compared at every call.")


def _n_nodes(part) -> int:
    if isinstance(part, sklearn_private.TreePredictor):
        return len(part.nodes)
    return part.node_count if isinstance(part, sklearn_private.Tree) else 0


def _kept(part):
    """Return a part of the state so that it stays as it is."""
    return part.copy() if isinstance(part, np.ndarray) else part


def _same(one, other) -> bool:
    return len(one) == len(other) and all(map(_equal, one, other))


def _equal(one, other) -> bool:
    if one is other:
        return True
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    plain = str | int | float | tuple | np.generic
    return type(one) is type(other) and isinstance(one, plain) and bool(one == other)
