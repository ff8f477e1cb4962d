"""What a graph takes: one table x, a frame's columns, or several arrays, each by its name."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from stackfuse._checks import NotConvertible
from stackfuse._inputs import MultiInput, row_shapes
from stackfuse.export._frame import Frame

#: What stands for a missing value in a column of strings.
MISSING = "<NA>"


@dataclass(frozen=True)
class Signature:
    """The inputs of a graph.

    Attributes
    ----------
    kind : {"table", "frame", "several"}
        One array; the columns of a data frame some of which hold strings; a ``MultiInput``.
    inputs : dict of str to (shape, dtype)
        The shape of one row and the dtype of each input, by its name.
    """

    kind: Literal["table", "frame", "several"]
    inputs: dict[str, tuple[tuple[int, ...], str]]

    @classmethod
    def of_shape(cls, shape: Any, precision: str) -> "Signature":
        """Return the signature for rows of one shape, or of one shape per name."""
        if isinstance(shape, dict):
            return cls("several", {name: (tuple(s), precision) for name, s in shape.items()})
        return cls("table", {"x": (tuple(shape), precision)})

    @classmethod
    def of_rows(cls, X, precision: str) -> "Signature":
        """Return the signature for rows like some rows."""
        if isinstance(X, MultiInput):
            return cls.of_shape(row_shapes(X), precision)
        if not hasattr(X, "columns"):
            return cls.of_shape(np.shape(X)[1:], precision)
        frame = as_pandas(X)
        dtypes = {str(name): _dtype_of(frame[name], precision) for name in frame.columns}
        if "string" not in dtypes.values():
            return cls.of_shape((len(dtypes),), precision)
        return cls("frame", {name: ((1,), dtype) for name, dtype in dtypes.items()})

    def symbols(self) -> tuple[Any, Any]:
        """Return new ``keras.Input`` tensors as the model takes them, and as converters do."""
        import keras

        tensors = {
            name: keras.Input(shape, dtype=dtype, name=name)
            for name, (shape, dtype) in self.inputs.items()
        }
        if self.kind == "table":
            return tensors["x"], tensors["x"]
        return tensors, Frame(tensors) if self.kind == "frame" else tensors

    def feed(self, X) -> dict[str, np.ndarray]:
        """Return rows of X as arrays by the names of the inputs, in their dtypes."""
        if self.kind == "several":
            arrays = X.arrays
        elif self.kind == "frame":
            frame = as_pandas(X)
            arrays = {str(name): frame[[name]] for name in frame.columns}
        else:
            arrays = {"x": X}
        return {name: _as_array(arrays[name], dtype) for name, (_, dtype) in self.inputs.items()}


def as_pandas(X) -> pd.DataFrame:
    """Return a data frame of any library as one of pandas."""
    return X if isinstance(X, pd.DataFrame) else X.to_pandas()


def _dtype_of(column: pd.Series, precision: str) -> str:
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return precision
    present = values.dropna()
    if pd.api.types.is_string_dtype(values) or all(isinstance(v, str) for v in present):
        return "string"
    raise NotConvertible(
        f"The column {column.name!r} holds {column.dtype} values, which no graph takes: make "
        "numbers or strings of them before the stack is fitted."
    )


def _as_array(X, dtype: str) -> np.ndarray:
    if issparse(X):
        X = X.toarray()
    if dtype == "string":
        return np.where(pd.isna(X), MISSING, np.asarray(X, object))
    return np.asarray(X).astype(dtype)
