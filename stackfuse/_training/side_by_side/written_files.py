"""Files that the callbacks of several replicas write under one name."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from stackfuse._training.side_by_side.callbacks import written_to
from stackfuse._training.training import Training


class WrittenFiles:
    """Files that replicas write: kept apart, then left as a loop over the replicas leaves them.

    There, the last replica that writes a file wins, and logs that are appended to are in order.

    Parameters
    ----------
    trainings : sequence of Training
    """

    def __init__(self, trainings: Sequence[Training]):
        pairs = [(written_to(c), c) for training in trainings for c in training.callbacks]
        self._patterns = [(pattern, callback) for pattern, callback in pairs if pattern is not None]
        self._folder = ""

    def __enter__(self) -> "WrittenFiles":
        if self._patterns:
            self._folder = tempfile.mkdtemp()
        for number, (pattern, callback) in enumerate(self._patterns):
            own = Path(self._own(number), os.path.relpath(pattern, _folder_of(pattern)))
            own.parent.mkdir(parents=True, exist_ok=True)
            _set_path(callback, str(own))
        return self

    def __exit__(self, *_) -> None:
        if not self._folder:
            return
        try:
            for number, (pattern, callback) in enumerate(self._patterns):
                self._hand_over(number, pattern, callback)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _own(self, number: int) -> str:
        return os.path.join(self._folder, str(number))

    def _hand_over(self, number: int, pattern: str, callback) -> None:
        """Move what a callback wrote to where it was told to."""
        _set_path(callback, pattern)
        if isinstance(callback, keras.callbacks.CSVLogger) and callback.csv_file is not None:
            callback.csv_file.close()  # is open still if the training failed
        own = self._own(number)
        for path in sorted(Path(own).rglob("*")):
            if path.is_file():
                target = Path(_folder_of(pattern), path.relative_to(own))
                target.parent.mkdir(parents=True, exist_ok=True)
                if getattr(callback, "append", False) and target.exists():
                    _append(path, target)
                else:
                    shutil.move(path, target)


def _folder_of(pattern: str) -> str:
    """Return the folder of a pattern of paths, as far as it holds no ``{...}``."""
    return os.path.dirname(pattern.partition("{")[0])


def _set_path(callback, path: str) -> None:
    name = "filepath" if isinstance(callback, keras.callbacks.ModelCheckpoint) else "filename"
    setattr(callback, name, path)


def _append(log: Path, target: Path) -> None:
    """Append a log to another, whose header is enough for both."""
    lines = log.read_text().splitlines(keepends=True)
    n_known = 1 if target.stat().st_size else 0
    with target.open("a", newline="") as file:
        file.writelines(lines[n_known:])
