"""Bases that tell where they were fitted, take a while, or end the process that fits them."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Base(RegressorMixin, BaseEstimator):
    """Least squares.

    Parameters
    ----------
    log : path
        Gets a line for every fit: the number of rows, and the process.
    seconds : float
        That a fit takes.
    dies : {"once", "always"} or None
        Whether a fit on all rows kills its process.
    n_blocks : int
        Of 64 MiB each, that a fit takes.
    """

    def __init__(self, log, seconds=0.0, dies=None, n_blocks=0):
        self.log, self.seconds, self.dies, self.n_blocks = log, seconds, dies, n_blocks

    def fit(self, X, y):
        with open(self.log, "a") as file:
            file.write(f"{len(y)} {os.getpid()}\n")
        time.sleep(self.seconds)
        if self.dies == "always" or (self.dies == "once" and len(y) > 130):
            self._die()
        held = []
        for _ in range(self.n_blocks):
            held.append(np.ones(2**23))
            time.sleep(0.1)
        self.coef_ = np.linalg.lstsq(X, y, rcond=None)[0]
        return self

    def _die(self):
        if self.dies == "once":
            try:
                Path(f"{self.log}.died").mkdir()
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)

    def predict(self, X):
        return X @ self.coef_


def lines_of(log) -> list[str]:
    """Return the lines of a log, none if there is none yet."""
    path = Path(log)
    return path.read_text().splitlines() if path.exists() else []
