"""Predictions of the bases as columns of the meta-learner's table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.frozen import FrozenEstimator

from stackfuse._core import messages, sklearn_private
from stackfuse._oof.contributions import (
    FEATURES,
    network_of,
)
from stackfuse._oof.jobs import DiscardedModel

METHODS = ("predict_proba", "decision_function", "predict")

#: The method of a column of X that the meta-learner sees too.
PASSED = "passthrough"


class Column(NamedTuple):
    """One column of the out-of-fold matrix."""

    estimator: str
    method: str
    output: int
    """Number of the class (its place in ``classes_``), of the target column, or of the feature."""


class ColumnsMixin:
    """A meta-learner that wants to know which column of its table comes from which base.

    A subclass has a parameter ``columns=None``. A stack sets it before it fits the meta-learner,
    also where this is a step of a pipeline or inside a search; what a user has set stays.

    Attributes
    ----------
    columns : sequence of Column or None
        For every column of X a tuple ``(estimator, method, output)``: the name of the base, what it
        predicted with, and the number of the class, target or feature. Columns of X that are passed
        through have the method ``"passthrough"``.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator, RegressorMixin
    >>> import stackfuse as sf
    >>> class FirstBase(RegressorMixin, sf.ColumnsMixin, BaseEstimator):
    ...     def __init__(self, columns=None):
    ...         self.columns = columns
    ...     def fit(self, X, y):
    ...         first = self.columns[0].estimator
    ...         self.places_ = [k for k, c in enumerate(self.columns) if c.estimator == first]
    ...         return self
    ...     def predict(self, X):
    ...         return X[:, self.places_].mean(axis=1)
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Lasso, Ridge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> stack = sf.StackingRegressor([("ridge", Ridge()), ("lasso", Lasso())], FirstBase())
    >>> stack.fit(X, y).final_estimator_.places_
    [0]
    """

    columns: Sequence[Column] | None

    def columns_read(self) -> Sequence[int] | None:
        """Return which columns of X the fitted meta-learner reads.

        A stack that predicts does not ask the other bases, and an exported graph has no part of
        them.

        Returns
        -------
        places : sequence of int or None
            Numbers of columns; None stands for all.
        """
        return None


def set_columns(estimator, columns: Sequence[Column], *, anew: bool = False):
    """Set the parameter `columns` of a meta-learner, and of each meta-learner inside it.

    Parameters
    ----------
    estimator : estimator
        Changed in place: a pipeline, a search or a meta-learner.
    columns : sequence of Column
    anew : bool, default=False
        Whether to replace columns that are set already. By default the user's setting stays.

    Returns
    -------
    estimator : estimator
    """
    parts = {"": estimator, **sklearn_private.params_of(estimator)}
    readers = {name: part for name, part in parts.items() if isinstance(part, ColumnsMixin)}
    unset = [name for name, part in readers.items() if anew or part.columns is None]
    new_columns = {f"{name}__columns" if name else "columns": list(columns) for name in unset}
    return estimator.set_params(**new_columns) if new_columns else estimator


def methods_of(
    bases: Sequence[tuple[str, Any]], stack_method: str | Mapping[str, str], names: Sequence[str]
) -> dict[str, str]:
    """Return by the names of the bases the methods whose predictions they contribute.

    Parameters
    ----------
    bases : sequence of (str, estimator)
    stack_method : str or mapping of str to str
        For all, or by name; "auto" for those that it does not name.
    names : sequence of str
        The names of all bases, also of dropped ones.

    Raises
    ------
    ValueError
        If a base does not have its method, or a name is none.
    """
    by_name = (
        stack_method if isinstance(stack_method, Mapping) else dict.fromkeys(names, stack_method)
    )
    unknown = [name for name in by_name if name not in names]
    if unknown:
        raise ValueError(
            f"stack_method names {unknown[0]!r}, which is not one of the base estimators "
            f"{list(names)}.{messages.did_you_mean(str(unknown[0]), names)}"
        )
    return {name: _response_method(name, e, by_name.get(name, "auto")) for name, e in bases}


def _response_method(name: str, estimator, stack_method: str) -> str:
    """Return the method whose predictions a base estimator contributes.

    Raises
    ------
    ValueError
        If the estimator does not have it.
    """
    if stack_method not in ("auto", *METHODS, FEATURES):
        options = messages.listed(["auto", *METHODS, FEATURES])
        raise ValueError(
            f"stack_method must be {options}, or a dict of these by the names of the base "
            f"estimators, got {stack_method!r}."
        )
    if stack_method == FEATURES:
        if network_of(estimator) is None:
            raise ValueError(
                "stack_method='features' takes the activations of a network, but base estimator "
                f"{name!r} is {messages.with_article(type(estimator).__name__)}, which has none. "
                "Name the networks only: stack_method={'net': 'features'}. The others keep "
                "'auto'."
            )
        return FEATURES
    wanted = METHODS if stack_method == "auto" else (stack_method,)
    for method in wanted:
        if hasattr(estimator, method):
            return method
    has = [method for method in METHODS if hasattr(estimator, method)]
    hint = f"use stack_method={messages.listed(has)}" if has else "pass an estimator that predicts"
    shown = list(wanted) if stack_method == "auto" else stack_method
    raise ValueError(
        f"Underlying estimator {messages.printable(name)} does not implement the method {shown}: "
        f"it is {messages.with_article(type(estimator).__name__)}. Instead, {hint}."
    )


def labels_for(estimator, classes: np.ndarray | None, *, prefit: bool) -> np.ndarray | None:
    """Return the classes as an estimator knows them: by number, unless it came fitted.

    Parameters
    ----------
    estimator : fitted estimator
    classes : ndarray of shape (n_classes,) or None
        The labels; None where there are no single labels.
    prefit : bool
        Whether all bases came fitted.
    """
    if classes is None or prefit or isinstance(estimator, FrozenEstimator):
        return classes
    return np.arange(len(classes))


def as_numbers(prediction, estimator, method: str, labels: np.ndarray | None):
    """Return predictions, of which labels that a fitted base returned are replaced by numbers."""
    if method != "predict" or labels is None or not isinstance(estimator, FrozenEstimator):
        return prediction
    class_places(estimator, labels)  # it knows no others
    return np.searchsorted(labels, prediction)


def as_block(prediction, estimator, method: str, labels: np.ndarray | None) -> np.ndarray:
    """Return one estimator's predictions as columns of the meta-learner's table.

    Parameters
    ----------
    prediction : ndarray or list of ndarray
        The result of the estimator's method; a list holds one array per label.
    estimator : fitted estimator
        Its ``classes_`` tell which classes the columns stand for.
    method : str
    labels : ndarray of shape (n_classes,) or None
        All classes of a single-label target, as the estimator was told them; None for any other
        target.

    Returns
    -------
    block : ndarray of shape (n_samples, n_columns), dtype float64
        The first of two complementary probabilities is left out, as in scikit-learn's stacking.
    """
    if isinstance(prediction, list):
        return as_labels(prediction, estimator)
    prediction = as_numbers(prediction, estimator, method, labels)
    prediction = aligned(np.asarray(prediction), estimator, method, labels)
    block = prediction.reshape(len(prediction), -1)
    if method == "predict_proba" and labels is not None and len(labels) == block.shape[1] == 2:
        block = block[:, 1:]
    try:
        return block.astype(np.float64)
    except ValueError as error:
        value = block.tolist()[0][0]
        raise ValueError(
            f"{_kind(estimator)}.{method} returned {value!r}, which is not a number: use "
            "stack_method='predict_proba'."
        ) from error


def as_labels(prediction: list, estimator) -> np.ndarray:
    """Return multilabel probabilities, given as one array per label, as one column per label.

    A label that was the same in all training rows has a single probability: that of its one class.
    """
    columns = []
    for table, classes in zip(prediction, estimator.classes_):
        only = table.shape[1] == 1
        columns.append(table[:, 0] * float(classes[0] == 1) if only else table[:, 1])
    return np.column_stack(columns).astype(np.float64)


def aligned(
    prediction: np.ndarray, estimator, method: str, labels: np.ndarray | None
) -> np.ndarray:
    """Return predictions with one column for every class, also those the estimator never saw."""
    known = getattr(estimator, "classes_", None)
    if labels is None or known is None or method in ("predict", FEATURES):
        return prediction
    if np.array_equal(known, labels):
        return prediction
    if method != "predict_proba":
        raise ValueError(
            f"{_kind(estimator)} was trained on {len(known)} of {len(labels)} classes, so the "
            f"columns of {method} cannot be matched. Use stack_method='predict_proba', or "
            "stratified folds."
        )
    full = np.zeros((len(prediction), len(labels)), prediction.dtype)
    full[:, class_places(estimator, labels)] = prediction
    return full


def _kind(estimator) -> str:
    """Return the name of an estimator's class, also of one that was not kept."""
    return estimator.kind if isinstance(estimator, DiscardedModel) else type(estimator).__name__


def class_places(estimator, labels: np.ndarray) -> np.ndarray:
    """Return the places of an estimator's classes among all classes.

    Raises
    ------
    ValueError
        If it knows a class that is none of them.
    """
    known = np.asarray(estimator.classes_)
    if not np.isin(known, labels).all():
        raise ValueError(
            f"{_kind(estimator)} was trained on the classes {known.tolist()}, but y holds "
            f"{np.asarray(labels).tolist()}."
        )
    return np.searchsorted(labels, known)


def columns_of(name: str, method: str, width: int, n_classes: int | None) -> list[Column]:
    """Say what the columns of one base estimator's block stand for."""
    first = 1 if method == "predict_proba" and n_classes == 2 and width == 1 else 0
    return [Column(name, method, first + j) for j in range(width)]
