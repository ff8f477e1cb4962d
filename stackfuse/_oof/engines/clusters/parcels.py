"""Anything as bytes, without its large arrays: these go to a worker once, and by their names."""

import hashlib
import io
import pickle
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

#: Bytes from which an array goes to the workers by itself, and is found there by later jobs.
LARGE = 1 << 18


class Parcel(NamedTuple):
    """A pickle, and the arrays outside it.

    Attributes
    ----------
    content : bytes or str
        The pickle, or the name of the array that holds it.
    names : list of str
        The names of the arrays that belong to it.
    """

    content: bytes | str
    names: list[str]


class Packer:
    """Pickles things, and keeps their large arrays by names that equal arrays share.

    Attributes
    ----------
    arrays : dict of str to ndarray
        By name: the digest of its numbers.
    """

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}  # of arrays that are held, so that no other has the number
        self._held: list[Any] = []

    def pack(self, thing: Any) -> Parcel:
        """Return a parcel; code that no worker can import is in it."""
        names: list[str] = []
        file = io.BytesIO()
        _Pickler(file, self, names).dump(thing)
        content: bytes | str = file.getvalue()
        if len(content) >= LARGE:
            content = self.name_of(np.frombuffer(content, np.uint8))
            names.append(content)
        return Parcel(content, list(dict.fromkeys(names)))

    def name_of(self, array: np.ndarray) -> str:
        """Return the name of an array, which is kept."""
        if id(array) not in self._names:
            plain = np.asarray(array)
            in_rows = plain if plain.flags.c_contiguous else plain.T
            digest = hashlib.blake2b(repr((plain.dtype.descr, plain.strides)).encode())
            digest.update(np.ascontiguousarray(in_rows).reshape(-1).view(np.uint8).data)
            digest.update(repr(plain.shape).encode())
            name = f"stackfuse-{digest.hexdigest()[:40]}"
            self.arrays[name] = plain
            self._names[id(array)] = name
            self._held.append(array)
        return self._names[id(array)]


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file, packer: Packer, names: list[str]):
        super().__init__(file, protocol=5)
        self._packer, self._used = packer, names

    def persistent_id(self, obj):
        if type(obj) not in (np.ndarray, np.memmap) or obj.nbytes < LARGE or obj.dtype.hasobject:
            return None
        self._used.append(self._packer.name_of(obj))
        return self._used[-1]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, arrays: dict[str, np.ndarray]):
        super().__init__(file)
        self._arrays = arrays

    def persistent_load(self, pid):
        return self._arrays[pid]


def unpacked(parcel: Parcel, arrays: dict[str, np.ndarray]) -> Any:
    """Return the contents of a parcel.

    Parameters
    ----------
    parcel : Parcel
    arrays : dict of str to ndarray
        By name, those of the parcel.
    """
    content = parcel.content
    data = content if isinstance(content, bytes) else arrays[content].tobytes()
    return _Unpickler(io.BytesIO(data), arrays).load()
