"""Predictions in files: the out-of-fold matrix where it would take too much of the memory."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from stackfuse._core import errors, files, fitting, messages, multi_input
from stackfuse._oof.jobs import FoldFit

#: A matrix is in a file if it has so many bytes, and takes more than this part of the free memory.
#: Two copies of it are in memory for a moment otherwise, and the meta-learner makes others.
_LEAST, _SHARE = 2**26, 1 / 4


def file_for(n_rows: int, n_columns: int, folder: Path | None) -> multi_input.WrittenRows | None:
    """Return a file for an out-of-fold matrix; None if there is memory for it.

    Parameters
    ----------
    n_rows, n_columns : int
        The shape of the matrix, which is float64.
    folder : Path or None
        None stands for the temporary folder.

    Warns
    -----
    UserWarning
        If the matrix takes more than half of the free memory, and the folder has no room either.
    """
    size, free = 8 * n_rows * n_columns, fitting.memory_use.free()
    if free is None or size < _LEAST or size <= _SHARE * free:
        return None
    place = files.temporary_folder() if folder is None else folder
    room = shutil.disk_usage(place).free
    if room >= 2 * size:  # the predictions of the folds, and the matrix that is made of them
        return multi_input.WrittenRows(folder)
    if size > free / 2:
        in_words = messages.size_in_words
        warnings.warn(
            f"The out-of-fold predictions, {n_rows} rows by {n_columns} columns, will take "
            f"{in_words(size)}; {in_words(free)} of memory are free, and a file would need "
            f"{in_words(2 * size)} in {str(place)!r}, where {in_words(room)} are free. Use fewer "
            "base estimators or rows, or memory= with a folder on a larger disk.",
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
