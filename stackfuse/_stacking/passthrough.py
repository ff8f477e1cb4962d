"""Columns of X that the meta-learner sees too."""

from typing import Any

import numpy as np
import scipy.sparse

from stackfuse._core import MultiInput, sklearn_private


def as_list(columns) -> list:
    """Return names and numbers of columns as a list; a mask as the numbers of what it chooses."""
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
    given, columns = columns, as_list(columns)
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
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"passthrough={columns!r} names columns that X lacks: {error}") from error
