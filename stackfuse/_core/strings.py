"""Rows of strings: whether there are any, and how they are checked."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core.messages import first_few

#: The string for a missing value in a graph's column of strings, and so in every file.
MISSING = "<NA>"


def holds_strings(X: Any) -> bool:
    """Whether an array-like, a frame for example, holds any string."""
    if scipy.sparse.issparse(X) or getattr(getattr(X, "dtype", None), "kind", "O") in "biufcmM":
        return False
    if isinstance(X, pd.DataFrame) and all(dtype.kind in "biuf" for dtype in X.dtypes):
        return False
    array = np.asarray(X)
    if array.dtype.kind != "O":
        return array.dtype.kind in "UST"
    return any(isinstance(value, str | bytes) for value in array.ravel())


def as_objects(X: Any) -> np.ndarray:
    """Return an array-like as an array of objects."""
    array = np.asarray(X)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return array.astype(object)


def check_strings(X: Any, owner, name: str = "X") -> np.ndarray:
    """Return rows as an array of strings.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
    owner : estimator
        Named in the messages.
    name : str, default="X"
        How the rows are called there.

    Returns
    -------
    strings : ndarray of object of shape (n_samples, ...)

    Raises
    ------
    ValueError
        If a value is missing, or is no string.
    """
    if scipy.sparse.issparse(X):
        raise ValueError(
            f"{type(owner).__name__} takes strings, but {name} is sparse: pass an array or a frame."
        )
    array = as_objects(X)
    by_row = array.reshape(len(array), -1)
    missing: Any = np.asarray(pd.isna(by_row)).any(axis=1)
    if missing.any():
        rows = first_few(np.flatnonzero(missing))
        raise ValueError(
            f"Input {name} contains NaN or None among its strings, in {missing.sum()} of "
            f"{len(array)} rows (rows {rows}): fill them, for example with "
            "SimpleImputer(strategy='constant', fill_value=''), or drop the rows."
        )
    others = np.array([[not isinstance(v, str | bytes) for v in row] for row in by_row], bool)
    if others.any():
        row, column = np.argwhere(others)[0]
        columns = getattr(X, "columns", None)
        where = f"row {row}" if columns is None else f"column {columns[column]!r}"
        raise ValueError(
            f"{type(owner).__name__} takes strings, but {name} holds {by_row[row, column]!r} in "
            f"{where}: pass numbers as a separate input, sf.MultiInput(text=..., table=...), or "
            f"convert all to strings, {name}.astype(str)."
        )
    if any(isinstance(value, bytes) for value in by_row.ravel()):
        decoded = [v.decode("utf-8") if isinstance(v, bytes) else v for v in by_row.ravel()]
        array = np.array([*decoded, None], object)[:-1].reshape(array.shape)
    return array
