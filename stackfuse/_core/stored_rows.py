"""Rows that lie in files, read as they are asked for: the one adapter for data beyond memory."""

import importlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stackfuse._core.messages import size_in_words
from stackfuse._core.written_rows import WrittenRows

#: Bytes that are read at a time where all rows are gone through.
BLOCK_BYTES = 2**24

#: Smaller memory maps are read as arrays: their pages may stay in memory.
_LARGE_MAP = 2**26


class RowSource(Protocol):
    """A source of :class:`StoredRows`."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, rows: Any) -> Any:
        """Return the rows of a slice, or of an array of ascending numbers."""
        ...


class StoredRows:
    """Rows in files, read when they are needed.

    Index, split and count it like an array. Its parts are views: rows are read when a network
    takes a batch, or when you ask for an array, ``numpy.asarray(rows)``. The files must not change
    meanwhile.

    Parameters
    ----------
    source : str, path or array-like of shape (n_samples, ...)
        The path of a ``.npy`` file, a ``numpy.memmap``, a dataset of h5py, an array of Zarr, or
        any object with `shape`, `dtype` and ``source[rows]`` that takes slices and ascending row
        numbers. It must hold numbers or booleans.
    chosen : ndarray of int of shape (n_samples,), default=None
        The numbers of the rows to use, in this order. By default, all rows.

    Attributes
    ----------
    shape : tuple of int
        The shape of the array that the rows would make, the number of rows first.
    dtype : dtype
        The dtype of the numbers.

    Raises
    ------
    ValueError
        If the source holds no numbers, or is not of such a kind.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> rows = sf.StoredRows(np.arange(12.0).reshape(4, 3))
    >>> rows[[2, 0]]
    <StoredRows: 2 rows of shape (3,), float64, 48 bytes>
    >>> np.asarray(rows[[2, 0]])
    array([[6., 7., 8.],
           [0., 1., 2.]])
    """

    def __init__(self, source: Any, chosen: np.ndarray | None = None):
        if isinstance(source, str | os.PathLike):
            source = _file_of_numpy(source)
        missing = [a for a in ("shape", "dtype", "__getitem__") if not hasattr(source, a)]
        if missing or not len(source.shape) or np.dtype(source.dtype).kind not in "iufb":
            kind = getattr(source, "dtype", type(source).__name__)
            raise ValueError(
                f"StoredRows reads numbers from an object with shape, dtype and rows, got {kind}. "
                "Pass a .npy file, a numpy.memmap, or an array of h5py or Zarr."
            )
        self.source: Any = source
        self.chosen: np.ndarray | None = (
            chosen if chosen is None else _row_numbers(chosen, int(source.shape[0]))
        )
        self.dtype: np.dtype[Any] = np.dtype(source.dtype)
        n_rows = int(source.shape[0]) if self.chosen is None else len(self.chosen)
        self.shape: tuple[int, ...] = (n_rows, *(int(n) for n in source.shape[1:]))
        #: Whether all numbers of the source are finite; shared by all views of it.
        self._found: dict[str, bool] = {}

    @classmethod
    def from_parquet(
        cls, folder: str | os.PathLike[str], columns: Sequence[str] | None = None
    ) -> "StoredRows":
        """Return the rows of a Parquet file, or of a folder of such files.

        Parquet is read column by column, and not row by row: the rows are copied once, piece by
        piece, to a file in the temporary folder, which goes with the last object that reads it.

        Parameters
        ----------
        folder : str or path
            The files of a folder are read in the order of their names.
        columns : list of str, default=None
            The names of columns of numbers to read. By default, all columns.

        Returns
        -------
        rows : StoredRows of shape (n_samples, n_columns)
            The rows, in the dtype that holds all columns, with NaN for missing values.

        Raises
        ------
        ValueError
            If there is no file, a file lacks a column, or a column holds no numbers.
        ImportError
            If pyarrow is not installed.
        """
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder must be a path, as text or a pathlib.Path, got {folder!r}.")
        several = isinstance(columns, Iterable) and not isinstance(columns, str | bytes)
        if columns is not None and not (several and list(columns)):
            raise ValueError(f"columns must be a list of names of columns, got {columns!r}.")
        return cls(_unpacked(Path(folder), columns))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that all rows take in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f"<StoredRows: {len(self):,} rows of shape {self.shape[1:]}, {self.dtype}, "
            f"{size_in_words(self.nbytes)}>"
        )

    def __getitem__(self, key: Any) -> Any:
        """Return some rows, not read yet; of ``[rows, columns]`` an array."""
        if isinstance(key, tuple):
            rows, *columns = key
            view = self if rows is Ellipsis else self[rows]
            if columns in ([], [Ellipsis]):
                return view
            parts = [part[(slice(None), *columns)] for _, part in view.blocks()]
            return np.concatenate(parts)
        if isinstance(key, int | np.integer):
            return np.asarray(self[[key]])[0]
        if isinstance(key, slice) and self.chosen is None:
            chosen: Any = np.arange(len(self))[key]
        else:
            key = key if isinstance(key, slice) else np.asarray(key)
            if isinstance(key, np.ndarray) and not key.size:
                key = key.astype(np.intp)
            chosen = np.arange(len(self))[key] if self.chosen is None else self.chosen[key]
        view = StoredRows(self.source)
        view.chosen, view.shape = chosen, (len(chosen), *self.shape[1:])
        view._found = self._found
        return view

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.chosen is None:
            read = np.empty(self.shape, self.dtype)
            for start, part in self.blocks():
                read[start : start + len(part)] = part
        else:
            read = self._read(self.chosen)
        return read if dtype is None else read.astype(dtype, copy=False)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all rows, piece by piece.

        Yields
        ------
        start : int
            The number of the first row of the piece.
        part : ndarray of shape (n_rows, ...)
            Rows that follow each other.
        """
        per_row = self.nbytes // max(1, len(self))
        step = max(1, BLOCK_BYTES // max(1, per_row))
        for start in range(0, max(1, len(self)), step):  # of no rows one empty piece
            end = min(start + step, len(self))
            yield (
                start,
                self._read(
                    np.arange(start, end) if self.chosen is None else self.chosen[start:end]
                ),
            )

    def are_finite(self) -> bool:
        """Say whether all numbers are finite; the source is read once for all its views.

        Returns
        -------
        finite : bool
            False if a number is NaN or infinite.
        """
        if self.dtype.kind != "f" or self._found.get("finite"):
            return True
        finite = all(bool(np.isfinite(part).all()) for _, part in self.blocks())
        if self.chosen is None:
            self._found["finite"] = finite
        return finite

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Return rows by their numbers in the source."""
        if not len(rows):
            return np.empty((0, *self.shape[1:]), self.dtype)
        steps = np.diff(rows)
        if (steps == 1).all():
            read = self._take(slice(int(rows[0]), int(rows[-1]) + 1))
        elif (steps > 0).all():
            read = self._take(rows)
        else:
            ascending, places = np.unique(rows, return_inverse=True)
            read = self._take(ascending)[places]
        return read

    def _take(self, rows: Any) -> np.ndarray:
        source = self.source
        if isinstance(source, np.memmap) and _is_whole_file(source):
            if isinstance(rows, slice):
                rows = np.arange(rows.start, rows.stop)
            return _read_file(source, rows)
        return np.asarray(getattr(source, "oindex", source)[rows])  # Zarr's, for row numbers

    def __getstate__(self) -> dict[str, Any]:
        source: Any = self.source
        state = dict(vars(self))
        file = getattr(source, "file", None)
        if file is not None and hasattr(source, "name"):  # a dataset of h5py cannot be pickled
            state["source"] = _Dataset(file.filename, source.name)
        elif isinstance(source, np.memmap) and _is_whole_file(source):
            state["source"] = _Map(str(source.filename), source.dtype, source.shape, source.offset)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        source = state["source"]
        vars(self).update(state)
        if isinstance(source, _Dataset | _Map):
            self.source = source.opened()


def _file_of_numpy(path: str | os.PathLike[str]) -> Any:
    """Return the array of a .npy file, not read yet."""
    shown = repr(os.fspath(path))
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {shown}: pass the path of a .npy file.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:  # numpy advises to allow pickles, which run what they say
        raise ValueError(
            f"{shown} is not a .npy file of numbers, or is damaged: write one with np.save."
        ) from error


def _row_numbers(chosen: Any, n_rows: int) -> np.ndarray:
    """Return numbers of rows as an array; raise unless they are in the range of the rows."""
    rows = np.asarray(chosen)
    whole = rows.ndim == 1 and rows.dtype.kind in "iu"
    if not whole or (rows.size and not 0 <= rows.min() <= rows.max() < n_rows):
        raise ValueError(
            f"chosen must be an array of row numbers from 0 to {n_rows - 1}, got {rows!r}."
        )
    return rows


class _Dataset:
    """A dataset in an HDF5 file, for pickles."""

    def __init__(self, path: str, name: str):
        self.path, self.name = os.path.abspath(path), name

    def opened(self) -> Any:
        return importlib.import_module("h5py").File(self.path, "r")[self.name]


class _Map:
    """A memory map, for pickles: they would hold all of its numbers."""

    def __init__(self, path: str, dtype: np.dtype, shape: tuple[int, ...], offset: int):
        self.path, self.dtype, self.shape, self.offset = path, dtype, shape, offset

    def opened(self) -> np.memmap:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def _is_whole_file(array: np.memmap) -> bool:
    """Whether a memory map holds what its file holds, row after row, and is no view of another."""
    whole = isinstance(array.base, mmap.mmap) and array.flags.c_contiguous and array.mode != "c"
    return whole and array.filename is not None and os.path.exists(array.filename)


def _read_file(source: np.memmap, rows: np.ndarray) -> np.ndarray:
    """Return rows of a memory map by their ascending numbers, read from its file.

    Pages of a map that were read stay in memory, and count as memory, with megabytes around them.
    """
    read = np.empty((len(rows), *source.shape[1:]), source.dtype)
    n_bytes = read.nbytes // len(rows)
    ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)]
    flat: Any = read.reshape(-1).view(np.uint8)
    buffer = memoryview(flat)
    with open(str(source.filename), "rb", buffering=0) as file:
        start = 0
        for end in ends:
            file.seek(source.offset + int(rows[start]) * n_bytes)
            place, stop = start * n_bytes, end * n_bytes
            while place < stop:
                n_read = file.readinto(buffer[place:stop])
                if not n_read:
                    raise ValueError(
                        f"{str(source.filename)!r} became shorter while rows were read from "
                        "it. Write the file again, and do not change it during a fit."
                    )
                place += n_read
            start = end
    return read


def stored(X: Any) -> Any:
    """Return as StoredRows what lies in a file, large memory maps among it; all else as it is."""
    if isinstance(X, np.memmap):
        mapped = isinstance(X.base, mmap.mmap) and X.ndim > 1 and X.dtype.kind in "iufb"
        return StoredRows(X) if mapped and X.nbytes >= _LARGE_MAP else X
    in_pieces = hasattr(X, "chunks") and hasattr(X, "__array__") and not hasattr(X, "dask")
    return StoredRows(X) if in_pieces and hasattr(X, "dtype") else X


def _unpacked(folder: Path, columns: Sequence[str] | None) -> np.memmap:
    """Return the rows of Parquet files as a memory map of a temporary file."""
    parquet = importlib.import_module("pyarrow.parquet")
    paths = sorted(folder.glob("*.parquet")) if folder.is_dir() else [folder]
    if not paths:
        raise ValueError(
            f"{str(folder)!r} holds no file that ends in .parquet. Pass the folder of the Parquet "
            "files, or one file."
        )
    files = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
        try:
            files.append(parquet.ParquetFile(path))
        except ValueError as error:  # of pyarrow
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(
                f"{str(path)!r} is not a Parquet file, or is damaged: {reason}."
            ) from error
    names = list(files[0].schema_arrow.names if columns is None else columns)
    for path, file in zip(paths, files):
        if lacking := [name for name in names if name not in file.schema_arrow.names]:
            raise ValueError(
                f"{str(path)!r} has no column {lacking[0]!r}, but the other files have. Write all "
                "files with the same columns."
            )
    first = next(files[0].iter_batches(8192, columns=names)).to_pandas()[names]
    kinds = [str(dtype) for dtype in first.dtypes if dtype.kind not in "iufb"]
    if kinds:
        raise ValueError(
            f"StoredRows reads numbers, but Parquet files in {str(folder)!r} hold {kinds[0]}. "
            "Name the columns of numbers: columns=[...]."
        )
    dtype = np.result_type(*first.dtypes, np.float32)
    shape = (sum(file.metadata.num_rows for file in files), len(names))
    with WrittenRows() as written:
        for file in files:
            for batch in file.iter_batches(8192, columns=names):
                written.append(batch.to_pandas()[names].to_numpy(dtype))
        return written.mapped(dtype, shape)
