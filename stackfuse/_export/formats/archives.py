"""A manifest in a zip archive: in a file that is one, or after the end of any other file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stackfuse._core import files
from stackfuse._export.written_manifest import LARGEST, MANIFEST


def attach_member(path: Path, manifest: str) -> None:
    """Append a manifest to a zip archive; to any other file, a zip archive that holds it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, (1980, 1, 1, 0, 0, 0)), manifest)


def attached_member(path: Path) -> str:
    """Return the manifest that was appended to a file; raise KeyError if there is none."""
    if not zipfile.is_zipfile(path):
        raise KeyError(MANIFEST)
    with zipfile.ZipFile(path) as archive:
        files.check_archive(archive, path.stat().st_size)
        with archive.open(MANIFEST) as member:
            return text_within_limits(member)


def text_within_limits(file: IO[bytes]) -> str:
    """Return the text of a manifest; raise RefusedFile if it is larger than any that is written."""
    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise files.RefusedFile(f"its manifest is larger than {LARGEST / 1e6:,.0f} MB")
    return text.decode()


def parts_without_manifest(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a zip archive but for the manifest, and as "model" what is before it."""
    end = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files.check_archive(archive, path.stat().st_size)
            end = min((member.header_offset for member in archive.infolist()), default=0)
            for name in sorted(set(archive.namelist()) - {MANIFEST}):
                yield name, archive.read(name)
    if end != 0:
        with open(path, "rb") as file:
            yield "model", file.read(end)
