"""Rows of any kind: what is kept of them, and rows made up from that.

Columns are independent of each other in made-up rows. They only have to be
accepted by estimators, and to tell two graphs apart.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import MultiInput, sampling, sklearn_private
from stackfuse._stacking.sketch.columns import Column
from stackfuse._stacking.sketch.held import ANY_BYTES, Held
from stackfuse._stacking.sketch.numbers import Numbers

#: The most rows, and numbers in them, that are looked at.
_MAX_ROWS, _MAX_NUMBERS = 4096, 2**22

#: The most numbers of a row whose ranges are kept one by one; of longer rows one range is kept.
_MAX_COLUMNS = 4096


class Sketch(ABC):
    """Facts about rows, without the rows."""

    @abstractmethod
    def rows(self, n_rows: int, generator: np.random.Generator) -> Any:
        """Return made-up rows of the kind, shape and dtypes of those that were sketched.

        Raises
        ------
        NotConvertible
            If rows like these cannot be made up: a column holds durations, for example.
        """


def sketch_of(X: Any, held: Held) -> Sketch:
    """Return what is kept of rows.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or MultiInput of shape (n_samples, ...)
    held : Held
        Categories and words that may be kept, because estimators hold them.
    """
    if isinstance(X, MultiInput):
        return SeveralSketch({name: sketch_of(array, held) for name, array in X.arrays.items()})
    row = sklearn_private.safe_indexing(X, [0])
    n_numbers = max(1, np.size(row) if hasattr(row, "columns") else int(np.prod(np.shape(row)[1:])))
    if scipy.sparse.issparse(X):
        n_numbers = 1
    most = min(_MAX_ROWS, max(64, _MAX_NUMBERS // n_numbers))
    some = sampling.spread(sklearn_private.num_samples(X), most)
    X = sklearn_private.safe_indexing(X, some)
    if scipy.sparse.issparse(X):
        return SparseSketch.of(X, held)
    if isinstance(X, pd.DataFrame):
        return FrameSketch.of(X, held)
    if isinstance(X, pd.Series):
        return SeriesSketch(Column.of(X, held), X.name)
    if hasattr(X, "columns"):
        return OtherFrameSketch.of(X, held)
    return ArraySketch.of(X, held)


@dataclass(frozen=True, eq=False)
class ArraySketch(Sketch):
    """The sketch of an array, or of rows as a list.

    Attributes
    ----------
    row_shape : tuple of int
    dtype : dtype
    columns : Numbers or list of Column
        One for each number or string of a row; one for all of a long row.
    is_list : bool
    """

    row_shape: tuple[int, ...]
    dtype: np.dtype
    columns: Numbers | list[Column]
    is_list: bool

    @classmethod
    def of(cls, X, held: Held) -> "ArraySketch":
        """Return what is kept of an array."""
        array = np.asarray(X)
        row_shape = array.shape[1:]
        n_columns = int(np.prod(row_shape))
        table = array.reshape(len(array), n_columns)
        if n_columns > _MAX_COLUMNS:
            table = table.reshape(-1, 1)
        columns: Numbers | list[Column]
        if array.dtype.kind in "iufb":
            columns = Numbers.of(table.astype(np.float64), held)
        else:
            if array.dtype.kind == "S":
                table, held = np.char.decode(table, "utf-8", ANY_BYTES), held.decoded()
            table = table.astype(object) if array.dtype.kind in "SU" else table
            # pandas would make dtypes of its own of words, and NaN of None.
            dtype = np.dtype(object) if array.dtype.kind in "SUO" else None
            columns = [Column.of(pd.Series(column, dtype=dtype), held) for column in table.T]
        return cls(row_shape, array.dtype, columns, isinstance(X, list | tuple))

    def rows(self, n_rows: int, generator: np.random.Generator) -> Any:
        """Return an array, or a list."""
        n_columns = int(np.prod(self.row_shape))
        n_drawn = n_rows * n_columns if n_columns > _MAX_COLUMNS else n_rows
        if isinstance(self.columns, Numbers):
            table: Any = _cast(self.columns.draw(n_drawn, generator), self.dtype)
        else:
            table = np.empty((n_drawn, len(self.columns)), object)
            for k, column in enumerate(self.columns):
                name = k if len(self.columns) > 1 else None
                table[:, k] = column.draw(n_drawn, generator, name).to_numpy(object)
            if self.dtype.kind == "S":
                table = np.char.encode(table.astype(str), "utf-8", ANY_BYTES)
            elif self.dtype.kind == "U":
                table = table.astype(str)
        array = table.reshape(n_rows, *self.row_shape)
        return array.tolist() if self.is_list else array


@dataclass(frozen=True, eq=False)
class SparseSketch(Sketch):
    """The sketch of a sparse matrix.

    Attributes
    ----------
    like : type
        The class of the matrix.
    dtype : dtype
    n_columns : int
    n_filled : int
        The number of filled columns of a row.
    numbers : Numbers
        One range of all numbers that are filled in.
    """

    like: type
    dtype: np.dtype
    n_columns: int
    n_filled: int
    numbers: Numbers

    @classmethod
    def of(cls, X, held: Held) -> "SparseSketch":
        """Return what is kept of a sparse matrix."""
        entries = X.tocoo()
        values = np.asarray(entries.data, np.float64)[:, None]
        filled = max(1, round(len(values) / max(1, X.shape[0])))
        numbers = Numbers.of(values if len(values) else np.zeros((1, 1)), held)
        return cls(type(X), X.dtype, X.shape[1], min(filled, X.shape[1]), numbers)

    def rows(self, n_rows: int, generator: np.random.Generator) -> Any:
        """Return a sparse matrix of the same class."""
        columns = [
            np.unique(generator.integers(self.n_columns, size=self.n_filled)) for _ in range(n_rows)
        ]
        places = np.concatenate(columns)
        starts = np.cumsum([0, *map(len, columns)])
        values = _cast(self.numbers.draw(len(places), generator)[:, 0], self.dtype)
        shape = n_rows, self.n_columns
        return self.like(scipy.sparse.csr_array((values, places, starts), shape))


@dataclass(frozen=True, eq=False)
class FrameSketch(Sketch):
    """The sketch of a data frame of pandas.

    Attributes
    ----------
    names : Index
        The names of the columns.
    columns : list of Column
    """

    names: pd.Index
    columns: list[Column]

    @classmethod
    def of(cls, X: pd.DataFrame, held: Held) -> "FrameSketch":
        """Return what is kept of a data frame."""
        return cls(X.columns, [Column.of(X.iloc[:, k], held) for k in range(X.shape[1])])

    def rows(self, n_rows: int, generator: np.random.Generator) -> pd.DataFrame:
        """Return a data frame of pandas."""
        drawn = [c.draw(n_rows, generator, name) for c, name in zip(self.columns, self.names)]
        frame = pd.DataFrame(dict(enumerate(drawn)), index=pd.RangeIndex(n_rows))
        frame.columns = self.names
        return frame


@dataclass(frozen=True, eq=False)
class OtherFrameSketch(Sketch):
    """The sketch of a data frame of another library.

    Attributes
    ----------
    backend : narwhals.Implementation
        The library.
    dtypes : dict of str to dtype
        The dtypes of the columns, as narwhals has them.
    columns : dict of str to Column
    """

    backend: Any
    dtypes: dict[str, Any]
    columns: dict[str, Column]

    @classmethod
    def of(cls, X: Any, held: Held) -> "OtherFrameSketch":
        """Return what is kept of a data frame."""
        import narwhals  # as scikit-learn reads data frames

        frame = narwhals.from_native(X, eager_only=True)
        columns = {
            name: Column.of(pd.Series(frame[name].to_list(), dtype=_dtype_for(dtype)), held)
            for name, dtype in frame.schema.items()
        }
        dtypes = {
            name: narwhals.String() if _names_unheld(dtype, held) else dtype
            for name, dtype in frame.schema.items()
        }
        return cls(frame.implementation, dtypes, columns)

    def rows(self, n_rows: int, generator: np.random.Generator) -> Any:
        """Return a data frame of the same library."""
        import narwhals

        drawn = {}
        for name, column in self.columns.items():
            values = column.draw(n_rows, generator, name)
            objects = values.astype(object)
            drawn[name] = objects.where(values.notna(), None).tolist()
        schema = narwhals.Schema(self.dtypes)
        return narwhals.from_dict(drawn, schema, backend=self.backend).to_native()


@dataclass(frozen=True, eq=False)
class SeriesSketch(Sketch):
    """The sketch of a series of pandas, of texts for example.

    Attributes
    ----------
    column : Column
    name : hashable
    """

    column: Column
    name: Hashable

    def rows(self, n_rows: int, generator: np.random.Generator) -> pd.Series:
        """Return a series of pandas."""
        return self.column.draw(n_rows, generator).rename(self.name)


@dataclass(frozen=True, eq=False)
class SeveralSketch(Sketch):
    """The sketch of a MultiInput.

    Attributes
    ----------
    inputs : dict of str to Sketch
    """

    inputs: dict[str, Sketch]

    def rows(self, n_rows: int, generator: np.random.Generator) -> MultiInput:
        """Return a MultiInput."""
        return MultiInput(
            **{n: sketch.rows(n_rows, generator) for n, sketch in self.inputs.items()}
        )


def _cast(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return numbers in a dtype, none of them out of its range."""
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        numbers = np.clip(numbers, limits.min, limits.max)
    return numbers.astype(dtype)


def _dtype_for(dtype: Any) -> Any:
    """Return how pandas holds a column of another library: numbers as such, the rest as objects."""
    if dtype.is_integer():
        return "Int64"
    if str(dtype) == "Boolean":
        return "boolean"
    return "float64" if dtype.is_float() else object


def _names_unheld(dtype: Any, held: Held) -> bool:
    """Whether a dtype lists categories that no estimator holds."""
    return not set(getattr(dtype, "categories", ())) <= held.values
