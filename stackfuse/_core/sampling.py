"""Sample rows: evenly spread ones, and digests by which rows are found again."""

import hashlib
from typing import Any

import numpy as np
import scipy.sparse

from stackfuse._core import sklearn_private
from stackfuse._core.multi_input import MultiInput


def row_digests(X, rows=None) -> list[bytes]:
    """Return a digest of each row, or of the given ones: equal for equal numbers of any dtype.

    Parameters
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
    rows : array of int, default=None

    Returns
    -------
    digests : list of bytes
        Empty where X does not hold numbers.
    """
    rows = np.arange(X.shape[0] if hasattr(X, "shape") else len(X)) if rows is None else rows
    digests: list[bytes] = []
    for start in range(0, len(rows), 4096):
        part = sklearn_private.safe_indexing(X, rows[start : start + 4096])
        arrays: list[Any] = list(part.arrays.values()) if isinstance(part, MultiInput) else [part]
        try:
            tables = [
                (a.toarray() if scipy.sparse.issparse(a) else np.asarray(a)).astype(np.float32)
                for a in arrays
            ]
        except (TypeError, ValueError):
            return []
        lines = [np.ascontiguousarray(table.reshape(len(table), -1)) for table in tables]
        digests += [
            hashlib.blake2b(b"".join(line[k].tobytes() for line in lines), digest_size=16).digest()
            for k in range(len(lines[0]))
        ]
    return digests


def spread(n_rows: int, n_wanted: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the numbers of evenly spread rows, out of all rows or out of the given ones."""
    places = np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_wanted)).astype(np.intp))
    return places if rows is None else rows[places]
