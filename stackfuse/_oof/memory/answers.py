"""Predictions of kept networks: a search over meta-learners asks for the same again and again.

To make a network from its bytes takes far longer than to fit a meta-learner. A network that was
found in a memory stays in its bytes until somebody asks for its model, or for rows that it has not
been asked about. An answer is one file::

    answers/<k1>/<key>     SHA-256 of the rest, 32 bytes; then the arrays, as numpy's npz file

*Key.* The digest of the network's bytes, the rows, the method and its settings, and of the
circumstances of the call: versions, threads, global settings. A network whose model somebody has
asked for may have been changed: it answers by itself from then on. The first answer of a
network that was just fitted is kept, if its weights are still those that were kept.

A file that is missing, damaged or another user's is a miss: the network is made, and asked.
"""

import hashlib
import io
import pickle
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse

from stackfuse._core import MultiInput, files
from stackfuse._oof.memory.fingerprint import (
    NotComparable,
    circumstances,
    fingerprint,
    look_at,
)
from stackfuse._training import numbers_of_threads

#: Bytes of the digest at the begin of a file, and of the largest file.
_DIGEST, _LARGEST = 32, 1 << 28


class KeptAnswers:
    """The answers of one network.

    Parameters
    ----------
    root : Path
        The folder of the store.
    data : bytes
        The pickle of the network's model.
    model : keras.Model, default=None
        The model itself where it was just fitted. Nothing is kept once it has other weights.
    """

    def __init__(self, root: Path, data: bytes, model: Any = None):
        self.root = root
        self.model = hashlib.sha256(data).hexdigest()
        self._live = None if model is None else weakref.ref(model)
        self._weights = None if model is None else _weights_of(model)

    def of(self, rows, question: str, compute: Callable[[], Any]) -> Any:
        """Return an answer that is kept, or compute and keep it.

        Parameters
        ----------
        rows : ndarray, sparse matrix or MultiInput of shape (n_samples, ...)
        question : str
            Names all else that the answer depends on, as the method.
        compute : callable
            Returns the answer: an array, or a list of arrays.
        """
        model = None if self._live is None else self._live()
        changed = model is not None and _weights_of(model) != self._weights
        place = None if changed else self._place(rows, question)
        found = None if place is None else _read(place)
        if found is not None:
            return found
        answer = compute()
        if place is not None:
            with suppress(OSError):  # the next one who asks makes the network too
                self._write(place, answer)
        return answer

    def _place(self, rows, question: str) -> Path | None:
        """Return the file of an answer, None for rows that have no digest."""
        arrays = list(rows.arrays.values()) if isinstance(rows, MultiInput) else [rows]
        if not all(type(a) in _IN_MEMORY or scipy.sparse.issparse(a) for a in arrays):
            return None
        names = list(rows.arrays) if isinstance(rows, MultiInput) else None
        try:
            digests = [joblib.hash(array, hash_name="sha1") for array in arrays]
            asked = (self.model, names, digests, question)
            key = look_at(circumstances(), list(numbers_of_threads()), *asked).digest
        except (pickle.PicklingError, NotComparable, TypeError, AttributeError):
            return None  # rows of odd objects
        return self.root / "answers" / key[:2] / key

    def _write(self, place: Path, answer: Any) -> None:
        several = isinstance(answer, list)
        tables = {f"y{k}": table for k, table in enumerate(answer if several else [answer])}
        buffer = io.BytesIO()
        np.savez(buffer, several=np.array(several), **tables)
        data = buffer.getvalue()
        if len(data) + _DIGEST > _LARGEST:
            return
        drafts = self.root / "drafts"
        for folder in (drafts, place.parent):
            files.make_private(folder, self.root)
        data = hashlib.sha256(data).digest() + data
        files.write_whole(place, data, drafts=drafts, private=True)


def _weights_of(model: Any) -> str:
    """Return the digest of all values in a model."""
    return fingerprint([variable.numpy() for variable in model.variables])


#: Arrays whose digest is that of their content.
_IN_MEMORY = (np.ndarray, np.memmap)


def _read(place: Path) -> Any:
    """Return the answer in a file, None where there is none."""
    try:
        data = files.read_own(place, _LARGEST)
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as arrays:
            tables = [arrays[f"y{k}"] for k in range(len(arrays.files) - 1)]
            return tables if bool(arrays["several"]) else tables[0]
    except (OSError, ValueError, KeyError):
        return None
