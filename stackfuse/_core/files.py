"""Files that are whole or not there: written beside their place, synced, then renamed."""

import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes, *, drafts: Path | None = None) -> None:
    """Write a file so that at no moment a part of it lies at its place.

    Parameters
    ----------
    path : Path
        An earlier file there is replaced.
    data : bytes
    drafts : Path, default=None
        Folder, on the same file system, for what is not finished; by default the file's own.

    Raises
    ------
    OSError
        If it cannot be written; what was at its place is still there.
    """
    draft = (drafts or path.parent) / f".draft-{uuid.uuid4().hex}"
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
