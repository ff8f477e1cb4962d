"""The numbers in rows of any kind as one matrix, and the way back to rows of that kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import MultiInput, strings
from stackfuse._export.graph.signature import (
    as_given,
    as_pandas,
)


@dataclass(frozen=True)
class Table:
    """The numbers of some rows as one matrix, and the way back to rows as they were.

    Attributes
    ----------
    numbers : ndarray of shape (n_samples, n_columns)
    rebuild : callable
        Takes such a matrix, of any number of rows.
    """

    numbers: np.ndarray
    rebuild: Callable[[np.ndarray], Any]


def table_of(rows: Any) -> Table | None:
    """Return the numbers in rows of any kind; None if there are none, or one part has none."""
    if isinstance(rows, MultiInput):
        return _of_several(rows)
    if hasattr(rows, "columns"):
        return _of_frame(as_pandas(rows), rows)
    if scipy.sparse.issparse(rows):
        return Table(rows.toarray().astype(np.float64), type(rows))
    array = np.asarray(rows)
    if array.dtype.kind not in "iuf" or array[:1].size == 0:
        return None
    shape = array.shape[1:]
    return Table(array.reshape(len(array), -1).astype(np.float64), lambda m: m.reshape(-1, *shape))


def dense(rows: Any) -> Any:
    """Return rows as the graph gets them, which has no sparse ones."""
    if isinstance(rows, MultiInput):
        return MultiInput(**{name: dense(array) for name, array in rows.arrays.items()})
    return rows.toarray() if scipy.sparse.issparse(rows) else rows


def _of_several(rows: MultiInput) -> Table | None:
    """Return the numbers of all inputs; strings are taken from the rows that there are, in turn."""
    words = {n: np.asarray(a) for n, a in rows.arrays.items() if strings.holds_strings(a)}
    tables = {name: table_of(array) for name, array in rows.arrays.items() if name not in words}
    moved = {name: table for name, table in tables.items() if table is not None}
    if len(moved) < len(tables) or not moved:
        return None
    ends = np.cumsum([table.numbers.shape[1] for table in moved.values()])[:-1]

    def rebuild(numbers: np.ndarray) -> MultiInput:
        blocks = np.split(numbers, ends, axis=1)
        arrays = {n: moved[n].rebuild(block) for n, block in zip(moved, blocks)}
        turns = np.arange(len(numbers)) % len(rows)
        arrays |= {name: array[turns] for name, array in words.items()}
        return MultiInput(**{name: arrays[name] for name in rows.arrays})

    return Table(np.hstack([table.numbers for table in moved.values()]), rebuild)


def _of_frame(frame: pd.DataFrame, rows) -> Table | None:
    """Return the columns of numbers; the others are taken from the rows that there are, in turn."""
    numeric = [k for k in range(frame.shape[1]) if frame.dtypes.iloc[k].kind in "iuf"]
    if not numeric:
        return None

    def rebuild(numbers: np.ndarray):
        copied = frame.iloc[np.arange(len(numbers)) % len(frame)].reset_index(drop=True)
        for column, place in zip(numbers.T, numeric):
            copied.isetitem(place, column)
        return as_given(copied, rows)

    return Table(frame.iloc[:, numeric].to_numpy(np.float64, na_value=np.nan), rebuild)
