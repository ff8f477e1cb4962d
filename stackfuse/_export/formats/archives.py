"""A manifest in a zip archive: in a file that is one, or after the end of any other file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from stackfuse._export.written_manifest import MANIFEST


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


def parts_without_manifest(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a zip archive but for the manifest, and as "model" what is before it."""
    end = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            end = min((member.header_offset for member in archive.infolist()), default=0)
            for name in sorted(set(archive.namelist()) - {MANIFEST}):
                yield name, archive.read(name)
    if end != 0:
        with open(path, "rb") as file:
            yield "model", file.read(end)
