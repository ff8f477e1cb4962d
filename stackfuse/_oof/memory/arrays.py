"""Arrays as the bytes of numpy's npz files."""

import io
import zipfile
from functools import lru_cache

import numpy as np

#: The first bytes of an array in its file's first version; the length of the header follows.
_MAGIC = b"\x93NUMPY\x01\x00"


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of an npz file that holds these arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name; ``numpy.load`` takes some times as long.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    ValueError, zipfile.BadZipFile
        If the bytes are none of such a file, or it holds Python objects.

    Examples
    --------
    >>> {name: array.tolist() for name, array in unpacked(packed({"a": np.arange(3)})).items()}
    {'a': [0, 1, 2]}
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in names}


def _array(content: bytes) -> np.ndarray:
    """Return the array in the bytes of an npy file."""
    end = 10 + int.from_bytes(content[8:10], "little")
    if content[:8] == _MAGIC:
        shape, by_columns, dtype = _header(content[:end])
        if not dtype.hasobject:
            flat = np.frombuffer(content, dtype, offset=end).copy()
            return flat.reshape(shape, order="F" if by_columns else "C")
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


@lru_cache(maxsize=256)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and dtype from the first bytes of an npy file."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)
