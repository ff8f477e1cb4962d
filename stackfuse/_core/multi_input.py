"""Inputs of networks: rows as people pass them, and several inputs as one array-like."""

import mmap
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.utils.validation import check_array

from stackfuse._core import sklearn_private
from stackfuse._core.messages import first_few, in_short, listed, printable, with_article
from stackfuse._core.stored_rows import StoredRows, stored
from stackfuse._core.targets import check_same_length, refuse_ragged
from stackfuse._core.targets import n_rows as n_rows_of
from stackfuse._core.written_rows import Part as Part
from stackfuse._core.written_rows import WrittenRows as WrittenRows


class MultiInput:
    """Several arrays over the same rows, for networks with several inputs.

    Index, split and count it like an array: scikit-learn's cross-validation, searches and
    ``train_test_split`` work on it.

    Parameters
    ----------
    mapping : dict of str to array-like of shape (n_samples, ...), default=None
        The arrays, by the names of the network's inputs.
    **arrays : array-like of shape (n_samples, ...)
        The same, or further arrays.

    Attributes
    ----------
    arrays : dict of str to array
        The arrays by name. Lists and tensors have become arrays.
    shape : tuple of int
        The number of rows, and the number of inputs.

    Raises
    ------
    TypeError
        If the arrays have no names.
    ValueError
        If there is no array, or the arrays have different numbers of rows.

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

    def __init__(self, mapping: Mapping[str, Any] | None = None, /, **arrays: Any):
        if mapping is not None:
            if not isinstance(mapping, Mapping) or not all(isinstance(k, str) for k in mapping):
                raise TypeError(
                    f"MultiInput takes arrays by name, got {in_short(mapping)}: type "
                    "MultiInput(image=images, table=table)."
                )
            arrays = {**mapping, **arrays}
        if not arrays or "" in arrays:
            what = "a name for each array" if arrays else "at least one array"
            raise ValueError(f"MultiInput needs {what}: MultiInput(image=images, ...).")
        self.arrays: dict[str, Any] = {
            name: _as_array(array, name) for name, array in arrays.items()
        }
        check_same_length(**self.arrays)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows, and the number of inputs."""
        return len(self), len(self.arrays)

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The column names of each input that is a frame."""
        frames: dict[str, Any] = {n: a for n, a in self.arrays.items() if hasattr(a, "columns")}
        return {name: list(frame.columns) for name, frame in frames.items()}

    @property
    def ndim(self) -> int:
        """The number of axes, always 2."""
        return 2

    def __len__(self) -> int:
        return int(next(iter(self.arrays.values())).shape[0])

    def __getitem__(self, key: Any) -> Any:
        """Return one array by its name, or the rows that an index selects."""
        if isinstance(key, str):
            if key not in self.arrays:
                raise KeyError(
                    f"{key!r} is not one of the inputs {listed(list(self.arrays), 'and')}."
                )
            return self.arrays[key]
        if isinstance(key, tuple):  # X[rows, ...]
            key = key[0]
        if isinstance(key, int | np.integer):
            key = [key]
        return MultiInput(**{name: _rows_of(array, key) for name, array in self.arrays.items()})

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Refuse to become one array, which numpy would make of objects."""
        names = [printable(name) for name in self.arrays]
        raise TypeError(
            f"X holds several inputs by their names, {listed(names)}, and one array is needed "
            f"here. Choose one in front: make_pipeline(sf.Pick({names[0]!r}), ...), or of a "
            f"MultiInput take X[{names[0]!r}]."
        )

    def __repr__(self) -> str:
        shapes = (f"{printable(name)}={tuple(array.shape)}" for name, array in self.arrays.items())
        return f"MultiInput({', '.join(shapes)})"


def _as_array(array: Any, name: str) -> Any:
    """Return one input as something with a shape; a tensor as an array."""
    array = rows_given(array, name=name)
    if isinstance(array, MultiInput):
        raise TypeError(
            f"{name} must be one array, got the inputs {listed(list(array.arrays))}: put them "
            "beside the others."
        )
    return array if hasattr(array, "shape") else np.asarray(array)


def _rows_of(array, key):
    if hasattr(array, "iloc"):
        return array.iloc[key]
    if isinstance(array, np.ndarray | StoredRows) or scipy.sparse.issparse(array):
        return array[key]
    # Frames of other libraries take neither masks nor arrays of numbers.
    return sklearn_private.safe_indexing(array, key)


def rows_given(X: Any, n_rows: int | None = None, name: str = "X") -> Any:
    """Return an X as rows that can be counted and indexed.

    Parameters
    ----------
    X : object
        A dict of arrays becomes a MultiInput, a tensor an array; what lies in a file, and large
        memory maps, StoredRows. All other rows stay as they are.
    n_rows : int or None, default=None
        Number of rows of y, if there is one: it tells several inputs from rows.
    name : str, default="X"
        How X is called in messages.

    Raises
    ------
    ValueError
        With what to type instead, for a list of inputs, a dataset, or rows of different lengths.
    """
    X = stored(X)
    if isinstance(X, StoredRows):
        return X
    if isinstance(X, np.ndarray | MultiInput):
        refuse_ragged(X, name)
        if isinstance(X, np.ndarray) and X.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: {name} has dtype {X.dtype}.")
        return X
    if scipy.sparse.issparse(X):
        return X
    if hasattr(X, "columns"):
        _refuse_equal_names(X, name)
        return X
    if isinstance(X, Mapping):
        return _of_mapping(X, name)
    _refuse_batches(X, name)
    if hasattr(X, "row_splits"):  # a ragged tensor
        raise ValueError(
            f"{name} holds rows of different lengths: pad them to one length, "
            f"{name}.to_tensor().numpy()."
        )
    if hasattr(X, "dense_shape"):
        raise ValueError(
            f"{name} is a sparse tensor: pass a scipy.sparse matrix, or "
            f"tf.sparse.to_dense({name}).numpy()."
        )
    if isinstance(X, list | tuple):
        _refuse_inputs(X, n_rows)
    n_rows_of(X, name)  # raises if it has none
    refuse_ragged(X, name)
    is_tensor = all(hasattr(X, attribute) for attribute in ("__array__", "shape", "dtype"))
    return np.asarray(X) if is_tensor and not hasattr(X, "iloc") else X


def check_width(rows: Any, estimator, name: str) -> None:
    """Raise if rows are none, or none that an estimator takes.

    Raises
    ------
    ValueError
        If there are no rows, or they have another number of columns than it was fitted on.
    TypeError
        If they are no rows. For rows that are no table of numbers also any error of its
        ``predict``.
    """
    width = getattr(estimator, "n_features_in_", None)
    if rows is None or isinstance(rows, bool):
        return
    rows = rows_given(rows, name=name)
    if not n_rows_of(rows, name):
        raise ValueError(f"{name} holds no rows.")
    if hasattr(rows, "columns") and not isinstance(rows, MultiInput):
        return  # of frames the names of columns are checked
    numeric = not isinstance(rows, MultiInput) and np.asarray(rows[:1]).dtype.kind in "biuf"
    if not numeric and not scipy.sparse.issparse(rows) and hasattr(estimator, "predict"):
        estimator.predict(rows[:1])
    if isinstance(rows, MultiInput):
        return
    shape = rows.shape if hasattr(rows, "shape") else np.shape(rows)
    if width is not None and len(shape) == 2 and shape[1] != width:
        raise ValueError(
            f"{name} has {shape[1]} columns, but this {type(estimator).__name__} was fitted on "
            f"{width}."
        )


def rows_for(names: list[str] | None, X: Any) -> Any:
    """Return an X for an estimator that was fitted on several inputs, or on one.

    See :func:`rows_given`.
    """
    if names is not None and not isinstance(X, MultiInput | Mapping):
        if isinstance(X, list | tuple) and len(X) == len(names):
            raise ValueError(_by_name(X, names))
        _refuse_batches(X, "X")
        arguments = ", ".join(f"{printable(name)}=..." for name in names)
        raise ValueError(
            f"The network was fitted on the inputs {names}, but X is one "
            f"{type(X).__name__}. Pass X = sf.MultiInput({arguments})."
        )
    return rows_given(X)


def _refuse_equal_names(X: Any, name: str) -> None:
    """Raise if two columns of a frame have one name."""
    names = list(X.columns)
    if not all(isinstance(one, Hashable) for one in names) or len(set(names)) == len(names):
        return
    twice = next(one for k, one in enumerate(names) if one in names[:k])
    raise ValueError(
        f"{name} has several columns named {twice!r}: Expected unique column names. Rename them, "
        f"or leave the copies out, {name}.loc[:, ~{name}.columns.duplicated()]."
    )


def _of_mapping(X: Mapping, name: str) -> MultiInput:
    if not X or not all(isinstance(key, str) for key in X):
        raise ValueError(
            f"{name} is a dict with the keys {list(X)}. Name each input after its keras.Input "
            "layer: {'image': images, 'table': table}."
        )
    return MultiInput(**X)


def _refuse_inputs(X: list | tuple, n_rows: int | None) -> None:
    """Raise if a list holds as many rows in each of its arrays as y has."""
    if n_rows is None or len(X) == n_rows or not len(X):
        return
    shapes = [tuple(getattr(part, "shape", ())) for part in X]
    if all(shape and shape[0] == n_rows for shape in shapes):
        raise ValueError(_by_name(X, [f"input_{k}" for k in range(len(X))]))


def _by_name(X: list | tuple, names: list[str]) -> str:
    arguments = ", ".join(f"{printable(name)}=X[{k}]" for k, name in enumerate(names))
    return (
        f"X is {with_article(type(X).__name__)} of {len(X)} arrays. Give each the name of its "
        f"keras.Input layer: X = sf.MultiInput({arguments})."
    )


def _refuse_batches(X: Any, name: str) -> None:
    """Raise if X is something that yields batches, and cannot be split into folds."""
    if hasattr(X, "as_numpy_iterator"):
        raise ValueError(
            f"{name} is a tf.data.Dataset, which cannot be split into folds. Pass arrays. For a "
            "dataset of batches (X, y): X, y = map(np.concatenate, "
            "zip(*dataset.as_numpy_iterator()))."
        )
    loads = hasattr(X, "dataset") and hasattr(X, "batch_size")
    if loads or hasattr(X, "on_epoch_end") or hasattr(X, "__next__"):
        raise ValueError(
            f"{name} is {with_article(type(X).__name__)}, which yields batches and cannot be "
            "split into folds. Pass arrays: X, y = map(np.concatenate, zip(*batches))."
        )


def check_numbers(array, owner, name: str):
    """Return one of several inputs as finite numbers.

    Parameters
    ----------
    array : array-like or sparse matrix of shape (n_samples, ...)
    owner : estimator
        Named in the messages.
    name : str
        The name of the input.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    if isinstance(array, StoredRows):
        return check_stored(array, owner, f"X[{name!r}]")
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
    return check_numeric(array, owner, f"X[{name!r}]")


def check_stored(rows: StoredRows, owner, name: str = "X") -> StoredRows:
    """Return rows in a file if there are any, of finite numbers; they are read piece by piece.

    Raises
    ------
    ValueError
        If there are none, or a number is NaN or infinite.
    """
    if not len(rows):
        raise ValueError(f"{type(owner).__name__} needs rows, but {name} has none.")
    if not rows.are_finite():
        bad = next(
            start + int(np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(axis=1))[0])
            for start, part in rows.blocks()
            if not np.isfinite(part).all()
        )
        raise ValueError(
            f"Input {name} contains NaN or infinity, for example in row {bad}. "
            f"{type(owner).__name__} takes finite numbers only: replace the others in the file."
        )
    return rows


def say_where_missing(error: ValueError, X, owner) -> ValueError:
    """Add the rows and columns of NaN or infinity to scikit-learn's error about them.

    Other errors are returned unchanged.
    """
    message = str(error).splitlines()[0]
    if "setting an array element with a sequence" in message:
        return ValueError(
            "X holds arrays in its cells. Stack each such column and pass it as a separate "
            "input: sf.MultiInput(name=np.stack(X['column']), ...)."
        )
    if not ("NaN" in message or "infinity" in message) or scipy.sparse.issparse(X):
        return error
    table = np.asarray(X)
    if table.dtype.kind == "O":
        table = np.where(pd.isna(table), np.nan, table).astype(np.float64)
    bad = ~np.isfinite(table)
    rows = np.flatnonzero(bad.reshape(len(table), -1).any(axis=1))
    place = f"rows {first_few(rows)}"
    if table.ndim == 2:
        columns = np.flatnonzero(bad.any(axis=0)).tolist()
        names = [X.columns[k] for k in columns] if hasattr(X, "columns") else columns
        place += f"; columns {first_few(names)}"
    return ValueError(
        f"{message} {type(owner).__name__} takes finite numbers only, but {len(rows)} of "
        f"{len(table)} rows of X hold NaN or infinity ({place}): impute them, SimpleImputer(), or "
        "drop the rows."
    )


def refuse_dates(X: Any, error: TypeError) -> None:
    """Raise if a frame holds dates beside numbers, which have no dtype in common."""
    if not isinstance(X, pd.DataFrame):
        return
    dates = [name for name in X if getattr(X[name].dtype, "kind", "") in "mM"]
    if dates:
        raise ValueError(
            f"The column {dates[0]!r} of X holds dates, and numbers are needed: make columns of "
            "their parts in front, sf.DateParts(), for example in a ColumnTransformer."
        ) from error


def check_numeric(array, owner, name: str = "X"):
    """Return the array if it holds real numbers.

    Raises
    ------
    ValueError
        If it holds text, dates or a mixture; scikit-learn's own check accepts some of these.
    """
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{type(owner).__name__} needs numbers, but {name} has dtype {array.dtype}. Encode "
            "text and category columns first, for example with a ColumnTransformer."
        )
    return array


def row_shapes(X) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """Return the shape of one row; of a MultiInput the shape for each input's name."""
    if isinstance(X, MultiInput):
        return {name: tuple(array.shape[1:]) for name, array in X.arrays.items()}
    return tuple(X.shape[1:])


def is_lazy(X) -> bool:
    """Whether X is sparse or in a file, even if scikit-learn's checks have wrapped it."""
    if isinstance(X, MultiInput):
        return any(map(is_lazy, X.arrays.values()))
    if isinstance(X, StoredRows):
        return True
    base = X
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap) or scipy.sparse.issparse(X)


#: An X, and what the checks of it returned, by the form that it was checked for.
_shared: ContextVar[tuple[Any, dict[Hashable, Any]] | None] = ContextVar("shared", default=None)


@contextmanager
def checked_once(X) -> Iterator[None]:
    """Within, check this X once for each form; it must not be changed there."""
    token = _shared.set((X, {}))
    try:
        yield
    finally:
        _shared.reset(token)


def checked(X, form: Hashable, check: Callable[[], Any]) -> Any:
    """Return the result of a check of X, or the earlier result for this X and form.

    Parameters
    ----------
    X : array-like
    form : hashable
        Everything that the check depends on besides X.
    check : callable
        Returns the checked X.
    """
    shared = _shared.get()
    if shared is None or shared[0] is not X:
        return check()
    done = shared[1]
    if form not in done:
        done[form] = check()
    return done[form]
