"""Turn rows of any kind into one matrix of their numbers, and such a matrix back into rows."""

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
    holds_words_and_numbers,
)
from stackfuse._steps import dates


@dataclass(frozen=True)
class NumericTable:
    """The numbers of some rows as one matrix, and the way back.

    Attributes
    ----------
    numbers : ndarray of shape (n_samples, n_columns)
    rebuild : callable
        From such a matrix, of any number of rows, to rows of the original kind.
    widths : tuple of int
        The numbers of columns that belong to each input of a MultiInput; of other rows one number.
    """

    numbers: np.ndarray
    rebuild: Callable[[np.ndarray], Any]
    widths: tuple[int, ...]

    @classmethod
    def of_one(cls, numbers: np.ndarray, rebuild: Callable[[np.ndarray], Any]) -> "NumericTable":
        """Return the table of rows that are no MultiInput."""
        return cls(numbers, rebuild, numbers.shape[1:])


def numeric_table(rows: Any) -> NumericTable | None:
    """Return the numbers in rows of any kind; None if the rows, or one input, hold none."""
    if isinstance(rows, MultiInput):
        return _table_of_several(rows)
    if hasattr(rows, "columns"):
        return _table_of_frame(as_pandas(rows), rows)
    if scipy.sparse.issparse(rows):
        return NumericTable.of_one(rows.toarray().astype(np.float64), type(rows))
    if holds_words_and_numbers(rows):
        return _table_of_frame(as_pandas(rows), rows)
    array = np.asarray(rows)
    if array.dtype.kind not in "iuf" or array[:1].size == 0:
        return None
    shape = array.shape[1:]
    return NumericTable.of_one(
        array.reshape(len(array), -1).astype(np.float64), lambda m: m.reshape(-1, *shape)
    )


def without_sparse(rows: Any) -> Any:
    """Return rows with dense arrays in place of sparse ones, as a graph gets them."""
    if isinstance(rows, MultiInput):
        return MultiInput(**{name: without_sparse(array) for name, array in rows.arrays.items()})
    return rows.toarray() if scipy.sparse.issparse(rows) else rows


def _table_of_several(rows: MultiInput) -> NumericTable | None:
    """Return the numbers of all inputs; rebuilt rows repeat the inputs of strings in turn."""
    words = {n: np.asarray(a) for n, a in rows.arrays.items() if strings.holds_strings(a)}
    tables = {name: numeric_table(a) for name, a in rows.arrays.items() if name not in words}
    tables_by_name = {name: table for name, table in tables.items() if table is not None}
    if len(tables_by_name) < len(tables) or not tables_by_name:
        return None
    widths = tuple(table.numbers.shape[1] for table in tables_by_name.values())
    ends = np.cumsum(widths)[:-1]

    def rebuild(numbers: np.ndarray) -> MultiInput:
        blocks = np.split(numbers, ends, axis=1)
        arrays = {
            name: table.rebuild(m) for (name, table), m in zip(tables_by_name.items(), blocks)
        }
        turns = np.arange(len(numbers)) % len(rows)
        arrays |= {name: array[turns] for name, array in words.items()}
        return MultiInput(**{name: arrays[name] for name in rows.arrays})

    numbers = np.hstack([table.numbers for table in tables_by_name.values()])
    return NumericTable(numbers, rebuild, widths)


def _table_of_frame(frame: pd.DataFrame, rows) -> NumericTable | None:
    """Return the numeric columns of a frame; rebuilt rows repeat its other columns in turn."""
    dtypes = frame.infer_objects().dtypes if isinstance(rows, np.ndarray) else frame.dtypes
    numeric = [k for k, dtype in enumerate(dtypes) if dtype.kind in "iufM"]
    if not numeric:
        return None

    def rebuild(numbers: np.ndarray):
        copied = frame.iloc[np.arange(len(numbers)) % len(frame)].reset_index(drop=True)
        for column, place in zip(numbers.T, numeric):
            dtype = dtypes.iloc[place]
            values = dates.dates_of(column, dtype) if dtype.kind == "M" else column
            copied.isetitem(place, values)
        return as_given(copied, rows)

    numbers = dates.with_days(frame.iloc[:, numeric]).to_numpy(np.float64, na_value=np.nan)
    return NumericTable.of_one(numbers, rebuild)
