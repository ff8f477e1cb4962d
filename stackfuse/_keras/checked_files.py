"""Files of models, checked before Keras opens them: they may come from anybody.

Keras refuses much itself, in safe mode. The checks here come first. They raise an error of one
sentence before anything is unpacked, and before memory is taken for contents that a file only
claims to have.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import h5py

from stackfuse._core import files

#: The beginning of every HDF5 file.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def check_model_file(path: Path) -> None:
    """Raise unless a file can be what its name says, and holds no more than it can.

    Parameters
    ----------
    path : Path
        That of a file; of others Keras tells.

    Raises
    ------
    ValueError
        If it is no regular file, is damaged, unpacks to many times its size, or names other files.
    """
    of_hdf5 = path.suffix in (".h5", ".hdf5")
    if not os.path.lexists(path) or (path.is_dir() and not of_hdf5):
        return
    try:
        files.check_regular(path)
        if of_hdf5:
            with open(path, "rb") as file:
                _check_hdf5(file, path.stat().st_size)
        elif path.suffix == ".keras":
            _check_archive(path)
    except files.RefusedFile as error:
        raise ValueError(f"{str(path)!r} was not opened: {error}.") from error
    except Exception as error:  # readers of damaged files raise errors of any kind
        kind = "a Keras archive" if path.suffix == ".keras" else "an HDF5 file"
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(path)!r} is not {kind}, or is damaged: {reason}.") from error


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("it is not a zip archive, or was cut off")
    with zipfile.ZipFile(path) as archive:
        files.check_archive(archive, path.stat().st_size)
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} has changed")
        json.loads(archive.read("config.json"))
        for member in archive.infolist():
            if member.filename.endswith(".h5"):
                _check_hdf5(io.BytesIO(archive.read(member)), member.file_size)


def _check_hdf5(file, size: int) -> None:
    """Raise if an HDF5 file names other files, or claims to hold far more than it can."""
    if file.read(len(_HDF5)) != _HDF5:
        raise OSError("it does not begin like one")
    file.seek(0)
    claimed = 0

    def check(name: str, link) -> None:
        nonlocal claimed
        if isinstance(link, h5py.ExternalLink):
            raise files.RefusedFile(f"it leads to another file, {link.filename!r}")
        if isinstance(link, h5py.SoftLink):
            return
        part = opened.get(name)
        if not isinstance(part, h5py.Dataset):
            return
        if part.external or part.is_virtual:
            raise files.RefusedFile(f"its part {name!r} is in another file")
        claimed += part.nbytes
        if claimed > files.most_unpacked(size):
            raise files.RefusedFile(f"it unpacks to more than {claimed / 1e6:,.0f} MB")

    with h5py.File(file, "r") as opened:
        opened.visititems_links(check)
        json.loads(opened.attrs.get("model_config", "{}"))
