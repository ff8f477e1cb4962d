"""Predictions in files: the out-of-fold matrix where it would take too much of the memory."""

import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from stackfuse._core import errors, files, fitting, messages, multi_input
from stackfuse._oof.jobs import FoldFit

#: A matrix is in a file if it has so many bytes, and takes more than this part of the free memory.
#: Two copies of it are in memory for a moment otherwise, and the meta-learner makes others.
_LEAST, _SHARE = 2**26, 1 / 4

#: Bytes that are copied at a time.
_PIECE = 2**22


def file_for(
    n_rows: int, n_columns: int, find_folder: Callable[[], Path | None]
) -> multi_input.WrittenRows | None:
    """Return a file for an out-of-fold matrix; None if there is memory for it.

    Parameters
    ----------
    n_rows, n_columns : int
        The shape of the matrix, which is float64.
    find_folder : callable
        Returns the folder of the file; None stands for the temporary one.

    Warns
    -----
    UserWarning
        If the matrix takes more than half of the free memory, and the folder has no room either.
    """
    shown = f"{n_rows} rows by {n_columns} columns, will take"
    advice = "Use fewer base estimators or rows, or memory= with a folder on a larger disk"
    # Twice: the predictions of the folds, and the matrix that is made of them.
    return _file_for(8 * n_rows * n_columns, 2, find_folder, shown, advice)


def _file_for(
    size: int, n_copies: int, find_folder: Callable[[], Path | None], shown: str, advice: str
) -> multi_input.WrittenRows | None:
    """Return a file for copies of a matrix, if memory is short and there is room for a file."""
    free = None if size < _LEAST else fitting.memory_use.free()
    if free is None or size <= _SHARE * free:
        return None
    folder = find_folder()
    place = files.temporary_folder() if folder is None else folder
    room = shutil.disk_usage(place).free
    if room >= n_copies * size:
        return multi_input.WrittenRows(folder)
    if size > free / 2:
        in_words = messages.size_in_words
        warnings.warn(
            f"The out-of-fold predictions, {shown} {in_words(size)}; {in_words(free)} of memory "
            f"are free, and a file would need {in_words(n_copies * size)} in {str(place)!r}, where "
            f"{in_words(room)} are free. {advice}.",
            stacklevel=2,
        )
    return None


def set_aside(fit: FoldFit, file: multi_input.WrittenRows) -> FoldFit:
    """Return a fit whose predictions are in a file; those of other kinds than numbers stay.

    Raises
    ------
    DiskFailed
        If the file cannot be written.
    """
    several = isinstance(fit.predictions, list)
    tables: list[Any] = fit.predictions if several else [fit.predictions]
    if not all(isinstance(t, np.ndarray) and t.dtype.kind in "iufb" for t in tables):
        return fit
    try:
        parts = [file.append(table) for table in tables]
    except OSError as error:
        raise errors.DiskFailed(*error.args) from error
    return fit._replace(predictions=parts if several else parts[0])


def in_memory(predictions: Any, places: slice | np.ndarray = slice(None)) -> Any:
    """Return predictions as arrays: all rows, or those at some places."""
    if isinstance(predictions, list):
        return [in_memory(table, places) for table in predictions]
    everything = isinstance(places, slice) and places == slice(None)
    if not isinstance(predictions, multi_input.Part):
        return predictions if everything else np.asarray(predictions)[places]
    if isinstance(places, slice):
        return predictions.rows(*places.indices(predictions.shape[0])[:2])
    return predictions.rows(0, predictions.shape[0])[places]


def loaded(path: Path, name: str) -> np.ndarray | None:
    """Return a matrix of an ``.npz`` file as a memory map, where it would take too much memory.

    It is copied piece by piece into a temporary file.

    Parameters
    ----------
    path : Path
    name : str
        The name of the matrix in the file.

    Returns
    -------
    matrix : memmap or None
        None if there is memory for it, or if it is no matrix of numbers: numpy reads these.

    Raises
    ------
    DiskFailed
        If the temporary file cannot be written.
    """
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as member:
            if np.lib.format.read_magic(member) != (1, 0):
                return None
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
            if len(shape) != 2 or dtype.kind != "f":
                return None
            try:
                file = _file_for_saved(shape, dtype, path)
                if file is None:
                    return None
                with file:
                    _copy(member, file, shape[0] * shape[1] * dtype.itemsize)
                    matrix = file.mapped(dtype, shape[::-1] if by_columns else shape)
            except OSError as error:
                raise errors.DiskFailed(*error.args) from error
    return matrix.T if by_columns else matrix


def _file_for_saved(
    shape: tuple[int, int], dtype: np.dtype, path: Path
) -> multi_input.WrittenRows | None:
    shown = f"{shape[0]} rows by {shape[1]} columns in {messages.printable(path)}, take"
    advice = "Free memory, or set TMPDIR to a folder on a larger disk"
    return _file_for(shape[0] * shape[1] * dtype.itemsize, 1, lambda: None, shown, advice)


def _copy(member: IO[bytes], file: multi_input.WrittenRows, size: int) -> None:
    """Copy so many bytes from a member of an archive to a file."""
    while size:
        piece = member.read(min(size, _PIECE))
        if not piece:
            raise ValueError("its predictions end too early")
        file.append(np.frombuffer(piece, np.uint8))
        size -= len(piece)
