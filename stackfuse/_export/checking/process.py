"""Check files in another process, which has their runtime and cannot import stackfuse.

TensorFlow takes seconds to start, so the process stays for the next file. It is a plain child that
runs ``runtimes.py``: a caller's script needs no ``if __name__ == "__main__"``. Formats that need
TensorFlow share one process; all others share another, which cannot import it.
"""

import atexit
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from stackfuse._core import (
    NotConvertible,
    errors,
    files,
)
from stackfuse._export.checking import runtimes as _runtimes

#: Seconds after which loading and running a file is given up.
TIMEOUT = 600.0

#: Files after which a process is replaced, since each loaded file leaves memory behind.
LOADS = 100

#: Packages that no file may need. Keras imports the last three if it finds them, although no file
#: uses them; that takes half as long as importing TensorFlow.
REFUSED = ("stackfuse", "sklearn", "pandas", "scipy")

#: Modules that take seconds to import: only files that need them wait for them.
HEAVY = ("tensorflow", "keras")


@dataclass(frozen=True)
class Loader:
    """How files of one format are loaded in the process.

    Attributes
    ----------
    title : str
        The format's name in messages.
    code : str
        The function that loads a file; ``loading.py`` of the formats makes it.
    modules : tuple of str
        The modules that the function imports.
    """

    title: str
    code: str
    modules: tuple[str, ...]

    @property
    def packages(self) -> list[str]:
        """The packages that the modules are in."""
        return list(dict.fromkeys(module.partition(".")[0] for module in self.modules))

    @property
    def is_heavy(self) -> bool:
        """Whether it needs TensorFlow."""
        return not set(HEAVY).isdisjoint(self.packages)


class _Child:
    """A running ``runtimes.py``: requests in, answers out."""

    def __init__(self, loader: Loader):
        self.owner = os.getpid()
        self.n_loads = 0
        self.owes_answer = False
        self.log: IO[bytes] = tempfile.TemporaryFile()
        # Isolated from the user's settings, it finds packages where this process finds them.
        settings = {
            "refused": [*REFUSED, *(() if loader.is_heavy else HEAVY)],
            "folders": _folders_of(["numpy", *loader.packages]),
            "modules": loader.modules,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(_runtimes.__file__), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            # This process may hold all memory of the GPU.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            process_group=0,  # Ctrl-C in a terminal is for the caller, who may go on
        )

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and belongs to this process and not to one that this was forked from.

        One whose caller was interrupted still writes its answer, which the next would be given.
        """
        mine = self.owner == os.getpid() and not self.owes_answer
        return mine and self.process.poll() is None and self.n_loads < LOADS

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request.

        Raises
        ------
        ParityError
            If the process dies or takes too long.
        """
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            self.process.kill()

        timer = threading.Timer(TIMEOUT, give_up)
        timer.daemon = True  # an interrupt may come before it is cancelled
        timer.start()
        try:
            self.owes_answer = True
            answer = self._send(json.dumps(request).encode() + b"\n")
            self.owes_answer = False
        finally:
            timer.cancel()
            if self.owes_answer:  # interrupted: nobody wants to know any more
                self.process.kill()
        self.n_loads += 1
        if answer and not timed_out.is_set():
            return json.loads(answer)
        last_line = self.kill()
        what = f"took longer than {TIMEOUT:g} seconds" if timed_out.is_set() else "died"
        raise errors.ParityError(
            f"The process that loads the file to check it {what}, so nothing was written. "
            f"{last_line}"
        )

    def _send(self, request: bytes) -> bytes:
        """Send a line and return the answer's line; empty if the process is gone."""
        if self.process.stdin is None or self.process.stdout is None:
            return b""
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
        except BrokenPipeError:
            return b""
        return self.process.stdout.readline()

    def kill(self) -> str:
        """Kill the process, if it is ours; return the last line that it wrote."""
        if self.owner != os.getpid() or self.log.closed:
            return ""
        self.process.kill()
        self.process.communicate()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        self.log.close()
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


class Runtime:
    """A process that loads files of some formats; it is started when it is first needed."""

    def __init__(self):
        self._lock = threading.Lock()
        self._child: _Child | None = None
        atexit.register(self.stop)

    def start(self, loader: Loader) -> None:
        """Start the process, which gets ready while the caller does other things."""
        with self._lock:
            self._running_child(loader)

    def stop(self) -> None:
        """End the process, if one runs."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
            self._child = None

    def abandon(self) -> None:
        """End what another thread waits for; that thread is told that the process died."""
        child = self._child
        if child is not None and child.owes_answer:
            child.process.kill()

    def outputs_of(
        self, loader: Loader, path: Path, rows: dict[str, np.ndarray], memory: int | None = None
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a file for rows, computed in the process.

        Parameters
        ----------
        loader : Loader
        path : Path
        rows : dict of str to ndarray of shape (n_samples, ...)
            By the name of the input.
        memory : int or None, default=None
            Bytes that the process may take for it, where the system has such a limit.

        Raises
        ------
        NotConvertible
            If the runtime cannot load or compute the file.
        ParityError
            If the process died or took too long, so that nothing is known of the file.
        OSError
            If the temporary folder is full.
        """
        with self._lock, files.told_if_full(files.temporary_folder()):
            with tempfile.TemporaryDirectory() as folder:
                return self._computed(loader, path, rows, Path(folder), memory)

    def _computed(
        self,
        loader: Loader,
        path: Path,
        rows: dict[str, np.ndarray],
        folder: Path,
        memory: int | None,
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a file; rows and outputs are handed over in a folder."""
        given, computed = str(folder / "rows.npz"), str(folder / "outputs.npz")
        np.savez(given, *map(_without_objects, rows.values()))
        request = {"path": str(path.absolute()), "names": list(rows), "code": loader.code}
        request |= {"folders": _folders_of(loader.packages), "rows": given, "outputs": computed}
        try:
            answer = self._running_child(loader).ask(request | {"memory": memory})
        except errors.ParityError as died:
            answer = {"error": str(died)}
            if memory is None or not _WITHOUT_MEMORY.search(answer["error"]):
                raise
        if "not_written" in answer:
            raise OSError(answer["not_written"])
        if "error" in answer and memory is not None and _WITHOUT_MEMORY.search(answer["error"]):
            raise NotConvertible(
                f"{loader.title} needs more than {memory / 1e9:.1f} GB of memory, the limit for a "
                "file of this size."
            )
        if "error" in answer:
            raise NotConvertible(_refusal_message(loader, " ".join(answer["error"].split())))
        with np.load(computed, allow_pickle=False) as outputs:
            return dict(zip(answer["names"], outputs.values()))

    def _running_child(self, loader: Loader) -> _Child:
        if self._child is None or not self._child.is_usable:
            if self._child is not None:
                self._child.kill()
            self._child = _Child(loader)
        return self._child


#: How runtimes say that there is no memory left.
_WITHOUT_MEMORY = re.compile(
    r"MemoryError|bad_alloc|out of memory|OOM|[Ff]ailed to allocate|not enough memory", re.ASCII
)


def memory_for(size: int) -> int:
    """Return the bytes of memory that a stranger's file of a size may take: ordinary models do."""
    return (4 << 30) + 32 * size


def _refusal_message(loader: Loader, error: str) -> str:
    runner = loader.packages[0] if loader.packages else "Python"
    if error.startswith("ArithmeticError: "):  # see runtimes.py
        reason = error.removeprefix("ArithmeticError: ")
        return f"{runner} computes this graph wrongly: {reason[:300]}. Export to another format."
    unknown = re.search(r"No Op registered for (\w+)", error)
    if unknown:
        return f"{runner} cannot run {unknown[1]}, which this graph needs. Export to .keras."
    missing = re.search(r"Could not find an implementation for (\w+)\(", error)
    if missing:
        return (
            f"{runner} cannot run {missing[1]} in this precision, which the graph needs. Choose "
            "another precision or format."
        )
    return f"{runner} cannot run the {loader.title} file: {error[:400]}"


#: Run files of formats that need TensorFlow, and of all others.
_WITH_TENSORFLOW, _LIGHT = Runtime(), Runtime()


def runtime_for(loader: Loader) -> Runtime:
    """Return the process in which files are loaded."""
    return _WITH_TENSORFLOW if loader.is_heavy else _LIGHT


def _folders_of(packages: Sequence[str]) -> list[str]:
    """Return the folders in which this process finds packages, or modules of one file."""
    folders = []
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        if found.submodule_search_locations:
            folders.append(str(Path(found.submodule_search_locations[0]).parent))
        elif found.has_location and found.origin:
            folders.append(str(Path(found.origin).parent))
    return list(dict.fromkeys(folders))


def _without_objects(array: np.ndarray) -> np.ndarray:
    """Return an array that an .npz file holds without pickle: objects become strings."""
    return array.astype(str) if array.dtype.kind == "O" else array
