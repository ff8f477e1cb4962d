"""Locks by which one process makes a fit while others wait; none of them waits for a dead one.

Who holds a lock touches its file every few seconds. Who waits for it and sees no touch in a minute,
because the other process is stopped or a foreign program has the file, goes on without the lock:
then a fit is made twice, and the last one written stands.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import filelock

#: Seconds between two touches, and without one until a holder is taken for gone.
_BEAT, _PATIENCE = 5.0, 60.0

#: Seconds after which one who waits looks again.
_LOOK = 1.0


def lock(path: Path, *, wait: bool) -> Callable[[], None] | None:
    """Take a lock.

    Parameters
    ----------
    path : Path
        The file to lock; its folder is made.
    wait : bool
        Whether to wait for another process or thread that has it.

    Returns
    -------
    unlock : callable or None
        None if another has it, and is not waited for.
    """
    held = filelock.FileLock(path, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if wait:
            _wait_for(held, path)
        else:
            held.acquire(timeout=0)
    except filelock.Timeout:
        return None if not wait else lambda: None
    except (OSError, NotImplementedError):  # a file system without locks: some work is doubled
        return lambda: None
    _heart.add(path)

    def unlock() -> None:
        _heart.remove(path)
        held.release()

    return unlock


def _wait_for(held: filelock.BaseFileLock, path: Path) -> None:
    """Take a lock as soon as it is free.

    Raises
    ------
    Timeout
        If whoever has it shows no life.
    """
    seen, since = _touched(path), time.monotonic()
    while True:
        try:
            held.acquire(timeout=min(_LOOK, _PATIENCE))
        except filelock.Timeout:
            now = _touched(path)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                raise
        else:
            return


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
                    with suppress(OSError):  # it was deleted
                        os.utime(path)
                self._change.wait(_BEAT)


_heart = _Heart()
