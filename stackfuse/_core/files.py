"""Write files and folders whole or not at all: make them beside their place, then swap them in.

A *draft* is a hidden folder beside a place. It holds the new content, and after the swap the old
one. A killed process leaves its draft behind: :func:`repair` undoes a swap that was broken off,
and :func:`sweep` deletes drafts that are a day old.
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
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from stackfuse._core.messages import in_short, printable

#: Seconds after which a draft that nobody finished is deleted.
_STALE_AFTER = 24 * 3600

#: Marks a draft as ours; the first file that is written into it, and the last that is deleted.
_MARKER = "stackfuse-draft.json"

#: Locked as long as the process that makes the draft runs.
_LOCK = "lock"

#: This file exists as soon as a swap in several steps may have begun.
_READY = "ready"

#: The names of drafts.
_DRAFT = re.compile(r"\..+-[0-9a-f]{8}")

#: From Linux's <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

#: The errors of a system that cannot swap two paths in one step, such as an old kernel.
_CANNOT_SWAP = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


#: The bytes that a name of a file may have on the file systems in use.
_LONGEST_NAME = 255


def path_given(path: Any, name: str = "path") -> Path:
    """Return a path that was given as text or as a path.

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If no file can have such a name.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"{name} must be a path, as text or a pathlib.Path, got {in_short(path)}.")
    path = Path(path)
    too_long = max((len(os.fsencode(part)) for part in path.parts), default=0) > _LONGEST_NAME
    if "\0" in str(path) or too_long:
        what = f"names of more than {_LONGEST_NAME} bytes" if too_long else "null characters"
        raise ValueError(
            f"{name} must be the path of a file, without {what}, got {in_short(str(path))}."
        )
    return path


def write_whole(
    path: Path,
    data: bytes | Callable[[BinaryIO], object],
    *,
    drafts: Path | None = None,
    private: bool = False,
) -> None:
    """Write a file so that its place holds the old content or the new one, never a part.

    Parameters
    ----------
    path : Path
        An earlier file there is replaced; a link stays, and so does a file's mode.
    data : bytes or callable
        The content, or a function that writes it to a file.
    drafts : Path, default=None
        Folder for unfinished files, on the same file system; by default the file's own.
    private : bool, default=False
        Whether only this user may read it, whatever was there before.

    Raises
    ------
    OSError
        If it cannot be written; an earlier file stays.
    """
    path = path if private else real_place(path)
    if path.is_dir():
        raise IsADirectoryError(f"{printable(path)} is a folder: add the name of a file.")
    if not path.parent.is_dir():
        folder = printable(path.parent)
        raise FileNotFoundError(f"There is no folder {folder} for {printable(path.name)}: make it.")
    draft = (drafts or path.parent) / f".draft-{uuid.uuid4().hex}"
    with told_if_full(path):
        try:
            _write_by_draft(path, data, draft, private)
        except OSError as error:  # it names the draft, which nobody knows
            told = type(error)(f"{printable(path)} cannot be written: {error.strerror or error}.")
            told.errno = error.errno
            raise told from error
    sync(path.parent)


def _write_by_draft(path: Path, data: Any, draft: Path, private: bool) -> None:
    try:
        with open(draft, "xb", opener=_private if private else None) as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            _copy_mode(draft, path)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)


def make_private(folder: Path, root: Path) -> None:
    """Make a folder inside of a root, and the root, for this user alone, whatever the umask.

    Parameters
    ----------
    folder, root : Path
        Folders that are there keep their modes; those above the root are made as usual.

    Raises
    ------
    PermissionError
        If one of them belongs to another user than this one or root: what root writes there, for
        example, that user could not read.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    within = [part for part in folder.parents if part.is_relative_to(root)]
    for part in (*reversed(within), folder):
        try:
            part.mkdir(mode=stat.S_IRWXU)
        except FileExistsError:
            if not part.is_dir():
                raise
            _check_owner(part, part.stat())


def _check_owner(path: Path, status: os.stat_result) -> None:
    if hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{printable(path)} belongs to another user, number {status.st_uid}")


def read_own(path: Path, most: int) -> bytes:
    """Return the content of a file that nobody but this user, or root, can have written.

    Parameters
    ----------
    path : Path
    most : int
        The number of bytes that it may have.

    Raises
    ------
    FileNotFoundError, PermissionError, OSError
        If it is not there, is another user's, or is a pipe or a folder, which are not waited for.
    ValueError
        If it is larger.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda path, _: os.open(path, flags)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{printable(path)} is not a file")
        _check_owner(path, status)
        if hasattr(os, "geteuid") and status.st_mode & stat.S_IWOTH:
            raise PermissionError(f"everybody may write to {printable(path)}")
        if status.st_size > most:
            raise ValueError(f"{printable(path)} is larger than it was written")
        return file.read()


def sweep_files(drafts: Path) -> None:
    """Delete the unfinished files of :func:`write_whole` in a folder that are a day old."""
    try:
        for draft in list(drafts.glob(".draft-*")):
            if time.time() - draft.stat().st_mtime > _STALE_AFTER:
                draft.unlink()
    except OSError:  # another process swept it, or the folder is not ours
        return


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------- strangers' files


#: Bytes from which on it takes long to read a file that the disk does not hold.
_LARGE = 1 << 28


class RefusedFile(ValueError):
    """A file that is not opened, or not any further; the message is the end of a sentence."""


def check_regular(path: Path) -> None:
    """Raise RefusedFile if there is a pipe, a device or the like at a path, or a file of holes."""
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise RefusedFile("it is not a file")
    status = path.stat()
    on_disk = getattr(status, "st_blocks", status.st_size) * 512
    if status.st_size > _LARGE and on_disk < status.st_size // 100:
        raise RefusedFile(f"it claims {status.st_size / 1e9:.1f} GB and holds almost no data")


def most_unpacked(size: int) -> int:
    """Return to how many bytes a file of a size may unpack: 64 MB, or a hundred times its size."""
    return max(1 << 26, 100 * size)


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Raise RefusedFile if an archive of a size holds links, paths that lead out, or far too much.

    The sizes that it claims are checked: no member is unpacked to more than its own.
    """
    members = archive.infolist()
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename[:1] in ("/", "\\") or ".." in parts or ":" in parts[0]:
            raise RefusedFile(
                f"its member {member.filename[:200]!r} would be written outside of its folder"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise RefusedFile(f"its member {member.filename[:200]!r} is a link")
    unpacked = sum(member.file_size for member in members)
    if unpacked > most_unpacked(size):
        raise RefusedFile(f"its {size / 1e6:,.1f} MB unpack to {unpacked / 1e6:,.0f} MB")


# ---------------------------------------------------------------------------- full disks

#: The messages for a disk that cannot be written to, by the number of the error.
_FULL = {
    errno.ENOSPC: "There is no space left to write {}: free some",
    errno.EDQUOT: "Your disk quota is used up, so {} cannot be written: delete something",
    errno.EFBIG: "{} is larger than the limit for files: raise the limit (ulimit -f)",
    errno.EROFS: "{} is on a read-only file system: mount it with write access",
}


@contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """Tell of a disk that is full or read-only in one sentence with a path.

    Libraries tell of such a disk by errors of many kinds, without a path or with that of a draft.

    Parameters
    ----------
    path : Path
        The file that is written within, or the temporary folder.

    Raises
    ------
    OSError
        In place of any error whose number or text says so.
    """
    try:
        yield
    except Exception as error:
        number = next((n for n in _FULL if _tells(error, n)), None)
        if number is None:
            raise
        with suppress(OSError):  # there may be none
            if path.parent != temporary_folder() and _free(temporary_folder()) < _free(path.parent):
                path = temporary_folder()
        is_temporary = path == Path(tempfile.tempdir or "")
        instead = "set TMPDIR to another folder" if is_temporary else "choose another path"
        told = OSError(f"{_FULL[number].format(printable(path))}, or {instead}.")
        told.errno = number
        raise told from error


def temporary_folder() -> Path:
    """Return the folder for temporary files.

    Raises
    ------
    FileNotFoundError
        If there is none that can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no temporary folder that can be written to: {error.strerror}. Free some "
            "space, or set TMPDIR to another folder."
        ) from None


def _tells(error: BaseException | None, number: int) -> bool:
    """Whether an error, or one that it came from, has a number, or a text that says the same."""
    if error is None:
        return False
    if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
        return True
    return _tells(error.__cause__ or error.__context__, number)


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # it is not there: it is not what is full
        return sys.maxsize


# ---------------------------------------------------------------------------- places


def real_place(path: Path) -> Path:
    """Return the path to write to; of a link the path that it leads to, so that the link stays.

    Raises
    ------
    OSError
        If the link leads in a circle, or into a folder that does not exist; if a pipe, a device or
        a socket is there, which a file would take the place of.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(
            f"{printable(path)} is a pipe, a device or a socket, not a file: choose another path."
        )
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(
            f"{printable(path)} is a link that leads back to itself: choose another path."
        )
    if not place.parent.is_dir():
        raise FileNotFoundError(
            f"{printable(path)} is a link to {printable(place)}, whose folder does not exist: make "
            "the folder, or remove the link."
        )
    return place


def check_writable(folder: Path) -> None:
    """Raise OSError if a folder cannot be written to, or cannot be made."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(f"{printable(existing)} is not a folder: choose another path.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"You may not write to the folder {printable(existing)}: change its mode, or choose "
            "another path."
        )


# ---------------------------------------------------------------------------- drafts


@dataclass(frozen=True)
class Draft:
    """A hidden folder beside a place, in which the next content of the place is made.

    Attributes
    ----------
    folder : Path
    places : tuple of Path
        The paths to replace: a file or a folder, then the files that belong to it.
    endings : tuple of str
        The ending of each path's draft.
    """

    folder: Path
    places: tuple[Path, ...]
    endings: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Draft | None":
        """Return the draft in a folder, or None if the folder is no draft of ours."""
        if not _DRAFT.fullmatch(folder.name) or folder.is_symlink():
            return None
        try:
            marker = json.loads((folder / _MARKER).read_bytes())
            names, endings = marker["stackfuse_draft_of"], marker["endings"]
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
        """Where to write the new content of the first place."""
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
        """Put the new content at its place and sync it to the disk; the draft keeps the old.

        Parameters
        ----------
        check : callable
            Called at the last moment; raises if the place must stay as it is.
        """
        for k, place in enumerate(self.places):
            for part in _with_contents(self._new(k)):
                sync(part)
            self._copy_modes(self._new(k), place)
        sync(self.folder)
        check()
        place = self.places[0]
        if len(self.places) > 1:
            self._swap_in_steps()
        elif not place.is_dir():
            os.replace(self.path, place)
        elif not _swap_in_one_step(self.path, place):
            self._swap_in_steps()
        sync(place.parent)

    def _copy_modes(self, new: Path, place: Path) -> None:
        """Give each part the mode and owner of the part that it replaces, or the usual mode."""
        for part in _with_contents(new):
            like = self.folder if part.is_dir() else self.folder / _MARKER
            os.chmod(part, stat.S_IMODE(like.stat().st_mode))
            _copy_mode(part, place / part.relative_to(new))

    def _swap_in_steps(self) -> None:
        """Move the old content out and the new in; the first place is empty until the last step."""
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
        """Delete the draft, the marker last; keep it if it holds the only content of its place."""
        if os.path.lexists(self._old(0)) and not os.path.lexists(self.places[0]):
            return
        for name in (_READY, *sorted(self._names - {_READY, _LOCK, _MARKER}), _LOCK, _MARKER):
            part = self.folder / name
            if part.is_dir() and not part.is_symlink():
                for folder in _with_contents(part):
                    if folder.is_dir():
                        os.chmod(folder, stat.S_IRWXU)
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        shutil.rmtree(self.folder)  # a process that waits for the lock may have made it again


@contextmanager
def draft_of(place: Path, endings: tuple[str, ...]) -> Iterator[Draft]:
    """Make a draft, and delete it with its content at the end.

    Parameters
    ----------
    place : Path
        The path of a file or a folder.
    endings : tuple of str
        The place's own ending, then those of the files that belong to it and share its name.
    """
    places = (place, *(place.with_suffix(ending) for ending in endings[1:]))
    folder = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")
    draft = Draft(folder, places, endings)
    lock = filelock.FileLock(folder / _LOCK)
    folder.mkdir()
    try:
        marker = {"stackfuse_draft_of": [place.name for place in places], "endings": endings}
        (folder / _MARKER).write_text(json.dumps(marker))
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
        yield draft
    finally:
        lock.release()
        draft.remove()


def repair(place: Path) -> None:
    """Undo the swap that a killed process began at a place, if the place is empty."""
    if os.path.lexists(place) or not place.parent.is_dir():
        return
    for draft in _drafts(place.parent):
        if draft.places[0].name == place.name:
            with _locked_if_abandoned(draft) as abandoned:
                if abandoned:
                    draft.repair()


def sweep(folder: Path) -> None:
    """Undo the swaps that killed processes began in a folder; delete their drafts after a day."""
    for draft in _drafts(folder):
        with _locked_if_abandoned(draft) as abandoned:
            if abandoned:
                draft.repair()
            old = abandoned and time.time() - draft.folder.stat().st_mtime > _STALE_AFTER
        if old:
            draft.remove()


def _drafts(folder: Path) -> list[Draft]:
    return [draft for draft in map(Draft.read, folder.iterdir()) if draft is not None]


@contextmanager
def _locked_if_abandoned(draft: Draft) -> Iterator[bool]:
    """Say whether the process that made a draft has ended; if so, hold the draft's lock."""
    lock = filelock.FileLock(draft.folder / _LOCK)
    try:
        age = draft.folder.stat()
        lock.acquire(timeout=0)
        os.utime(draft.folder, ns=(age.st_atime_ns, age.st_mtime_ns))  # the lock may be a new file
    except (OSError, NotImplementedError):  # it is locked, deleted by now, or another user's
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _copy_mode(new: Path, old: Path) -> None:
    """Give a file or folder the mode of the one that it replaces, and the owner where we may."""
    try:
        status = os.lstat(old)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(new.lstat().st_mode):
        return
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only root gives files away
            os.chown(new, status.st_uid, status.st_gid)
    os.chmod(new, stat.S_IMODE(status.st_mode))


def _with_contents(path: Path) -> list[Path]:
    """Return a path and, of a folder, everything in it; each folder before its content."""
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return the C function, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _swap_in_one_step(one: Path, other: Path) -> bool:
    """Swap two paths in one step; return False where the system cannot."""
    function = _renameat2()
    if function is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _CANNOT_SWAP:
        return False
    raise OSError(error, os.strerror(error), str(one), None, str(other))
