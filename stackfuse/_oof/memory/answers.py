"""Predictions of kept networks: a search over meta-learners asks for the same again and again.

To make a network from its bytes takes far longer than to fit a meta-learner. A network that was
found in a memory stays in its bytes until somebody asks for its model, or for rows that it has not
been asked about. An answer is one file::

    answers/<k1>/<key>     SHA-256 of the rest, 32 bytes; then the arrays, as numpy's npz file

*Key.* The digest of the network's bytes, the states of its random layers, the rows, the method and
its settings, and of the circumstances of the call: versions, threads, global settings. A network
whose model somebody has asked for may have been changed: it answers by itself from then on. The
first answer of a network that was just fitted is kept, if its weights are still those that were
kept.

*Other threads* may train a network further just while it computes its first answer. Its weights are
compared before and after: an answer by other weights is not kept.

*Random networks* draw when they predict. One that is found gives its first answer to a question
again and again, as drawn in the state that the fit has left: equal calls, equal numbers.

A file that is missing, damaged or another user's is a miss: the network is made, and asked.
"""

import copy
import hashlib
import pickle
import weakref
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse

from stackfuse._core import MultiInput, files
from stackfuse._keras import loading
from stackfuse._oof.memory.arrays import packed, unpacked
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
        self.states = ""
        self._is_asked = model is not None
        self._live: Callable[[], Any] = lambda: None
        if model is not None:
            self.has_made(model)
            self.states = self._values[1]

    def with_states(self, states: Sequence[np.ndarray]) -> "KeptAnswers":
        """Return the answers of a model of the same bytes with these states of random layers."""
        twin = copy.copy(self)
        twin.states = _digest(states)
        return twin

    def has_made(self, model: Any) -> None:
        """Note the values of a model that is made for an answer, before anybody else has it."""
        if self._is_asked:
            self._live, self._values = weakref.ref(model), _values_of(model)

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
        model = self._live()
        changed = model is not None and _values_of(model) != self._values
        place = None if changed else self._place(rows, question)
        found = None if place is None else _read(place)
        if found is not None:
            return found
        self._is_asked = True
        answer = compute()
        model = self._live()
        unchanged = model is not None and _values_of(model)[0] == self._values[0]
        if place is not None and unchanged:
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
            asked = (self.model, self.states, names, digests, question)
            key = look_at(circumstances(), list(numbers_of_threads()), *asked).digest
        except (pickle.PicklingError, NotComparable, TypeError, AttributeError):
            return None  # rows of odd objects
        return self.root / "answers" / key[:2] / key

    def _write(self, place: Path, answer: Any) -> None:
        several = isinstance(answer, list)
        tables = {f"y{k}": table for k, table in enumerate(answer if several else [answer])}
        data = packed({"several": np.array(several), **tables})
        if len(data) + _DIGEST > _LARGEST:
            return
        drafts = self.root / "drafts"
        for folder in (drafts, place.parent):
            files.make_private(folder, self.root)
        data = hashlib.sha256(data).digest() + data
        files.write_whole(place, data, drafts=drafts, private=True)


def _values_of(model: Any) -> tuple[str, str]:
    """Return the digests of a model's weights, and of the states of its random layers."""
    several = model.weights, loading.counters(model)
    weights, states = (_digest([v.numpy() for v in variables]) for variables in several)
    return weights, states


def _digest(arrays: Sequence[np.ndarray]) -> str:
    """Return the digest of arrays; of none it is empty."""
    return fingerprint(list(arrays)) if len(arrays) else ""


#: Arrays whose digest is that of their content.
_IN_MEMORY = (np.ndarray, np.memmap)


def _read(place: Path) -> Any:
    """Return the answer in a file, None where there is none."""
    try:
        data = files.read_own(place, _LARGEST)
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        arrays = unpacked(data[_DIGEST:])
        tables = [arrays[f"y{k}"] for k in range(len(arrays) - 1)]
        return tables if bool(arrays["several"]) else tables[0]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
