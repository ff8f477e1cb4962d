"""Sample rows: evenly spread ones, and digests by which rows are found again."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import sklearn_private
from stackfuse._core.multi_input import MultiInput


def row_digests(X, rows=None) -> list[bytes]:
    """Return a digest of each row, or of the given ones: equal for equal values of any dtype.

    Parameters
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
    rows : array of int, default=None

    Returns
    -------
    digests : list of bytes
    """
    rows = np.arange(X.shape[0] if hasattr(X, "shape") else len(X)) if rows is None else rows
    digests: list[bytes] = []
    for start in range(0, len(rows), 4096):
        part = sklearn_private.safe_indexing(X, rows[start : start + 4096])
        arrays: list[Any] = list(part.arrays.values()) if isinstance(part, MultiInput) else [part]
        lines = [_as_bytes(a.toarray() if scipy.sparse.issparse(a) else a) for a in arrays]
        digests += [
            hashlib.blake2b(b"".join(parts), digest_size=16).digest() for parts in zip(*lines)
        ]
    return digests


def _as_bytes(array) -> list[bytes]:
    """Return the rows of an array or a frame as bytes: numbers in float32, the rest as text."""
    try:
        numbers = np.asarray(array).astype(np.float32)
    except (TypeError, ValueError):
        rows = _as_objects(array).reshape(len(array), -1)
        return ["\0".join(map(_in_words, row)).encode(errors="replace") for row in rows]
    return [row.tobytes() for row in np.ascontiguousarray(numbers.reshape(len(numbers), -1))]


def _as_objects(array) -> np.ndarray:
    """Return an array, or a data frame of any library, as Python objects."""
    if isinstance(array, pd.DataFrame) or not hasattr(array, "columns"):
        return np.asarray(array, object)
    columns = [array[name].to_list() for name in array.columns]
    return np.array(columns, object).T.reshape(-1, len(columns))


def _in_words(value: Any) -> str:
    """Return a value of a row as text, the same for a number of any dtype."""
    if isinstance(value, str):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    return str(np.float32(value)) if isinstance(value, int | float | np.number) else str(value)


def spread(n_rows: int, n_wanted: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the numbers of evenly spread rows, out of all rows or out of the given ones."""
    places = np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_wanted)).astype(np.intp))
    return places if rows is None else rows[places]
