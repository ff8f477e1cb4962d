"""Turn rows of any kind into one matrix of their words, and such a matrix back into rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stackfuse._core import MultiInput, sklearn_private, strings
from stackfuse._export.graph.signature import as_given, as_pandas


@dataclass(frozen=True)
class WordTable:
    """The words of some rows as one matrix, and the way back.

    Attributes
    ----------
    words : ndarray of object, shape (n_samples, n_columns)
    missing : list of tuple
        For each column, the objects that stand for a missing word: the one that it holds, or
        those that it may hold.
    rebuild : callable
        From such a matrix, of any number of rows, to rows of the original kind. The numbers of
        the original rows are repeated in turn.
    """

    words: np.ndarray
    missing: list[tuple[Any, ...]]
    rebuild: Callable[[np.ndarray], Any]


def word_table(rows: Any) -> WordTable | None:
    """Return the words in rows of any kind; None if they hold none."""
    if isinstance(rows, MultiInput):
        return _table_of_several(rows)
    if not strings.holds_strings(rows):
        return None
    if hasattr(rows, "columns"):
        return _table_of_frame(as_pandas(rows), rows)
    return _table_of_array(np.asarray(rows), is_list=isinstance(rows, list | tuple))


def _table_of_several(rows: MultiInput) -> WordTable | None:
    """Return the words of all inputs; rebuilt rows repeat the other inputs in turn."""
    found = {name: word_table(array) for name, array in rows.arrays.items()}
    tables = {name: table for name, table in found.items() if table is not None}
    if not tables:
        return None
    ends = np.cumsum([table.words.shape[1] for table in tables.values()])[:-1]

    def rebuild(words: np.ndarray) -> MultiInput:
        turns = np.arange(len(words)) % len(rows)
        blocks = dict(zip(tables, np.split(words, ends, axis=1)))
        arrays = {
            name: tables[name].rebuild(blocks[name])
            if name in tables
            else sklearn_private.safe_indexing(array, turns)
            for name, array in rows.arrays.items()
        }
        return MultiInput(**arrays)

    words = np.hstack([table.words for table in tables.values()])
    return WordTable(words, [m for table in tables.values() for m in table.missing], rebuild)


def _table_of_frame(frame: pd.DataFrame, rows) -> WordTable | None:
    """Return the columns of words of a frame; rebuilt rows repeat its other columns in turn."""
    places = [k for k in range(frame.shape[1]) if strings.holds_strings(frame.iloc[:, k])]

    def rebuild(words: np.ndarray):
        copied = frame.iloc[np.arange(len(words)) % len(frame)].reset_index(drop=True)
        for column, place in zip(words.T, places):
            copied.isetitem(place, _as_dtype(column, frame.dtypes.iloc[place]))
        return as_given(copied, rows)

    columns = [frame.iloc[:, k].to_numpy(object) for k in places]
    missing = [
        _missing_in(column) if _takes_both(dtype) else (np.nan,)
        for column, dtype in zip(columns, frame.dtypes.iloc[places])
    ]
    return WordTable(np.column_stack(columns), missing, rebuild)


def _table_of_array(array: np.ndarray, is_list: bool) -> WordTable:
    """Return the columns of words of an array; rebuilt rows repeat its other columns in turn."""
    shape, kind = array.shape[1:], array.dtype.kind
    table = strings.as_objects(array).reshape(len(array), -1)
    places = [k for k in range(table.shape[1]) if strings.holds_strings(table[:, k])]

    def rebuild(words: np.ndarray) -> Any:
        copied = table[np.arange(len(words)) % len(table)]
        copied[:, places] = words
        copied = copied.astype(str) if kind in "US" else copied
        made = (np.char.encode(copied, "utf-8") if kind == "S" else copied).reshape(-1, *shape)
        return made.tolist() if is_list else made

    words = table[:, places]
    missing = [() if kind in "US" else _missing_in(column) for column in words.T]
    return WordTable(words, missing, rebuild)


def _as_dtype(words: np.ndarray, dtype: Any) -> pd.Series:
    """Return words as a column; those that are no category become one.

    Missing words of another kind than the dtype's stay as they are, in a column of objects.
    """
    if isinstance(dtype, pd.CategoricalDtype):
        new = [w for w in dict.fromkeys(words[~pd.isna(words)]) if w not in dtype.categories]
        dtype = pd.CategoricalDtype([*dtype.categories, *new], dtype.ordered)
    elif any(w is not getattr(dtype, "na_value", None) for w in words[np.asarray(pd.isna(words))]):
        return pd.Series(words, dtype=object)
    return pd.Series(words, dtype=object).astype(dtype)


def _missing_in(words: np.ndarray) -> tuple[Any, ...]:
    """Return the first missing value of a column, or both kinds if none is missing.

    Some estimators tell None from NaN, and a graph cannot.
    """
    missing = words[np.asarray(pd.isna(words))]
    return (missing[0],) if len(missing) else (np.nan, None)


def _takes_both(dtype: Any) -> bool:
    """Whether None and NaN may stand in a column: of objects, or of a nullable dtype made such."""
    return isinstance(dtype, np.dtype) or getattr(dtype, "na_value", None) is pd.NA
