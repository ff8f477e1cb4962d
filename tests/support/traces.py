"""Search files for values of the training data, in every form that they could have there."""

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path


def contents(path: Path) -> bytes:
    """Return all bytes of a file, of its companion, or of a folder; of archives what is in them."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    else:
        files = [path, *(f for f in [path.with_suffix(".bin")] if f.is_file() and f != path)]
    parts = [file.read_bytes() for file in files]
    for file in files:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
    return b"\n".join(parts)


def traces(content: bytes, values: Iterable) -> list:
    """Return the values that a file holds: as text, or as bytes of a number."""
    return [value for value in values if any(form in content for form in _forms(value))]


def _forms(value) -> list[bytes]:
    if isinstance(value, str):
        return [value.encode(), value.encode("utf-16-le"), value.encode("utf-32-le")]
    text = repr(value).encode()
    if isinstance(value, int):
        return [text, struct.pack("<i", value), struct.pack("<q", value), struct.pack("<d", value)]
    narrow = struct.pack("<f", value)
    texts = [text, repr(struct.unpack("<f", narrow)[0]).encode()]
    # Pickles hold Python's floats with the first byte first.
    return [*texts, narrow, struct.pack("<d", value), struct.pack(">d", value)]
