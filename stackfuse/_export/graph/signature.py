"""The inputs of a graph: one table x, a frame's columns, or several arrays, each by its name."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from scipy.sparse import issparse

from stackfuse._core import (
    MultiInput,
    NotConvertible,
    messages,
    multi_input,
    strings,
)
from stackfuse._export.graph.frame import MISSING, Frame
from stackfuse._export.graph.names import input_names
from stackfuse._steps import dates


@dataclass(frozen=True)
class Input:
    """One input of a graph.

    Attributes
    ----------
    shape : tuple of int
        The shape of one row.
    dtype : str
        The dtype of the numbers, or "string".
    column : hashable
        The column of X, or the array of a ``MultiInput``, that it takes; None if that is X.
    """

    shape: tuple[int, ...]
    dtype: str
    column: Hashable = None


@dataclass(frozen=True)
class Signature:
    """The inputs of a graph.

    Attributes
    ----------
    kind : {"table", "frame", "several"}
        One array; the columns of a data frame, or of an array of objects, some of which hold
        strings; a ``MultiInput``.
    inputs : dict of str to Input
        By the names that they have in the graph.
    dates : tuple of hashable
        The columns of dates; the graph takes days since 1970 for them.
    columns : tuple of hashable or None
        The columns of a data frame of numbers, in the order in which x holds them.
    """

    kind: Literal["table", "frame", "several"]
    inputs: dict[str, Input]
    dates: tuple[Hashable, ...] = ()
    columns: tuple[Hashable, ...] | None = None

    @classmethod
    def of_shape(cls, shape: Any, precision: str, of_strings: Any = ()) -> "Signature":
        """Return the signature for rows of one shape, or of one shape per name.

        Parameters
        ----------
        shape : tuple of int, or dict of str to tuple of int
        precision : str
            The dtype of numbers.
        of_strings : collection of str, default=()
            The names of the inputs that hold strings; "X" where there is one array.
        """
        if isinstance(shape, dict):
            names = input_names(shape)
            dtypes = {name: "string" if name in of_strings else precision for name in shape}
            arrays = {names[n]: Input(tuple(s), dtypes[n], n) for n, s in shape.items()}
            return cls("several", arrays)
        dtype = "string" if "X" in of_strings else precision
        return cls("table", {"x": Input(tuple(shape), dtype)})

    @classmethod
    def of_rows(cls, X: Any, precision: str, names: Any = None) -> "Signature":
        """Return the signature for rows like the given ones.

        Parameters
        ----------
        X : array-like or MultiInput of shape (n_samples, ...)
        precision : str
            The dtype of numbers.
        names : sequence of str, default=None
            The columns of the data frame of ``fit``: the inputs are in their order, and further
            columns of X are left out.
        """
        if isinstance(X, MultiInput):
            _refuse_mixed_inputs(X)
            of_strings = [name for name, part in X.arrays.items() if strings.holds_strings(part)]
            return cls.of_shape(multi_input.row_shapes(X), precision, of_strings)
        if not hasattr(X, "columns") and not holds_words_and_numbers(X):
            of_strings = ["X"] if strings.holds_strings(X) else []
            return cls.of_shape(np.shape(X)[1:], precision, of_strings)
        frame = as_pandas(X)
        if names is not None and frame.columns.is_unique:
            frame = frame[_all_of(names, frame)]
        dtypes = [_dtype_of(frame.iloc[:, k], precision) for k in range(frame.shape[1])]
        of_dates = tuple(c for k, c in enumerate(frame.columns) if dates.is_dates(frame.iloc[:, k]))
        if "string" not in dtypes:
            columns = tuple(frame.columns) if frame.columns.is_unique else None
            return cls("table", {"x": Input((len(dtypes),), precision)}, of_dates, columns)
        repeated = frame.columns[frame.columns.duplicated()].tolist()
        if repeated:
            raise NotConvertible(
                f"X has several columns named {repeated[0]!r}. A graph that takes strings has one "
                "input per column: rename them before the fit."
            )
        names = input_names(frame.columns)
        return cls(
            "frame",
            {names[c]: Input((1,), dtype, c) for c, dtype in zip(frame.columns, dtypes)},
            of_dates,
        )

    @property
    def columns_of_strings(self) -> list[str]:
        """The columns, or the arrays, that hold strings."""
        return [
            name if entry.column is None else str(entry.column)
            for name, entry in self.inputs.items()
            if entry.dtype == "string"
        ]

    def symbolic_inputs(self) -> tuple[Any, Any]:
        """Return new ``keras.Input`` tensors, first for the model and then for converters.

        Converters get columns and arrays by their original names.
        """
        tensors = {
            name: keras.Input(entry.shape, dtype=entry.dtype, name=name)
            for name, entry in self.inputs.items()
        }
        if self.kind == "table":
            return tensors["x"], tensors["x"]
        parts = {entry.column: tensors[name] for name, entry in self.inputs.items()}
        return tensors, Frame(parts) if self.kind == "frame" else parts

    def feed(self, X: Any) -> dict[str, np.ndarray]:
        """Return rows of X as arrays by the names of the inputs, in their dtypes."""
        arrays: dict[Hashable, Any]
        if self.kind == "several":
            arrays = X.arrays
        elif self.kind == "frame":
            frame = dates.with_days(as_pandas(X))
            arrays = {column: frame[[column]] for column in frame.columns}
        elif hasattr(X, "columns"):
            frame = as_pandas(X)
            if self.columns is not None and {*self.columns} <= {*frame.columns}:
                frame = frame[list(self.columns)]
            arrays = {None: dates.with_days(frame)}
        else:
            arrays = {None: X}
        return {name: _as_array(arrays[e.column], e) for name, e in self.inputs.items()}


def _all_of(names: Any, frame: pd.DataFrame) -> list[Hashable]:
    """Return the columns of ``fit``; raise unless a frame has them all."""
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise NotConvertible(
            f"The rows lack the columns {messages.first_few(map(repr, lacking))} of fit. A graph "
            "takes all of them. Pass rows with the columns of fit."
        )
    return list(names)


def holds_words_and_numbers(X: Any) -> bool:
    """Whether an array of objects, as of ``frame.to_numpy()``, holds both."""
    if not (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2):
        return False
    known = X[~np.asarray(pd.isna(X))]
    of_words = {isinstance(value, str | bytes) for value in known}
    return len(of_words) == 2


def _refuse_mixed_inputs(X: MultiInput) -> None:
    """Raise if an input holds words and numbers: in a graph it has one dtype."""
    for name, part in X.arrays.items():
        array = as_pandas(part).to_numpy(object) if hasattr(part, "columns") else part
        if holds_words_and_numbers(array):
            raise NotConvertible(
                f"The input {name!r} holds words and numbers, but in a graph an input holds one "
                "kind. Put them into two inputs: sf.MultiInput(words=..., numbers=...)."
            )


def as_pandas(X) -> pd.DataFrame:
    """Return a data frame of any library, or an array of objects, as a data frame of pandas.

    Column by column, through lists: other libraries' own way there needs packages that may not be
    installed.
    """
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, np.ndarray):
        return pd.DataFrame(X, dtype=object)  # otherwise None among words would become NaN
    import narwhals  # as scikit-learn reads data frames

    frame = narwhals.from_native(X, eager_only=True)
    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})


def as_given(frame: pd.DataFrame, X):
    """Return a data frame of pandas as one of the library that X is of, or as an array."""
    if isinstance(X, pd.DataFrame):
        return frame
    if isinstance(X, np.ndarray):
        return frame.to_numpy(object)
    import narwhals

    native = narwhals.from_native(X, eager_only=True)
    columns = frame.astype(object).where(frame.notna(), None)
    made = narwhals.from_dict(columns.to_dict("list"), backend=native.implementation)
    of_words = (narwhals.String, narwhals.Categorical, narwhals.Enum)
    words = [n for n, dtype in native.schema.items() if isinstance(dtype, of_words)]
    if words:  # a column of nothing but None has no dtype of its own
        made = made.with_columns(narwhals.col(*words).cast(narwhals.String()))
    return made.to_native()


def _dtype_of(column: pd.Series, precision: str) -> str:
    if dates.is_dates(column):
        return precision
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return precision
    present = values.dropna()
    if len(present) and all(isinstance(v, bool | int | float | np.number) for v in present):
        return precision
    if pd.api.types.is_string_dtype(values) or all(isinstance(v, str) for v in present):
        return "string"
    raise NotConvertible(
        f"The column {column.name!r} holds {column.dtype} values, which no graph takes. Convert "
        "them to numbers or strings before the fit."
    )


def _as_array(X, entry: Input) -> np.ndarray:
    if issparse(X):
        X = X.toarray()
    if entry.dtype == "string":
        words = strings.as_objects(X)
        if np.any(words[~pd.isna(words)] == MISSING):
            raise NotConvertible(
                f"The column {entry.column or 'X'!r} holds the string {MISSING!r}, which means a "
                "missing value in the graph. Replace it by None or another word before the fit."
            )
        return np.where(pd.isna(words), MISSING, words)
    if isinstance(X, pd.DataFrame):
        return X.to_numpy(entry.dtype, na_value=np.nan)
    return np.asarray(X).astype(entry.dtype)
