"""Check files in another process, which has their runtime and cannot import stackfuse.

TensorFlow takes seconds to start, so the process stays for the next file. It is a plain child that
runs ``runtimes.py``: a caller's script needs no ``if __name__ == "__main__"``. Formats whose own
runtime is light share a process that never imports TensorFlow.
"""

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from stackfuse._core import (
    NotConvertible,
    errors,
)
from stackfuse._export.checking import runtimes as _runtimes

#: Seconds after which loading and running a file is given up.
TIMEOUT = 600.0

#: Files after which a process is replaced, since each loaded file leaves memory behind.
LOADS = 100


class _Child:
    """A running ``runtimes.py``: requests in, answers out."""

    def __init__(self, format: str):
        self.owner = os.getpid()
        self.n_loads = 0
        self.log: IO[bytes] = tempfile.TemporaryFile()
        # Isolated from the user's settings, it finds packages where this process finds them.
        folders = dict.fromkeys(map(_folder_of, ("numpy", _runtimes.PACKAGES[format])))
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(_runtimes.__file__), format, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            # This process may hold all memory of the GPU.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and belongs to this process and not to one that this was forked from."""
        return self.owner == os.getpid() and self.process.poll() is None and self.n_loads < LOADS

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
        timer.start()
        try:
            answer = self._send(json.dumps(request).encode() + b"\n")
        finally:
            timer.cancel()
        self.n_loads += 1
        if answer:
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

    def start(self, format: str) -> None:
        """Start the process, which gets ready while the caller does other things."""
        with self._lock:
            self._running_child(format)

    def stop(self) -> None:
        """End the process, if one runs."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
            self._child = None

    def outputs_of(
        self, format: str, path: Path, rows: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a file for rows, computed in the process.

        Parameters
        ----------
        format : str
            A key of ``_runtimes.LOADERS``.
        path : Path
        rows : dict of str to ndarray of shape (n_samples, ...)
            By the name of the input.

        Raises
        ------
        NotConvertible
            If the runtime cannot load or compute the file.
        ParityError
            If the process died or took too long, so that nothing is known of the file.
        """
        with self._lock, tempfile.TemporaryDirectory() as folder:
            given, computed = os.path.join(folder, "rows.npz"), os.path.join(folder, "outputs.npz")
            np.savez(given, *map(_without_objects, rows.values()))
            package = _runtimes.PACKAGES[format]
            request = {"format": format, "path": str(path.absolute()), "names": list(rows)}
            request["folder"] = _folder_of(package)
            answer = self._running_child(format).ask(
                {**request, "rows": given, "outputs": computed}
            )
            if "error" in answer:
                error = " ".join(answer["error"].split())[:400]
                raise NotConvertible(
                    f"{package} does not run the file that was written as {format!r}: {error}"
                )
            with np.load(computed, allow_pickle=False) as outputs:
                return dict(zip(answer["names"], outputs.values()))

    def _running_child(self, format: str) -> _Child:
        if self._child is None or not self._child.is_usable:
            if self._child is not None:
                self._child.kill()
            self._child = _Child(format)
        return self._child


#: Runs files of the formats whose runtimes are small.
LIGHT = Runtime()


def _folder_of(package: str) -> str:
    """Return the folder in which this process finds a package."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return str(Path(found.submodule_search_locations[0]).parent)


def _without_objects(array: np.ndarray) -> np.ndarray:
    """Return an array that an .npz file holds without pickle: objects become strings."""
    return array.astype(str) if array.dtype.kind == "O" else array
