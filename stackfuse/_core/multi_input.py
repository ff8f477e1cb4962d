"""What a network reads: several inputs as one array-like, and rows cast to the network's dtypes."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_array

from stackfuse._core.targets import (
    check_same_length,
    listed,
)


class MultiInput:
    """Several arrays over the same rows, for networks with several inputs.

    It is indexed, split and counted like an array, so that scikit-learn's cross-validation,
    searches and ``train_test_split`` work on it.

    Parameters
    ----------
    **arrays : array-like of shape (n_samples, ...)
        By the name of the network's input.

    Attributes
    ----------
    arrays : dict of str to array
    shape : tuple of int
        Number of rows and of inputs.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.model_selection import train_test_split
    >>> X = sf.MultiInput(image=np.zeros((10, 8, 8)), table=np.arange(30).reshape(10, 3))
    >>> X[:4]
    MultiInput(image=(4, 8, 8), table=(4, 3))
    >>> X["table"][0]
    array([0, 1, 2])
    >>> first, second = train_test_split(X, test_size=0.5, random_state=0)
    >>> len(first), len(second)
    (5, 5)
    """

    def __init__(self, **arrays):
        if not arrays:
            raise ValueError("MultiInput needs at least one array: MultiInput(image=images, ...).")
        check_same_length(**arrays)
        self.arrays = {
            name: array if hasattr(array, "shape") else np.asarray(array)
            for name, array in arrays.items()
        }

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of inputs."""
        return len(self), len(self.arrays)

    @property
    def columns(self) -> dict[str, list]:
        """The column names of those inputs that are frames."""
        frames: dict[str, Any] = {n: a for n, a in self.arrays.items() if hasattr(a, "columns")}
        return {name: list(frame.columns) for name, frame in frames.items()}

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    def __len__(self) -> int:
        return int(next(iter(self.arrays.values())).shape[0])

    def __getitem__(self, key) -> Any:
        """Return one array by its name, or the rows that an index selects."""
        if isinstance(key, str):
            if key not in self.arrays:
                raise KeyError(f"{key!r} is none of the inputs {listed(list(self.arrays))}.")
            return self.arrays[key]
        if isinstance(key, tuple):  # X[rows, ...]
            key = key[0]
        if isinstance(key, int | np.integer):
            key = [key]
        return MultiInput(**{name: _rows_of(array, key) for name, array in self.arrays.items()})

    def __repr__(self) -> str:
        shapes = (f"{name}={tuple(array.shape)}" for name, array in self.arrays.items())
        return f"MultiInput({', '.join(shapes)})"


def _rows_of(array, key):
    if hasattr(array, "iloc"):
        return array.iloc[key]
    if isinstance(array, np.ndarray) or scipy.sparse.issparse(array):
        return array[key]
    return _safe_indexing(array, key)  # other frames take neither masks nor arrays of numbers


def check_multi_input(X: MultiInput, owner) -> MultiInput:
    """Return the inputs as finite numeric arrays.

    Raises
    ------
    ValueError
        Naming the input that is not.
    """
    checked = {}
    for name, array in X.arrays.items():
        try:
            array = check_array(
                array,
                accept_sparse="csr",
                dtype="numeric",
                allow_nd=True,
                ensure_2d=False,
                input_name=f"X[{name!r}]",
            )
        except ValueError as error:
            raise ValueError(f"{type(owner).__name__}, X[{name!r}]: {error}") from error
        checked[name] = check_numeric(array, owner, f"X[{name!r}]")
    return MultiInput(**checked)


def where_missing(error: ValueError, X, owner) -> ValueError:
    """Return scikit-learn's error about NaN or infinity as one sentence that says where they are.

    Any other error is returned as it is.
    """
    said = str(error).splitlines()[0]
    if not ("NaN" in said or "infinity" in said) or scipy.sparse.issparse(X):
        return error
    table = np.asarray(X)
    if table.dtype.kind == "O":
        table = np.where(pd.isna(table), np.nan, table).astype(np.float64)
    bad = ~np.isfinite(table)
    rows = np.flatnonzero(bad.reshape(len(table), -1).any(axis=1))
    place = f"rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}"
    if table.ndim == 2:
        columns = np.flatnonzero(bad.any(axis=0)).tolist()
        names = [X.columns[k] for k in columns] if hasattr(X, "columns") else columns
        place += f"; columns {', '.join(map(str, names[:5]))}{', ...' if len(names) > 5 else ''}"
    return ValueError(
        f"{said} {type(owner).__name__} takes finite numbers only, but {len(rows)} of {len(table)} "
        f"rows of X hold others ({place}): impute them, SimpleImputer(), or drop the rows."
    )


def check_numeric(array, owner, name: str = "X"):
    """Return the array if it holds real numbers.

    Raises
    ------
    ValueError
        For text, dates and mixtures, some of which scikit-learn's own check lets through.
    """
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{type(owner).__name__} needs numbers, but {name} has dtype {array.dtype}. Encode "
            "text and category columns first, for example with a ColumnTransformer."
        )
    return array


class Rows:
    """The rows of X, in the structure and the dtypes that a network takes.

    Sparse matrices and memory maps stay as they are until a batch of them is asked for.

    Parameters
    ----------
    X : ndarray, sparse matrix or MultiInput
    model : keras.Model
    chosen : ndarray of int, default=None
        The rows that there are; by default all. They are read when they are asked for.
    """

    def __init__(self, X, model, chosen: np.ndarray | None = None):
        self.model = model
        self.X = X
        self.chosen = chosen
        self.structure = input_structure(model)
        names = list(self.inputs)
        if isinstance(X, MultiInput):
            if names and set(names) != set(X.arrays):
                raise ValueError(
                    f"The model {model.name!r} has the inputs {names}, but X has "
                    f"{list(X.arrays)}. Name the keras.Input layers as the arrays."
                )
        elif len(names) > 1:
            arguments = ", ".join(f"{name}=..." for name in names)
            raise ValueError(
                f"The model {model.name!r} has {len(names)} inputs, but X is one array. "
                f"Pass X = sf.MultiInput({arguments})."
            )
        self.is_lazy = is_lazy(X)

    def part(self, places: np.ndarray) -> "Rows":
        """Return some of these rows."""
        return Rows(self.X, self.model, places if self.chosen is None else self.chosen[places])

    @property
    def inputs(self) -> dict[str, Any]:
        """The symbolic inputs by name; none of a model that does not declare them."""
        if self.structure is None or isinstance(self.structure, dict):
            return dict(self.structure or {})
        several = isinstance(self.structure, list | tuple)
        return {tensor.name: tensor for tensor in (self.structure if several else [self.structure])}

    @property
    def bytes_per_row(self) -> int:
        """What one row takes in memory as the network takes it."""
        import keras

        return sum(array.nbytes for array in keras.tree.flatten(self[slice(0, 1)]))

    def __len__(self) -> int:
        return int(self.X.shape[0]) if self.chosen is None else len(self.chosen)

    def __getitem__(self, rows):
        """Return some rows: an array, or arrays in the structure of the model's input."""
        if self.chosen is not None:
            rows = self.chosen[rows]
        if isinstance(self.structure, dict):
            return {name: self._input(name, t, rows) for name, t in self.structure.items()}
        if isinstance(self.structure, list | tuple):
            return tuple(self._input(t.name, t, rows) for t in self.structure)
        if self.structure is not None:
            return self._input(self.structure.name, self.structure, rows)
        if isinstance(self.X, MultiInput):
            return {name: self._input(name, None, rows) for name in self.X.arrays}
        return self._input("X", None, rows)

    def _input(self, name: str, tensor, rows) -> np.ndarray:
        """Return some rows of one input as it is declared; of None, as Keras would pass them on."""
        shown, source = "X", self.X
        if isinstance(self.X, MultiInput):
            shown, source = f"X[{name!r}]", self.X[name]
        array = _select(source, rows)
        if tensor is None:  # whole numbers may be those of words or places, and stay exact
            whole = array.dtype.kind in "iu"
            return array if whole else _cast(array, self.model.compute_dtype, shown, self.model)
        return _of_rank(_cast(array, tensor.dtype, shown, self.model), len(tensor.shape))


def input_structure(model):
    """Return the symbolic inputs of a model in their structure, or None where it has none.

    One tensor, or a list or dict of tensors; a subclassed model has none.
    """
    import keras

    if not getattr(model, "inputs", None):
        return None
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def row_shapes(X) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """Return the shape of one row; of several inputs, by name."""
    if isinstance(X, MultiInput):
        return {name: tuple(array.shape[1:]) for name, array in X.arrays.items()}
    return tuple(X.shape[1:])


def is_lazy(X) -> bool:
    """Whether an X is sparse, or a view of a file, which scikit-learn's checks wrap."""
    if isinstance(X, MultiInput):
        return any(map(is_lazy, X.arrays.values()))
    base = X
    while isinstance(base, np.ndarray):
        if getattr(base, "_mmap", None) is not None:
            return True
        base = base.base
    return scipy.sparse.issparse(X)


def _of_rank(array: np.ndarray, n_axes: int) -> np.ndarray:
    """Add or drop a last axis of length one, as Keras does."""
    if array.ndim == n_axes - 1:
        return array[..., np.newaxis]
    return array[..., 0] if array.ndim == n_axes + 1 else array


def _select(array, rows) -> np.ndarray:
    part = array[rows]
    return part.toarray() if scipy.sparse.issparse(part) else np.asarray(part)


def _cast(array: np.ndarray, dtype: Any, name: str, model) -> np.ndarray:
    """Return the array in another dtype; refuse if that changes a value for the worse."""
    wanted = np.dtype(dtype if dtype != "bfloat16" else "float32")
    if array.dtype == wanted:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    if array.dtype.kind == "f" and wanted.kind == "f":
        changed = ~np.isfinite(cast)  # the array itself is finite
    elif "b" in (array.dtype.kind, wanted.kind):
        return cast
    else:
        changed = cast.astype(array.dtype) != array
    if changed.any():
        raise ValueError(
            f"{name} has dtype {array.dtype} and holds {array[changed][0].item()!r}, which the "
            f"input of model {model.name!r}, {wanted}, cannot represent. Rescale it, cast it "
            "yourself, or declare keras.Input(dtype=...)."
        )
    return cast


def row_digests(X, rows=None) -> list[bytes]:
    """Return a digest of each row, or of some: equal for equal numbers, whatever their dtype.

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
        part = _safe_indexing(X, rows[start : start + 4096])
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
    """Return the numbers of rows that lie evenly spread among all, or among some."""
    places = np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_wanted)).astype(np.intp))
    return places if rows is None else rows[places]
