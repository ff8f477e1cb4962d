"""Arrays written to a temporary file one after another, and read back piece by piece."""

import os
import stat
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from stackfuse._core import files

try:
    import fcntl
except ImportError:  # no Unix: there a file that is open cannot be deleted anyway
    fcntl = None

#: How the names of the files begin, and seconds that a new one is left alone without a lock.
_PREFIX, _NEW = "stackfuse-rows-", 60.0


class Part(NamedTuple):
    """An array in a file, which is read when rows of it are asked for.

    Attributes
    ----------
    path : str
    offset : int
        Bytes in front of it.
    dtype : dtype
    shape : tuple of int
    """

    path: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows that follow each other, by their numbers; read, and not mapped."""
        per_row = int(np.prod(self.shape[1:], dtype=np.int64))
        place = self.offset + start * per_row * self.dtype.itemsize
        read = np.fromfile(self.path, self.dtype, (stop - start) * per_row, offset=place)
        return read.reshape(-1, *self.shape[1:])


class WrittenRows:
    """A temporary file of arrays, for this user alone.

    It is deleted at the end of its context, or with the last reader of its memory map. Files that
    killed processes have left are deleted when the next one is made in their folder.

    Parameters
    ----------
    folder : Path or None
        By default the temporary folder.
    """

    def __init__(self, folder: Path | None = None):
        temporary = files.temporary_folder()
        folder = temporary if folder is None else folder
        _sweep(folder)
        with files.told_if_full(folder):
            self._file: Any = tempfile.NamedTemporaryFile(
                dir=folder, prefix=_PREFIX, delete=False, buffering=0
            )
        _lock(self._file.fileno())
        self.path, self._is_mapped = Path(self._file.name), False
        self._told = temporary if folder == temporary else self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if not self._is_mapped:
            _delete(self._file, self.path, os.getpid())

    def another(self) -> "WrittenRows":
        """Return another such file in the same folder."""
        return WrittenRows(self.path.parent)

    def append(self, array: np.ndarray) -> Part:
        """Write an array of numbers behind the others.

        Raises
        ------
        OSError
            If the disk is full; the message names the file, or the temporary folder.
        """
        array = np.ascontiguousarray(array)
        offset = self._file.tell()
        left: Any = array.reshape(-1).view(np.uint8).data if array.size else b""
        with files.told_if_full(self._told):
            while len(left):
                left = left[self._file.write(left) :]
        return Part(str(self.path), offset, array.dtype, array.shape)

    def mapped(self, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
        """Return all arrays as one memory map, which cannot be written to.

        Parameters
        ----------
        dtype : dtype
            The dtype of all arrays.
        shape : tuple of int
            All rows, and the shape of one.
        """
        rows = np.memmap(self.path, dtype, "r", shape=shape)
        self._is_mapped = True
        # Views hold the map itself, and not this array.
        weakref.finalize(rows.base, _delete, self._file, self.path, os.getpid())
        return rows


def _delete(file: Any, path: Path, owner: int) -> None:
    """Delete a file, unless this process is a fork of the one that made it."""
    file.close()
    if os.getpid() == owner:
        with suppress(OSError):  # a folder that is gone, or a system that deletes no open file
            path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as it is open; say whether nobody else has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Delete the files of processes that are gone."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or deleted by now
            status = path.lstat()
            if time.time() - status.st_mtime < _NEW or not stat.S_ISREG(status.st_mode):
                continue
            with open(path, "rb") as file:
                if _lock(file.fileno()):
                    path.unlink()
