"""Fits kept on disk: each is made once, by whichever process comes first, and found again.

The folder, as version 4 of the store writes it::

    <memory>/stackfuse-fits/
        fits/<k1>/<key>/                 one fit; key: 40 hexadecimal digits, k1: its first two
            <digest>-predictions.npz     predictions and classes; read without pickle
            <digest>-estimator.pkl       the fitted estimator, where it is kept
            done.json                    written last: {"format": 4, "key": key, "title": what it
                                         is, "seconds": s, "by": the job that wrote it where it ran,
                                         "files": {name: [bytes, SHA-256]}}
        answers/<k1>/<key>               predictions of a kept network for some rows; see answers.py
        locks/<key>                      locked and touched by the process that makes the fit
        drafts/.draft-*                  files that are not finished; deleted after a day
        tables/stackfuse-rows-*          predictions that are not to be in memory; they go with the
                                         process that reads them, or when the next one is made

The name is none that Python could import: in ``memory="."`` it hides no package.

*Key.* The digest of all that a fit depends on: data, rows, estimator with all code and settings it
reaches, seed, engine, versions of Python and the packages, threads, global settings of Keras and
scikit-learn, and the version of the store. A fit of another version is never found; its files stay.

*Whole or not there.* Every file is written as a draft, synchronised and renamed to its place.
An entry without ``done.json``, of another format, or of files whose size or SHA-256 differ from it
is no entry: a process may be killed at any moment, and the next one makes the fit again. So is an
entry of another key, class or number of rows: somebody has copied files. The name of a file comes
from its contents. Two processes that write one entry, or a process that is killed while it writes
over an entry, leave the one marker or the other, each with its own files.

*Locks.* The process that makes a fit holds its lock. Other processes that need the fit wait, and
find it then; see ``locks.py``. Locks only save work: nothing is wrong without them.

*Trust.* ``estimator.pkl`` is a pickle, and loading one runs what it says. The folder is made for
its owner alone, and a file is not read that belongs to another user, or that everybody may write
to. Digests find accidents, and no intent: whoever can write here as you can make you run anything.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from stackfuse._core import errors, files
from stackfuse._keras import loading
from stackfuse._oof.jobs import FROM_MEMORY, DiscardedModel, FoldFit
from stackfuse._oof.memory import locks
from stackfuse._oof.memory.answers import KeptAnswers
from stackfuse._oof.memory.arrays import packed, unpacked
from stackfuse._oof.memory.fingerprint import Fingerprint, circumstances, look_at
from stackfuse._oof.memory.pickles import pickled, unpickled

#: The version of the store, part of every key and marker: those of another are not found.
_FORMAT = 4

#: The folder in a memory.
_FOLDER = "stackfuse-fits"

#: Bytes that a marker may have.
_LARGEST_MARKER = 1 << 20

#: Letters of an error that are shown.
_LONGEST = 200


class Trouble(Exception):
    """Why a fit is made although there is a store; the message is for the user."""


class CannotRecall(Trouble):
    """An entry is damaged, or what it holds cannot be loaded."""


class CannotStore(Trouble):
    """A fit cannot be stored."""


class CannotUseStore(Trouble):
    """The folder cannot be read, or cannot be written to."""


def brief(error: BaseException) -> str:
    """Return an error in one line of at most two hundred letters."""
    text = " ".join(f"{type(error).__name__}: {errors.message_of(error)}".split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


@dataclass(frozen=True)
class Entry:
    """The place of one fit in a store.

    Attributes
    ----------
    root : Path
        The folder of the store.
    seen : Fingerprint
        The digest of all that the fit shares with others of its base.
    key : str
        The digest of all that the fit depends on.
    keep : bool
        Whether the fitted estimator is kept too.
    n_rows : int
        That it predicts.
    title : str
        Says what it is, in the marker and in warnings.
    """

    root: Path
    seen: Fingerprint
    key: str
    keep: bool
    n_rows: int
    title: str

    @property
    def _folder(self) -> Path:
        return self.root / "fits" / self.key[:2] / self.key

    @property
    def _lock(self) -> Path:
        return self.root / "locks" / self.key

    def recall(self, like) -> FoldFit | None:
        """Return the fit, or None if it is not there.

        Parameters
        ----------
        like : estimator
            The estimator to fit. Classes and functions that only this program knows are taken from
            it.

        Raises
        ------
        CannotRecall
            If it is there, and is damaged or cannot be loaded.
        CannotUseStore
            If the folder cannot be read.
        """
        try:
            marker = json.loads(files.read_own(self._folder / "done.json", _LARGEST_MARKER))
            if marker.get("format") != _FORMAT:
                return None
            if marker["key"] != self.key:
                raise ValueError("it is a copy of another entry")
            parts = marker["files"]
            data = self._read("predictions.npz", *parts["predictions.npz"])
            found = _unpacked(data, type(like).__name__)
            _check_rows(found, self.n_rows)
            data = None
            if self.keep:
                if "estimator.pkl" not in parts:
                    return None
                data = self._read("estimator.pkl", *parts["estimator.pkl"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotUseStore(f"{self.root} cannot be read: {brief(error)}") from error
        except Exception as error:  # whatever is wrong with it, it can be made again
            raise CannotRecall(
                f"The stored fit of {self.title} is damaged and is made again: {brief(error)}"
            ) from error
        return found if data is None else found._replace(estimator=self._loaded(data, like))

    def _loaded(self, data: bytes, like) -> Any:
        try:
            estimator = unpickled(data, like, partial(KeptAnswers, self.root))
            if _name_of(estimator) != _name_of(like):
                raise TypeError(f"it is a {_name_of(estimator)}, not a {_name_of(like)}")
            return estimator
        except Exception as error:  # what a class does when it is loaded
            raise CannotRecall(
                f"The stored fit of {self.title} cannot be loaded and is made again: {brief(error)}"
            ) from error

    def is_by(self, job: str) -> bool:
        """Whether a job has written the fit where it ran."""
        try:
            marker = json.loads(files.read_own(self._folder / "done.json", _LARGEST_MARKER))
            return marker["format"] == _FORMAT and marker["by"] == job
        except (OSError, ValueError, KeyError, TypeError):  # it is not there, or not whole
            return False

    def is_in_sight(self) -> bool:
        """Whether this process, on whatever machine, sees the store of who holds the lock."""
        return self._lock.exists()

    def commit(self, fit: FoldFit, seconds: float | None = None, by: str = "") -> None:
        """Write the fit.

        Parameters
        ----------
        fit : FoldFit
        seconds : float or None, default=None
            That it took.
        by : str, default=""
            The job that writes it where it ran.

        Raises
        ------
        CannotStore
            If it cannot be pickled, or cannot be loaded again.
        CannotUseStore
            If the folder cannot be written to.
        """
        try:
            parts, models = {"predictions.npz": _packed(fit)}, []
            if self.keep:
                parts["estimator.pkl"], models = pickled(fit.estimator)
        except Exception as error:  # what a class does when it is pickled
            raise CannotStore(
                f"The fit of {self.title} could not be stored and will be made again: "
                f"{brief(error)}"
            ) from error
        try:
            self._write(parts, seconds, by)
        except OSError as error:
            raise CannotUseStore(
                f"the fit of {self.title} could not be stored and will be made again: "
                f"{brief(error).removesuffix('.')}"
            ) from error
        for model, data in models:
            loading.FIRST_ANSWERS[model] = KeptAnswers(self.root, data, model)

    def _write(self, parts: dict[str, bytes], seconds: float | None, by: str) -> None:
        drafts = self.root / "drafts"
        for folder in (drafts, self._folder):
            files.make_private(folder, self.root)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        marker = {
            "format": _FORMAT,
            "key": self.key,
            "title": self.title,
            "files": {name: [len(data), digests[name]] for name, data in parts.items()},
            "seconds": seconds and round(seconds, 3),
            "by": by,
        }
        written = {self._place(name, digests[name]): data for name, data in parts.items()}
        written[self._folder / "done.json"] = json.dumps(marker, indent=1).encode()
        for place, data in written.items():
            files.write_whole(place, data, drafts=drafts, private=True)
        for place in list(self._folder.iterdir()):  # of an entry that was there
            if place not in written and place.is_file():
                place.unlink(missing_ok=True)

    def _place(self, name: str, digest: str) -> Path:
        return self._folder / f"{digest[:16]}-{name}"

    def _read(self, name: str, size: int, digest: str) -> bytes:
        data = files.read_own(self._place(name, digest), size)
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} has changed since it was written")
        return data

    def patience(self) -> locks.Patience:
        """Return the patience of one who asks again and again for :meth:`lock`."""
        return locks.Patience(self._lock, self.title)

    def lock(self, *, wait: bool | locks.Patience) -> Callable[[], None] | None:
        """Keep other processes and threads from making this entry.

        Parameters
        ----------
        wait : bool or Patience
            Whether to wait for another that is making it.

        Returns
        -------
        unlock : callable or None
            None if another has it, and is not waited for.
        """
        try:
            files.make_private(self._lock.parent, self.root)
        except OSError:  # then there is no fit to be found either
            return lambda: None
        return locks.lock(self._lock, wait=wait, title=self.title)


class Store:
    """A folder of fits.

    Parameters
    ----------
    memory : str, path or joblib.Memory
        The folder; of a ``joblib.Memory`` its location.
    """

    def __init__(self, memory):
        self.root = Path(os.path.abspath(_location(memory))) / _FOLDER
        files.sweep_files(self.root / "drafts")

    def folder_for_tables(self) -> Path | None:
        """Return the folder for predictions that are not to be in memory; None if there is none."""
        folder = self.root / "tables"
        try:
            files.make_private(folder, self.root)
        except OSError:  # fits are not kept there either, which is told
            return None
        return folder

    def look_at(self, *parts: Any) -> Fingerprint:
        """Return the digest of all that several fits share, with all global settings.

        Raises
        ------
        NotComparable
            If something in it cannot be compared.
        """
        return look_at(_FORMAT, circumstances(), parts)

    def entry(self, title: str, seen: Fingerprint, *parts: Any, keep: bool, n_rows: int) -> Entry:
        """Return the entry of a fit.

        Parameters
        ----------
        title : str
        seen : Fingerprint
            The digest of all that the fit shares with others; see :meth:`look_at`.
        *parts : object
            All else that it depends on.
        keep : bool
            Whether the fitted estimator is kept.
        n_rows : int
            That it predicts.
        """
        return Entry(self.root, seen, look_at(seen.digest, parts).digest, keep, n_rows, title)


def store_named(memory) -> Store | None:
    """Return the store at a location, or None where there is none.

    Raises
    ------
    TypeError, ValueError
        If it is neither a path nor a ``joblib.Memory``, or is empty.
    """
    return None if memory is None or _location(memory) is None else Store(memory)


def _location(memory) -> Any:
    location = memory.location if isinstance(memory, joblib.Memory) else memory
    if isinstance(location, str) and not location.strip():
        raise ValueError(
            f"memory must be a directory or None, got {location!r}: use memory='fits', for example."
        )
    if location is None:
        return None
    if isinstance(location, str | os.PathLike):
        return files.path_given(location, "memory")
    raise TypeError(f"memory must be a directory or a joblib.Memory, got {memory!r}.")


def _name_of(estimator) -> str:
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


def _check_rows(fit: FoldFit, n_rows: int) -> None:
    """Raise ValueError unless a fit predicts that many rows."""
    predictions = fit.predictions
    tables = predictions if isinstance(predictions, list) else [predictions]
    found = {0 if table is None else len(table) for table in tables}
    if found != {n_rows}:
        raise ValueError(f"it predicts {found.pop()} rows, not {n_rows}")


def _packed(fit: FoldFit) -> bytes:
    """Return all of a fit but the estimator, as the bytes of an npz file."""
    tables = fit.predictions if isinstance(fit.predictions, list) else [fit.predictions]
    arrays = {f"predictions{k}": t for k, t in enumerate(tables) if t is not None}
    known = getattr(fit.estimator, "classes_", None)
    labels = known if isinstance(known, list) else [known]
    arrays |= {f"classes{k}": np.asarray(c) for k, c in enumerate(labels) if c is not None}
    shape = {
        "several_predictions": isinstance(fit.predictions, list),
        "several_classes": isinstance(known, list),
        "history": fit.history,
    }
    arrays["about"] = np.array(json.dumps(shape))
    if any(array.dtype.hasobject for array in arrays.values()):
        raise TypeError("its predictions or classes are Python objects")
    return packed(arrays)


def _unpacked(data: bytes, kind: str) -> FoldFit:
    arrays = unpacked(data)
    about = json.loads(str(arrays["about"]))
    tables, labels = (
        [arrays[f"{name}{k}"] for k in range(len(arrays)) if f"{name}{k}" in arrays]
        for name in ("predictions", "classes")
    )
    predictions = tables if about["several_predictions"] else next(iter(tables), None)
    classes = labels if about["several_classes"] else next(iter(labels), None)
    return FoldFit(DiscardedModel(kind, classes), predictions, about["history"], FROM_MEMORY)
