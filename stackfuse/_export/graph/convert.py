"""Convert a fitted estimator and a symbolic tensor to the tensor of its predictions.

A family of estimators is one file that registers a function for each class::

    @converter_for(Ridge)
    def _ridge(estimator, x, method): ...

The graph is built of stock layers and ``keras.ops`` only; ``arithmetic.py`` holds what keeps its
numbers exact. Every function takes the dtype of its arithmetic from x.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from keras import ops
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import NotConvertible, fitting, messages
from stackfuse._export.graph.build import (
    current_build,
    once,
)
from stackfuse._export.graph.frame import Frame
from stackfuse._export.graph.masks import refuse_as
from stackfuse._export.graph.reasons import reason_against

#: A class that overrides one of these methods cannot be converted like its parent.
_PREDICTING = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "_decision_function",
    "_raw_predict",
    "_transform",
)

#: The methods of :func:`convert`. "label" is the class number, as int64 of shape (batch,).
METHODS = ("predict_proba", "decision_function", "predict", "transform", "label")


@dataclass(frozen=True)
class Converter:
    """A converter that is registered for a class of estimators.

    Attributes
    ----------
    function : callable
        ``(estimator, x, method) -> tensor``.
    frames : bool
        Whether it takes a ``Frame`` of named columns for x too.
    edges : callable or None
        ``(estimator) -> array of shape (n_edges, 2)``: where the answer jumps.
    """

    function: Callable
    frames: bool
    edges: Callable | None


_converters: dict[type, Converter] = {}

#: Modules with the converters of a package that need not be installed, by the package.
_optional_modules: dict[str, str] = {}


def register_optional(package: str, module: str) -> None:
    """Register the module that holds the converters of an optional package.

    It is imported when the first estimator of the package is converted.
    """
    _optional_modules[package] = module


def _registered_for(cls: type) -> tuple[type, Converter] | None:
    """Return the nearest class above a class that has a converter, and the converter."""
    packages = {parent.__module__.partition(".")[0] for parent in cls.__mro__}
    for package in sorted(packages.intersection(_optional_modules)):
        importlib.import_module(_optional_modules[package])
    return next(((c, _converters[c]) for c in cls.__mro__ if c in _converters), None)


def edges_within(estimator) -> np.ndarray:
    """Return the values at which a fitted estimator's answer jumps, as its class has registered.

    Returns
    -------
    edges : ndarray of shape (n_edges, 2)
        Pairs of a column's number and a threshold.
    """
    for cls in type(estimator).__mro__:  # a converter for a subclass need not repeat them
        edges = _converters[cls].edges if cls in _converters else None
        if edges is not None:
            return np.asarray(edges(estimator)).reshape(-1, 2)
    return np.empty((0, 2))


def _no_converter_message(estimator) -> str:
    name = type(estimator).__name__
    reason = reason_against(type(estimator))
    why = f"it {reason}" if reason else "there is no converter for it"
    return (
        f'{name} cannot be converted to a Keras graph: {why}. The page "What exports" lists the '
        "estimators that can be exported. To add one, write a function (estimator, x, method) -> "
        f"tensor and decorate it with @stackfuse.converter_for({name})."
    )


def converter_for(
    *classes: type, frames: bool = False, edges: Callable | None = None
) -> Callable[[Callable], Callable]:
    """Register a function that converts the estimators of some classes.

    Parameters
    ----------
    *classes : type
        Fitted estimators of these classes, and of subclasses that predict by the same methods,
        are passed to the function.
    frames : bool, default=False
        Whether the function also takes a ``Frame`` of named columns for x, some of which may hold
        strings. Other functions are given the numbers in one tensor; rows that hold NaN,
        infinity or a number too large for float32 get outputs of NaN if the estimator, asked for
        such a row, raises.
    edges : callable, default=None
        Takes the fitted estimator and returns an array of shape (n_edges, 2): numbers of columns of
        its X, each with a value at which the answer jumps, ``x <= value`` for example. An export is
        compared with the estimator on rows that lie on these values and one float beside them. By
        default those of the closest parent class that has edges.

    Returns
    -------
    decorator : callable
        The decorator for a function ``(estimator, x, method) -> tensor``; see :func:`convert`. The
        function computes the result of ``method`` from x, of shape (batch, n_features), with stock
        Keras layers and ``keras.ops``. Keep learned numbers in arrays of at least one axis, in the
        dtype of x: Keras writes a 0-d array to the file as a Python number, and it comes back as
        float32.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.base import BaseEstimator, RegressorMixin
    >>> class Mean(RegressorMixin, BaseEstimator):
    ...     def fit(self, X, y):
    ...         self.n_features_in_ = X.shape[1]
    ...         return self
    ...     def predict(self, X):
    ...         return np.mean(X, axis=1)
    >>> @sf.converter_for(Mean)
    ... def mean(estimator, x, method):
    ...     from keras import ops
    ...     return ops.mean(x, axis=1)
    >>> graph = sf.to_keras(Mean().fit(np.eye(3), np.ones(3)))
    >>> np.asarray(graph(np.array([[1.0, 2.0, 6.0]]))["prediction"]).tolist()
    [3.0]
    """
    if not classes or not all(isinstance(cls, type) for cls in classes):
        raise TypeError(
            f"converter_for takes the classes that a function converts, got {classes!r}: "
            "@sf.converter_for(MyEstimator)."
        )
    fitting.check_settings({"frames": frames}, {"frames": fitting.FLAG})
    if edges is not None and not callable(edges):
        raise TypeError(f"edges must be None or a function of the estimator, got {edges!r}.")

    def register(function: Callable) -> Callable:
        if not callable(function):
            raise TypeError(
                "converter_for decorates a function (estimator, x, method) -> tensor, got "
                f"{function!r}."
            )
        for cls in classes:
            _converters[cls] = Converter(function, frames, edges)
        return function

    return register


def convert_transformer(
    *classes: type, frames: bool = False, edges: Callable | None = None
) -> Callable[[Callable], Callable]:
    """Register a function ``(estimator, x) -> tensor`` for classes that do nothing but transform.

    Parameters
    ----------
    *classes : type
    frames, edges
        As of :func:`converter_for`.
    """

    def register(function: Callable) -> Callable:
        @wraps(function)
        def converter(estimator, x, method):
            if method != "transform":
                raise unsupported(estimator, method)
            return function(estimator, x)

        converter_for(*classes, frames=frames, edges=edges)(converter)
        return function

    return register


@once
def convert(estimator: Any, x: Any, method: str) -> Any:
    """Return the symbolic tensor of a fitted estimator's predictions.

    Call it in a converter, for the parts of an estimator.

    Parameters
    ----------
    estimator : estimator
        The fitted estimator.
    x : KerasTensor of shape (batch, n_features, ...), Frame, or dict of str to KerasTensor
        The rows: numbers in the graph's precision. A data frame is a Frame of its columns by name,
        and a ``MultiInput`` is a dict of its arrays.
    method : {"predict_proba", "decision_function", "predict", "transform", "label"}
        The method to convert. With ``"predict"`` a classifier gives ``classes_``, which must be
        numbers; ``"label"`` gives the number of the class.

    Returns
    -------
    y : KerasTensor or list of KerasTensor
        The predictions in the graph's precision, or in int64 for ``"label"``. If scikit-learn
        returns a list, for several columns of classes, this is a list too.

    Raises
    ------
    NotConvertible
        If the estimator, or this method of it, has no exact counterpart.

    Examples
    --------
    >>> import keras, numpy as np, stackfuse as sf
    >>> from sklearn.linear_model import LinearRegression
    >>> x = keras.Input((1,), dtype="float64")
    >>> line = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    >>> graph = keras.Model(x, sf.convert(line, x, "predict"))
    >>> np.asarray(graph(np.array([[2.0]]))).round(6).tolist()
    [5.0]
    """
    converter = find_converter(estimator)
    check_is_fitted(estimator)
    if method == "predict" and len(getattr(estimator, "classes_", ())) > 0:
        return _class_values(estimator, convert(estimator, x, "label"), current_build().precision)
    if not converter.frames:
        x = x.numbers(wanted_by=type(estimator).__name__) if isinstance(x, Frame) else x
        refuse_as(estimator, x, method)
    return converter.function(estimator, x, method)


def find_converter(estimator) -> Converter:
    """Return the converter of an estimator, by its class.

    Raises
    ------
    NotConvertible
        If there is none, or the class overrides what the converter computes.
    """
    found = _registered_for(type(estimator))
    if found is None:
        raise NotConvertible(_no_converter_message(estimator))
    parent, converter = found
    _refuse_overridden(type(estimator), parent)
    return converter


def _refuse_overridden(cls: type, parent: type) -> None:
    """Raise if a class predicts differently from the registered class that it descends from."""
    changed = [
        m for m in _PREDICTING if _static_attribute(cls, m) is not _static_attribute(parent, m)
    ]
    if changed:
        raise NotConvertible(
            f"{cls.__name__} overrides {changed[0]} of {parent.__name__}, so it cannot be "
            f"converted like {messages.with_article(parent.__name__)}. Register a converter for "
            f"it with @stackfuse.converter_for({cls.__name__})."
        )


def _static_attribute(cls: type, name: str):
    """Return an attribute as the class body holds it; some methods are new objects on access."""
    return inspect.getattr_static(cls, name, None)


def unsupported(estimator, method: str) -> NotConvertible:
    """Return the error for a method that a converter does not know."""
    return NotConvertible(
        f"{type(estimator).__name__}.{method} cannot be converted to a Keras graph."
    )


def _class_values(estimator, label, dtype: str):
    """Return the classes themselves, for classes that are numbers."""
    if isinstance(estimator.classes_, list):
        columns = [
            _values_of(estimator, classes, label[:, k], dtype)
            for k, classes in enumerate(estimator.classes_)
        ]
        return ops.stack(columns, axis=1)
    if len(label.shape) == 2:  # a 0/1 matrix: its columns are the classes
        return ops.cast(label, dtype)
    return _values_of(estimator, estimator.classes_, label, dtype)


def _values_of(estimator, classes, label, dtype: str):
    values = np.asarray(classes)
    if values.dtype.kind not in "buif":
        raise NotConvertible(
            f"{type(estimator).__name__} predicts the classes {values.tolist()}, but the "
            "meta-learner needs numbers. Use stack_method='predict_proba'."
        )
    hits = ops.equal(ops.reshape(label, (-1, 1)), np.arange(len(values), dtype=np.int64))
    return ops.sum(ops.where(hits, values.astype(dtype), np.zeros(len(values), dtype)), axis=1)
