"""Columns of X that the meta-learner sees too."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from stackfuse._core import MultiInput, messages, multi_input, sklearn_private


def as_list(columns) -> list:
    """Return names and numbers of columns as a list; a mask as the numbers that it chooses."""
    columns = list(columns)
    if columns and all(isinstance(column, bool | np.bool_) for column in columns):
        return np.flatnonzero(columns).tolist()
    return columns


def chosen_columns(X, columns) -> Any:
    """Return some columns of X, by name or by number; of a MultiInput some of its inputs.

    Raises
    ------
    ValueError
        If X has no such column.
    """
    if isinstance(columns, np.ndarray) and columns.ndim != 1:
        raise ValueError(
            f"passthrough must be a list of columns, got an array of shape {columns.shape}."
        )
    given, columns = columns, as_list(columns)
    twice = [column for k, column in enumerate(columns) if column in columns[:k]]
    if twice:
        raise ValueError(f"passthrough names the column {messages.in_short(twice[0])} twice.")
    if columns != list(given) and len(given) != X.shape[1]:
        raise ValueError(f"passthrough is a mask of {len(given)} columns, but X has {X.shape[1]}.")
    try:
        if isinstance(X, MultiInput):
            tables = [np.asarray(X[name]) for name in columns]
            return np.hstack([table.reshape(len(table), -1) for table in tables])
        if hasattr(X, "columns"):
            names = list(X.columns)
            columns = [names.index(c) if isinstance(c, str) else c for c in columns]
        elif scipy.sparse.issparse(X):
            X = X.tocsc()
        return sklearn_private.safe_indexing(X, columns, axis=1)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"passthrough={columns!r} names columns that X lacks: {error}") from error


#: Packages whose estimators say truly, by their tags, whether they take strings and missing values.
_HONEST = {"sklearn", "stackfuse", "lightgbm", "xgboost"}


def check_taken(X, final_estimator) -> None:
    """Raise if a meta-learner is known not to take a column of X that is passed through to it.

    Parameters
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        The columns, in the rows that the meta-learner is trained on.
    final_estimator : estimator or None
        None stands for the default one.

    Raises
    ------
    ValueError
        Naming the column, a value in it, and the meta-learner.
    """
    taker = None if final_estimator is None else _first_to_see(final_estimator)
    own = type(taker).__module__.partition(".")[0] in _HONEST and not hasattr(taker, "estimators")
    known = taker is None or own
    if not known or not (taker is None or is_classifier(taker) or is_regressor(taker)):
        return
    if isinstance(X, MultiInput | multi_input.StoredRows) or scipy.sparse.issparse(X):
        return
    name = "the default meta-learner" if taker is None else f"the meta-learner {_name(taker)}"
    tags = None if taker is None else get_tags(taker).input_tags
    takes_text = tags is not None and (tags.string or tags.categorical)
    for column, values in _columns(X):
        where = f"passthrough: column {column!r}"
        bad = _first_no_number(values)
        if bad is not None and not takes_text:
            raise ValueError(
                f"{where} holds {messages.in_short(bad)}, and {name} takes numbers only. Leave the "
                "column out, passthrough=[...], or let final_estimator be a pipeline that encodes "
                "it."
            )
        missing = int(np.asarray(pd.isna(values)).sum())
        if missing and not (tags is not None and tags.allow_nan):
            raise ValueError(
                f"{where} lacks {missing} of {len(values)} values, which {name} does not take. "
                "Leave the column out, passthrough=[...], or impute it: "
                "final_estimator=make_pipeline(SimpleImputer(), ...)."
            )


def _name(estimator) -> str:
    return type(estimator).__name__


def _first_to_see(estimator) -> Any:
    """Return the part of a meta-learner that is given its table: the first step of a pipeline."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return _first_to_see(steps[0]) if steps else estimator
    for name in ("estimator", "regressor"):
        inner = getattr(estimator, name, None)
        if hasattr(inner, "get_params") and not isinstance(inner, type):
            return _first_to_see(inner)
    return estimator


def _columns(X) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield names, or numbers, and values of the columns of a table."""
    if hasattr(X, "columns"):
        for j, name in enumerate(X.columns):
            yield name, np.asarray(sklearn_private.safe_indexing(X, j, axis=1))
        return
    table = np.asarray(X)
    for j in range(table.shape[1] if table.ndim == 2 else 0):
        yield j, table[:, j]


def _first_no_number(values: np.ndarray) -> Any:
    """Return the first value of a column that is no number and is not missing; None if all are."""
    if values.dtype.kind in "biuf":
        return None
    if values.dtype.kind in "mM":
        return values[0]
    there = values[~np.asarray(pd.isna(values))]
    for value in there:
        try:
            float(value)
        except (TypeError, ValueError):
            return value
    return None
