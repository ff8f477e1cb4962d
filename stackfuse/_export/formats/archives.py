"""A manifest in a zip archive, where Keras and LiteRT have it."""

import zipfile
from pathlib import Path

from stackfuse._export.formats.base import MANIFEST


def attach_member(path: Path, manifest: str) -> None:
    """Append a manifest to a zip archive; to any other file, a zip archive that holds it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, (1980, 1, 1, 0, 0, 0)), manifest)


def attached_member(path: Path) -> str:
    """Return the manifest that was appended to a file; raise KeyError if there is none."""
    if not zipfile.is_zipfile(path):
        raise KeyError(MANIFEST)
    with zipfile.ZipFile(path) as archive:
        return archive.read(MANIFEST).decode()
