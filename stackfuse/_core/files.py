"""Files and folders that are whole or not there: made beside their place, then swapped in.

A *draft* is a hidden folder beside a place. In it lies first what will stand at the place, then
what stood there. Whoever is killed leaves a draft behind: :func:`repair` undoes a swap that was
broken off, and :func:`sweep` deletes drafts that are a day old.
"""

import ctypes
import errno
import functools
import json
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

#: Seconds after which a draft that nobody finished is deleted.
_STALE = 24 * 3600

#: Says whose a draft is; the first file in it, and the last that is deleted.
_MARKER = "stackfuse-draft.json"

#: Locked as long as the process that makes the draft runs.
_LOCK = "lock"

#: There as soon as a swap in several steps may have begun.
_READY = "ready"

#: The names of drafts.
_DRAFT = re.compile(r"\..+-[0-9a-f]{8}")

#: From Linux's <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

#: What a system answers that cannot exchange: an old kernel, a file system, a container's filter.
_CANNOT_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


def write_whole(path: Path, data: bytes, *, drafts: Path | None = None) -> None:
    """Write a file so that at no moment a part of it lies at its place.

    Parameters
    ----------
    path : Path
        An earlier file there is replaced; a link stays, and so does a file's mode.
    data : bytes
    drafts : Path, default=None
        Folder, on the same file system, for what is not finished; by default the file's own.

    Raises
    ------
    OSError
        If it cannot be written; what was at its place is still there.
    """
    path = real_place(path)
    draft = (drafts or path.parent) / f".draft-{uuid.uuid4().hex}"
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _take_mode(draft, path)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------- places


def real_place(path: Path) -> Path:
    """Return where to write: the path, or where it leads to if it is a link, which stays.

    Raises
    ------
    OSError
        If the link leads in a circle, or into a folder that does not exist.
    """
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(f"{path} is a link that leads in a circle: choose another path.")
    if not place.parent.is_dir():
        raise FileNotFoundError(
            f"{path} is a link to {place}, whose folder does not exist: make the folder, or remove "
            "the link."
        )
    return place


def check_writable(folder: Path) -> None:
    """Raise OSError if a folder cannot be written to, or cannot be made."""
    found = folder.absolute()
    while not os.path.lexists(found):
        found = found.parent
    if not found.is_dir():
        raise NotADirectoryError(f"{found} is no folder: choose another path.")
    if not os.access(found, os.W_OK | os.X_OK):
        raise PermissionError(
            f"You may not write to the folder {found}: change its mode, or choose another path."
        )


# ---------------------------------------------------------------------------- drafts


@dataclass(frozen=True)
class Draft:
    """A hidden folder beside a place, where its next content is made.

    Attributes
    ----------
    folder : Path
    places : tuple of Path
        What is replaced: a file or a folder, then files that belong to it.
    endings : tuple of str
        The endings that the drafts of these have.
    """

    folder: Path
    places: tuple[Path, ...]
    endings: tuple[str, ...]

    @classmethod
    def found(cls, folder: Path) -> "Draft | None":
        """Return the draft that lies in a folder, or None if there is none of ours."""
        if not _DRAFT.fullmatch(folder.name) or folder.is_symlink():
            return None
        try:
            told = json.loads((folder / _MARKER).read_bytes())
            names, endings = told["stackfuse_draft_of"], told["endings"]
            entries = {entry.name for entry in folder.iterdir()}
            places = tuple(folder.parent / os.path.basename(name) for name in names)
            draft = cls(folder, places, tuple(endings))
        except (OSError, ValueError, KeyError, TypeError):  # it is somebody else's
            return None
        if len(places) != len(endings) or folder.name[:-9] != f".{places[0].name}":
            return None
        return draft if entries <= draft._names else None

    @property
    def path(self) -> Path:
        """Where to write what will stand at the first place."""
        return self._new(0)

    @property
    def _names(self) -> set[str]:
        kept = {part(k).name for k in range(len(self.places)) for part in (self._new, self._old)}
        return {_MARKER, _LOCK, _READY, *kept}

    def _new(self, k: int) -> Path:
        return self.folder / f"new{self.endings[k]}"

    def _old(self, k: int) -> Path:
        return self.folder / f"old{self.endings[k]}"

    def swap(self, check: Callable[[], None]) -> None:
        """Put what was made at its place, on the disk for good; what stood there is in the draft.

        Parameters
        ----------
        check : callable
            Called at the last moment; raises if what stands at the place must stay there.
        """
        for k, place in enumerate(self.places):
            for part in _tree(self._new(k)):
                sync(part)
            self._take_modes(self._new(k), place)
        sync(self.folder)
        check()
        place = self.places[0]
        if len(self.places) > 1:
            self._swap_in_steps()
        elif not place.is_dir():
            os.replace(self.path, place)
        elif not _exchange(self.path, place):
            self._swap_in_steps()
        sync(place.parent)

    def _take_modes(self, new: Path, place: Path) -> None:
        """Give all parts the modes and owners of what they replace, or else the usual modes."""
        for part in _tree(new):
            like = self.folder if part.is_dir() else self.folder / _MARKER
            os.chmod(part, stat.S_IMODE(like.stat().st_mode))
            _take_mode(part, place / part.relative_to(new))

    def _swap_in_steps(self) -> None:
        """Move the old aside and the new in; the first place is empty until the last step."""
        (self.folder / _READY).touch()
        sync(self.folder)
        order = range(len(self.places))
        try:
            for k in order:
                if os.path.lexists(self.places[k]):
                    os.rename(self.places[k], self._old(k))
            for k in reversed(order):
                os.rename(self._new(k), self.places[k])
        except BaseException:
            self.repair()
            raise

    def repair(self) -> None:
        """Undo a swap that was broken off; finish it where nothing stood before."""
        main, *others = range(len(self.places))
        begun = (self.folder / _READY).exists() and os.path.lexists(self._new(main))
        if not begun or os.path.lexists(self.places[main]):
            return
        if os.path.lexists(self._old(main)):
            for k in (*others, main):
                if os.path.lexists(self._old(k)):
                    os.replace(self._old(k), self.places[k])
        elif any(not os.path.lexists(self._new(k)) for k in others):
            os.rename(self._new(main), self.places[main])

    def remove(self) -> None:
        """Delete the draft and all in it, the marker last; not if it holds all that there is."""
        if os.path.lexists(self._old(0)) and not os.path.lexists(self.places[0]):
            return
        for name in (_READY, *sorted(self._names - {_READY, _LOCK, _MARKER}), _LOCK, _MARKER):
            part = self.folder / name
            if part.is_dir() and not part.is_symlink():
                for folder in _tree(part):
                    if folder.is_dir():
                        os.chmod(folder, stat.S_IRWXU)
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        shutil.rmtree(self.folder)  # who waits for the lock may have made it anew


@contextmanager
def draft_of(place: Path, endings: tuple[str, ...]) -> Iterator[Draft]:
    """Make a draft, and delete it in the end with whatever it holds by then.

    Parameters
    ----------
    place : Path
        Of a file or a folder.
    endings : tuple of str
        First its own; then those of the files that belong to it, of its name otherwise.
    """
    places = (place, *(place.with_suffix(ending) for ending in endings[1:]))
    folder = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")
    draft = Draft(folder, places, endings)
    lock = filelock.FileLock(folder / _LOCK)
    folder.mkdir()
    try:
        told = {"stackfuse_draft_of": [place.name for place in places], "endings": endings}
        (folder / _MARKER).write_text(json.dumps(told))
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
        yield draft
    finally:
        lock.release()
        draft.remove()


def repair(place: Path) -> None:
    """Undo what a killed process began with a place, if nothing stands there."""
    if os.path.lexists(place) or not place.parent.is_dir():
        return
    for draft in _drafts(place.parent):
        if draft.places[0].name == place.name:
            with _abandoned(draft) as abandoned:
                if abandoned:
                    draft.repair()


def sweep(folder: Path) -> None:
    """Repair what killed processes left in a folder, and delete their drafts after a day."""
    for draft in _drafts(folder):
        with _abandoned(draft) as abandoned:
            if abandoned:
                draft.repair()
            old = abandoned and time.time() - draft.folder.stat().st_mtime > _STALE
        if old:
            draft.remove()


def _drafts(folder: Path) -> list[Draft]:
    return [draft for draft in map(Draft.found, folder.iterdir()) if draft is not None]


@contextmanager
def _abandoned(draft: Draft) -> Iterator[bool]:
    """Tell whether the process that made a draft has ended; nobody else takes it meanwhile."""
    lock = filelock.FileLock(draft.folder / _LOCK)
    try:
        age = draft.folder.stat()
        lock.acquire(timeout=0)
        os.utime(draft.folder, ns=(age.st_atime_ns, age.st_mtime_ns))  # the lock may be a new file
    except (OSError, NotImplementedError):  # it is taken, deleted by now, or another user's
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _take_mode(new: Path, old: Path) -> None:
    """Give a file or folder the mode, and where we may the owner, of the one that it replaces."""
    try:
        told = os.lstat(old)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_IFMT(told.st_mode) != stat.S_IFMT(new.lstat().st_mode):
        return
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only root gives files away
            os.chown(new, told.st_uid, told.st_gid)
    os.chmod(new, stat.S_IMODE(told.st_mode))


def _tree(path: Path) -> list[Path]:
    """Return a file, or a folder and all in it; a folder before what it holds."""
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return the C function, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths trade places in one step; return False where the system cannot."""
    function = _renameat2()
    if function is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _CANNOT_EXCHANGE:
        return False
    raise OSError(error, os.strerror(error), str(one), None, str(other))
