"""Locks by which one process makes a fit while others wait; none of them waits for a dead one.

Who holds a lock touches its file every few seconds. Who waits for it says so after some seconds.
Who sees no touch in a minute, because the other process is stopped or a foreign program has the
file, goes on without the lock: then a fit is made twice, and the last one written stands.
"""

import os
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import filelock

from stackfuse._core import messages

#: Seconds between two touches, and without one until a holder is taken for gone.
_BEAT, _PATIENCE = 5.0, 60.0

#: Seconds after which one who waits looks again, and says that it waits.
_LOOK, _TELL = 1.0, 10.0


def lock(path: Path, *, wait: "bool | Patience", title: str = "a fit") -> Callable[[], None] | None:
    """Take a lock.

    Parameters
    ----------
    path : Path
        The file to lock.
    wait : bool or Patience
        Whether to wait for another process or thread that has it. With a patience there is no
        waiting in this call: the caller comes again until the lock is free, or patience ends.
    title : str
        Says what is made under it, in warnings.

    Returns
    -------
    unlock : callable or None
        None if another has it, and is not waited for.
    """
    held = filelock.FileLock(path, thread_local=False, mode=0o600)
    try:
        if wait is True:
            _wait_for(held, Patience(path, title))
        else:
            held.acquire(timeout=0)
    except filelock.Timeout:
        _last_touch(path)
        gone = wait is True or (isinstance(wait, Patience) and wait.ends())
        return (lambda: None) if gone else None
    except (OSError, NotImplementedError):  # a file system without locks: some work is doubled
        return lambda: None
    _others.pop(path, None)
    _heart.add(path)

    def unlock() -> None:
        _heart.remove(path)
        held.release()

    return unlock


def _wait_for(held: filelock.BaseFileLock, patience: "Patience") -> None:
    """Take a lock as soon as it is free.

    Raises
    ------
    Timeout
        If whoever has it shows no life.
    """
    while True:
        try:
            held.acquire(timeout=min(_LOOK, _PATIENCE))
        except filelock.Timeout:
            if patience.ends():
                raise
        else:
            return


class Patience:
    """The wait for a lock: it is told, and ends when nobody makes the fit.

    Parameters
    ----------
    path : Path
    title : str
        Says what is made under the lock.
    """

    def __init__(self, path: Path, title: str):
        self._path, self._title = path, title
        self._start, self._has_told = time.monotonic(), False

    def ends(self) -> bool:
        """Whether the lock is no longer waited for; asked whenever it was not free."""
        now = time.monotonic()
        if now - _last_touch(self._path) > _PATIENCE:
            warnings.warn(
                f"The fit of {self._title} is made here too. Another process makes it, but has "
                f"shown no life for {_PATIENCE:g} seconds. Its lock is "
                f"{messages.printable(self._path)}.",
                stacklevel=6,
            )
            return True
        if not self._has_told and now - self._start > _TELL:
            self._has_told = True
            warnings.warn(
                f"The fit of {self._title} is being made by another process or thread. This one "
                f"waits for it. Its lock is {messages.printable(self._path)}.",
                stacklevel=6,
            )
        return False


#: For locks of others: when their files were touched, and when this was first seen here.
_others: dict[Path, tuple[int | None, float]] = {}


def _last_touch(path: Path) -> float:
    """Return when a touch of a lock was last seen, on the clock of this process."""
    touched = _touched(path)
    if path not in _others or _others[path][0] != touched:
        _others[path] = (touched, time.monotonic())
    return _others[path][1]


def _touch(path: Path) -> None:
    with suppress(OSError):  # it was deleted
        os.utime(path)


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


class _Heart:
    """Touches the files of all locks that this process holds, as long as there are any."""

    def __init__(self):
        self._paths: list[Path] = []
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, path: Path) -> None:
        _touch(path)
        with self._change:
            self._paths.append(path)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, daemon=True)
                self._thread.start()

    def remove(self, path: Path) -> None:
        with self._change:
            self._paths.remove(path)
            self._change.notify()

    def _beat(self) -> None:
        while True:
            with self._change:
                if not self._paths:
                    self._thread = None
                    return
                for path in self._paths:
                    _touch(path)
                self._change.wait(_BEAT)


_heart = _Heart()
