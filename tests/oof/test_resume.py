"""A process that is killed in the middle of fit: the next one finishes, bit for bit the same."""

import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from stackfuse import KerasClassifier, StackingClassifier  # both, for processes that are forked
from tests.support.networks import build_classifier


class Logged(ExtraTreesClassifier):
    """Notes every fit in a file that outlives the process."""

    def __init__(self, log="", n_estimators=100, random_state=None):
        super().__init__(n_estimators, random_state=random_state)
        self.log = log

    def fit(self, X, y, sample_weight=None):
        with open(self.log, "a") as file:
            file.write("fit\n")
        return super().fit(X, y, sample_weight)


def trees(folder: Path) -> list:
    boosting = HistGradientBoostingClassifier(max_iter=5)
    return [("trees", Logged(str(folder / "log"))), ("boosting", boosting)]


def networks(folder: Path) -> list:
    return [("net", KerasClassifier(build_classifier, epochs=15)), *trees(folder)[:1]]


def fit(bases: list, folder: Path) -> np.ndarray:
    """Fit a stack in a folder and return what it predicts."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = X[:400] / 16, y[:400]
    memory = folder / "memory"
    stack = StackingClassifier(
        bases, LogisticRegression(), cv=4, refit=True, random_state=0, memory=memory
    )
    return np.hstack([stack.fit(X, y).predict_proba(X), stack.oof_.predictions])


def run(make_bases, folder: Path) -> None:
    bases = make_bases(folder)
    (folder / "started").touch()
    np.save(folder / "draft.npy", fit(bases, folder))
    (folder / "draft.npy").rename(folder / "result.npy")


def start(make_bases, folder: Path):
    """Start a fit in a process of its own and wait until it is about to begin."""
    (folder / "started").unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run, args=(make_bases, folder))
    process.start()
    while not (folder / "started").exists():
        assert process.is_alive() or (folder / "started").exists()
        time.sleep(0.001)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_bases", "n_kills", "seconds"), [(trees, 20, 1.0), (networks, 3, 3.0)]
)
def test_a_killed_fit_resumes_bit_by_bit(tmp_path, make_bases, n_kills, seconds):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    process = start(make_bases, undisturbed)
    process.join()
    wanted = np.load(undisturbed / "result.npy")
    n_fits = len((undisturbed / "log").read_text().splitlines())
    assert n_fits == 5

    moments = random.Random(0)
    n_killed, attempt = 0, 0
    while n_killed < n_kills:
        folder = tmp_path / str(attempt)
        folder.mkdir()
        attempt, here = attempt + 1, 0
        while not (folder / "result.npy").exists():
            process = start(make_bases, folder)
            if n_killed < n_kills:
                process.join(moments.uniform(0, seconds))
                if process.is_alive():
                    process.kill()
                    n_killed, here = n_killed + 1, here + 1
            process.join()
        assert_array_equal(np.load(folder / "result.npy"), wanted)
        # A kill costs at most the fit that was under way.
        assert n_fits <= len((folder / "log").read_text().splitlines()) <= n_fits + here
    assert attempt >= 1
