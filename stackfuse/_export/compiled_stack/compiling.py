"""Compiled: a fitted stack that predicts a few rows by one compiled call.

Base by base, three small networks and a logistic regression take a millisecond for one row. Nearly
all of it is spent on checking X four times and on four calls. One graph takes a sixth of that.

The graph is that of :func:`stackfuse.to_keras`, except that its networks are the stack's own and no
copies, so that they compute the same bits. Many rows are computed base by base, since the overhead
does not matter there.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.tree import BaseDecisionTree
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    NotConvertible,
    errors,
    fitting,
    messages,
    sklearn_private,
    strings,
    targets,
)
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.comparison import N_ROWS
from stackfuse._export.checking.made_up_rows import made_up_rows
from stackfuse._export.checking.parity import TIE, is_tie
from stackfuse._export.compiled_stack.latency import Latency, measured
from stackfuse._export.converters import convert
from stackfuse._export.graph.at_once import refuse_bases_at_once
from stackfuse._export.graph.build import Build, building
from stackfuse._export.graph.frame import Frame
from stackfuse._export.graph.graph import Graph
from stackfuse._export.graph.masks import NO_CLASS, without_refused
from stackfuse._export.graph.signature import Signature
from stackfuse._export.tied_neighbors import averaged, check_ties
from stackfuse._networks import NetworkEstimator
from stackfuse._stacking import Stack, parts_of
from stackfuse._training import compiled as compiled_function
from stackfuse._training import prediction, undisturbing

#: The most rows of a compiled call; with 8,192 rows the bases are faster by themselves.
LARGEST_X = 1024

#: The most rows of a stack with trees, which scikit-learn descends faster than a graph does.
LARGEST_X_OF_TREES = 32

#: The largest difference between graph and stack, relative to numbers larger than one.
TOLERANCE = 1e-6

#: The methods that are compiled if the stack has them.
METHODS = ("predict", "predict_proba", "transform")


def compiled(stack: Any, *, ties: str = "refuse") -> "CompiledStack":
    """Compile the predictions of a fitted stack, for a few rows at a time.

    One row of a stack of small networks takes a fifth of the time, with a forest a seventh.
    Compiling takes some seconds.

    Parameters
    ----------
    stack : fitted StackingClassifier or StackingRegressor
        Or a search whose best estimator is one. It is copied: a later fit or change of weights
        does not affect the compiled stack.
    ties : {"refuse", "average"}, default="refuse"
        How nearest neighbours treat training rows at equal distances: see :func:`to_keras`.
        With "average" they share for any number of rows, and ``fast`` differs from the stack where
        that matters.

    Returns
    -------
    fast : CompiledStack
        With the stack's ``predict``, ``predict_proba`` and ``transform``. They return the
        numbers of the stack, up to the last digits.

    Raises
    ------
    NotConvertible
        If no method can be compiled; the message names the estimator that prevents it. If only
        some can, the others are computed base by base, and ``fast.reasons`` says why.
    ParityError
        If a compiled method differs from the stack on rows made up like the training rows.
    NotFittedError
        If the stack is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> bases = [("linear", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    >>> stack = sf.StackingClassifier(bases, LogisticRegression(), cv=3).fit(X, y)
    >>> fast = sf.compiled(stack)
    >>> fast
    <compiled StackingClassifier: predict, predict_proba, transform>
    >>> bool(np.allclose(fast.predict_proba(X[:1]), stack.predict_proba(X[:1])))
    True
    """
    check_ties(ties)
    stack = Stack._within(stack, "compiled")
    check_is_fitted(stack)
    refuse_bases_at_once(stack)
    with undisturbing():
        return _compile(_copied(averaged(stack) if ties == "average" else stack))


@dataclass(frozen=True, eq=False, repr=False)
class CompiledStack:
    """A fitted stack whose predictions for a few rows are compiled; :func:`compiled` returns it.

    It cannot be changed, and several threads may call it at a time. A pickle holds the stack;
    loading compiles it again.

    The stack itself computes, base by base: more than 1,024 rows, or more than 32 with trees; X of
    another kind than the stack was fitted on (a data frame with other columns or dtypes, a list, a
    sparse matrix, float32 in which scikit-learn would compute); and rows for which the graph has
    no number, so that errors are those of the stack.

    Attributes
    ----------
    methods : tuple of str
        The compiled methods.
    reasons : mapping of str to str
        For each method that is always computed base by base, why it could not be compiled.
    """

    methods: tuple[str, ...]
    reasons: Mapping[str, str]
    _stack: Any = field(repr=False)
    _rows: "_AcceptedRows" = field(repr=False)
    _functions: Mapping[str, Callable] = field(repr=False)

    @fitting.available_if(lambda self: hasattr(self._stack, "predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Return the meta-learner's prediction for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._call("predict", X)

    @fitting.available_if(lambda self: hasattr(self._stack, "predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the meta-learner's probabilities for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of the stack's ``classes_``.
        """
        return self._call("predict_proba", X)

    def transform(self, X: Any) -> Any:
        """Return the bases' predictions for X, the columns that the meta-learner sees.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        predictions : ndarray or sparse matrix of shape (n_samples, n_columns)
        """
        return self._call("transform", X)

    def latency(self, rows: Any, *, method: str | None = None) -> Latency:
        """Measure how long one call takes on this machine; this takes about a second.

        Parameters
        ----------
        rows : array-like of shape (n_rows, ...)
            That are asked for in one call: ``X[:1]`` for one row.
        method : {"predict", "predict_proba", "transform"}, default=None
            By default the probabilities, of stacks that have none the predictions.

        Returns
        -------
        latency : Latency
            The median in milliseconds, and between what eight of ten calls lie.
        """
        method = method or ("predict_proba" if hasattr(self, "predict_proba") else "predict")
        if method not in METHODS or not hasattr(self, method):
            known = [name for name in METHODS if hasattr(self, name)]
            raise ValueError(f"method must be {messages.listed(known)}, got {method!r}.")
        n_rows, call = targets.n_rows(rows, "rows"), getattr(self, method)
        return measured(lambda: call(rows), n_rows)

    def _call(self, method: str, X) -> Any:
        inputs = self._rows.inputs_for(X) if method in self.methods else None
        if inputs is not None:
            y = self._functions[method](inputs).numpy()
            if not _is_refused(y).any():
                return (
                    _classes_by_number(self._stack, y) if _gives_labels(self._stack, method) else y
                )
        return getattr(self._stack, method)(X)

    def __repr__(self) -> str:
        text = f"<compiled {type(self._stack).__name__}: {', '.join(self.methods)}"
        if self.reasons:
            text += f"; base by base: {', '.join(self.reasons)}, see reasons"
        return f"{text}>"

    def __reduce__(self) -> Any:
        return _compile, (self._stack,)


def _copied(stack) -> Any:
    """Return a copy of a fitted stack that later changes of the stack do not affect.

    Attributes that predictions do not depend on are shared; a generator of folds cannot be copied.
    """
    shared = (stack.estimators, stack.cv, stack.memory, stack.oof_)
    return copy.deepcopy(stack, {id(part): part for part in shared})


def _compile(stack) -> CompiledStack:
    """Compile all methods of a stack that is not used elsewhere."""
    rows = _AcceptedRows.of(stack)
    functions, refused = {}, {}
    for method in METHODS:
        if hasattr(stack, method):
            try:
                functions[method] = _function_of(stack, method, rows.signature)
            except NotConvertible as error:
                refused[method] = error
    if not functions:
        raise next(iter(refused.values()))
    _check_against_stack(stack, functions, rows)
    reasons = MappingProxyType({method: str(error) for method, error in refused.items()})
    return CompiledStack(tuple(functions), reasons, stack, rows, MappingProxyType(functions))


@dataclass(frozen=True)
class _AcceptedRows:
    """The rows that a stack is compiled for.

    Attributes
    ----------
    sample : ndarray or data frame of shape (n_samples, ...)
        Made up like training rows.
    signature : Signature
    largest : int
        The most rows of a compiled call.
    any_precision : bool
        Whether all bases are networks, whose precision does not depend on X's dtype.
    """

    sample: Any
    signature: Signature
    largest: int
    any_precision: bool

    @classmethod
    def of(cls, stack) -> "_AcceptedRows":
        """Return the rows that a stack can be compiled for.

        Raises
        ------
        NotConvertible
            If no graph takes rows like those that the stack was fitted on.
        """
        sample, owner = made_up_rows(stack, stack._sketch, N_ROWS), type(stack).__name__
        is_several = isinstance(sample, MultiInput)
        if is_several or (not isinstance(sample, np.ndarray) and not hasattr(sample, "columns")):
            what = (
                "a MultiInput"
                if is_several
                else "sparse rows"
                if issparse(sample)
                else messages.with_article(type(sample).__name__)
            )
            raise NotConvertible(
                f"The {owner} was fitted on {what}, but compiled calls take an array or a data "
                "frame. Use the stack itself."
            )
        if isinstance(sample, np.ndarray) and strings.holds_strings(sample):
            raise NotConvertible(
                f"The {owner} was fitted on an array of strings, but compiled calls take numbers "
                "or a data frame. Use the stack itself."
            )
        bases = [base for replicas in stack._replicas() for base in replicas]
        networks = all(isinstance(base, NetworkEstimator) for base in bases)
        narrow = [
            str(dtype) for dtype in _dtypes_of(sample) if str(dtype).lower() in _NARROW_FLOATS
        ]
        if narrow and not networks:
            raise NotConvertible(
                f"The {owner} was fitted on {narrow[0]} and computes in it, but a graph computes "
                "in float64. Fit it on float64 to compile it."
            )
        signature = Signature.of_rows(sample, "float64")
        bytes_per_row = 8 * sum(int(np.prod(i.shape)) for i in signature.inputs.values())
        largest = LARGEST_X_OF_TREES if _has_trees(stack) else LARGEST_X
        largest = min(largest, prediction.rows_at_once(bytes_per_row))
        return cls(sample, signature, largest, networks)

    def inputs_for(self, X) -> Any:
        """Return X as inputs of a compiled call, or None if the stack has to compute it."""
        if type(X) is not type(self.sample) or not X.shape or not 0 < len(X) <= self.largest:
            return None
        if isinstance(X, np.ndarray):
            is_known = X.dtype == np.float64 or X.dtype.kind in "iu"
            is_known |= self.any_precision and X.dtype.char in "ef"
            same = is_known and X.shape[1:] == self.sample.shape[1:] and X.size > 0
            return X.astype(np.float64) if same else None
        same = [*X.columns] == [*self.sample.columns] and _dtypes_of(X) == _dtypes_of(self.sample)
        return self._of_frame(X) if same else None

    def inputs_for_sample(self) -> Any:
        """Return the made-up rows as inputs of a compiled call.

        Raises
        ------
        NotConvertible
            If a graph cannot take them.
        """
        if isinstance(self.sample, np.ndarray):
            return self.sample.astype(np.float64)
        inputs = self._of_frame(self.sample)
        if inputs is None:
            raise NotConvertible(
                "A column of X mixes words and other objects. Convert it to strings before the "
                "fit, or use the stack itself."
            )
        return inputs

    def _of_frame(self, X) -> Any:
        try:
            inputs = self.signature.feed(X)
        except NotConvertible:  # X holds the string that stands for a missing value
            return None
        for name, entry in self.signature.inputs.items():
            if entry.dtype == "string" and not all(type(v) is str for v in inputs[name].ravel()):
                return None
        return inputs["x"] if self.signature.kind == "table" else inputs


#: The dtypes narrower than float64.
_NARROW_FLOATS = {"float16", "float32"}


def _dtypes_of(rows) -> list:
    """Return the dtypes of an array or of a data frame's columns."""
    return [*rows.dtypes] if hasattr(rows, "columns") else [rows.dtype]


def _has_trees(stack) -> bool:
    trees = BaseDecisionTree | HistGradientBoostingClassifier | HistGradientBoostingRegressor
    return any(isinstance(part, trees) for part in parts_of(stack))


def _function_of(stack, method: str, signature: Signature) -> Callable:
    """Return a method of a stack as a compiled function of its graph's inputs.

    Raises
    ------
    NotConvertible
        If some estimator has no exact counterpart.
    """
    name = "label" if _gives_labels(stack, method) else method
    with undisturbing(), building(Build(live=True)):
        inputs, x = signature.symbolic_inputs()
        y = convert(stack, x, name)
        if isinstance(y, list | Frame):
            raise NotConvertible(
                f"{type(stack).__name__}.{method} does not return one array. Use the stack itself."
            )
        graph = Graph(keras.Model(inputs, without_refused({name: y}, "float64")[name]), signature)
        return compiled_function(lambda inputs: graph.model(inputs, training=False), graph.specs())


def _gives_labels(stack, method: str) -> bool:
    """Whether the graph of a method returns numbers of classes."""
    return method == "predict" and is_classifier(stack)


def _is_refused(y: np.ndarray) -> np.ndarray:
    """Return for each row whether the graph has no number for it; shape (n_samples,)."""
    refused = y == NO_CLASS if y.dtype.kind == "i" else ~np.isfinite(y)
    return np.any(refused.reshape(len(y), -1), axis=1)


def _classes_by_number(stack, label: np.ndarray) -> np.ndarray:
    """Return the classes with the given numbers."""
    if isinstance(stack.classes_, list):
        return np.array([c[n] for c, n in zip(stack.classes_, label.T)]).T
    return stack.classes_[label]


def _check_against_stack(stack, functions: Mapping[str, Callable], rows: _AcceptedRows) -> None:
    """Compare compiled functions with the stack; this calls each for the first time.

    Raises
    ------
    NotConvertible
        If a graph cannot take the made-up rows.
    ParityError
        If they differ by more than rounding.
    """
    sample, inputs = rows.sample, rows.inputs_for_sample()
    for method, function in functions.items():
        got = function(inputs).numpy()
        kept = np.flatnonzero(~_is_refused(got))
        if not len(kept):
            raise NotConvertible(
                f"The graph of {type(stack).__name__}.{method} returned NaN for all made-up rows, "
                "so it cannot be checked. Use the stack itself."
            )
        got, some = got[kept], sklearn_private.safe_indexing(sample, kept)
        if _gives_labels(stack, method):
            got = _classes_by_number(stack, got)
        expected = np.asarray(getattr(stack, method)(some))
        if got.shape != expected.shape or _differs(stack, method, some, expected, got):
            raise errors.ParityError(
                f"The compiled {type(stack).__name__}.{method} returns other numbers than the "
                "stack. Use the stack itself, and please report this."
            )


def _differs(stack, method: str, rows, expected: np.ndarray, got: np.ndarray) -> bool:
    if _gives_labels(stack, method):
        wrong = (got != expected).reshape(len(got), -1).any(axis=1)
        return bool((wrong & ~is_tie(expected_outputs(stack, rows), TIE["float64"])).any())
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return not np.allclose(got, expected, 0, TOLERANCE * scale)
