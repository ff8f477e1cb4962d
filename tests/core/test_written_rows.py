"""The out-of-fold matrix in a file: the same bits, little memory, and no file left behind."""

import copy
import gc
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    KFold,
    RepeatedStratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._core import fitting
from stackfuse._core.written_rows import WrittenRows
from stackfuse._oof.result import assembly, in_files
from tests.support.networks import build_classifier

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
UNSORTED = [(np.setdiff1d(ORDER, part), part) for part in np.array_split(ORDER, 3)]
LOGISTIC = ("logistic", LogisticRegression(max_iter=1000))
TREE = ("tree", DecisionTreeClassifier(random_state=0))
SVC = ("svc", LinearSVC(random_state=0))
NET = ("net", sf.KerasClassifier(build_classifier, epochs=1))


@pytest.fixture
def little_memory(monkeypatch, tmp_path):
    """Let a kilobyte of memory be free; return the folder that temporary files are in."""
    monkeypatch.setattr(in_files, "_LEAST", 0)
    monkeypatch.setattr(assembly, "_BLOCK_BYTES", 1000)  # several blocks
    monkeypatch.setattr(fitting.memory_use, "free", lambda: 1000)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files_in(folder: Path) -> list[Path]:
    gc.collect()
    return list(folder.rglob("stackfuse-rows-*"))


@pytest.mark.parametrize(
    ("bases", "cv", "stack_method"),
    [
        ([LOGISTIC, TREE], KFold(3, shuffle=True, random_state=0), "auto"),
        ([LOGISTIC, SVC], UNSORTED, "auto"),
        (
            [LOGISTIC, TREE],
            RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
            "auto",
        ),
        ([TREE, SVC], KFold(3, shuffle=True, random_state=0), "predict"),
        ([LOGISTIC, NET], UNSORTED, {"net": "features"}),
    ],
    ids=["shuffled", "unsorted", "repeated", "labels", "features"],
)
def test_the_matrix_is_that_in_memory_bit_by_bit(bases, cv, stack_method, request, monkeypatch):
    settings = {"cv": cv, "stack_method": stack_method, "random_state": 0}
    expected = sf.out_of_fold(bases, X, Y, **settings)
    folder = request.getfixturevalue("little_memory")
    oof = sf.out_of_fold(bases, X, Y, **settings)
    assert isinstance(oof.predictions, np.memmap)
    assert not oof.predictions.flags.writeable
    assert_array_equal(oof.predictions, expected.predictions)
    assert_array_equal(oof.mask, expected.mask)
    assert oof.columns == expected.columns
    assert str(oof.scores) == str(expected.scores)
    if stack_method == "auto" and hasattr(cv, "shuffle"):
        theirs = cross_val_predict(LOGISTIC[1], X, Y, cv=cv, method="predict_proba")
        assert_array_equal(oof.predictions[:, :3], theirs)
    assert len(files_in(folder)) == 1  # those of the folds are gone
    del oof
    assert files_in(folder) == []


def test_several_labels_and_rows_that_no_fold_predicts(request):
    X, Y = make_multilabel_classification(60, n_classes=3, random_state=0)
    bases, cv = [("neighbors", KNeighborsClassifier(3))], TimeSeriesSplit(3)
    expected = sf.out_of_fold(bases, X, Y, cv=cv)
    request.getfixturevalue("little_memory")
    oof = sf.out_of_fold(bases, X, Y, cv=cv)
    assert isinstance(oof.predictions, np.memmap)
    assert np.isnan(oof.predictions[~oof.mask]).all()
    assert_array_equal(oof.predictions, expected.predictions)


def test_a_stack_on_a_matrix_in_a_file_is_the_same_stack(request, tmp_path):
    def stack():
        return sf.StackingClassifier([LOGISTIC, TREE], cv=3, random_state=0)

    expected = stack().fit(X, Y)
    folder = request.getfixturevalue("little_memory")
    fitted = stack().fit(X, Y)
    assert isinstance(fitted.oof_.predictions, np.memmap)
    assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    scores, others = (s.report().to_frame().iloc[:, 0] for s in (fitted, expected))
    assert_array_equal(scores, others)
    assert not hasattr(clone(fitted), "oof_")
    copied, loaded = copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))
    fitted.oof_.save(tmp_path / "oof.npz")
    del fitted
    assert files_in(folder) == []
    for other in (copied.oof_, loaded.oof_):
        assert type(other.predictions) is np.ndarray
        assert_array_equal(other.predictions, expected.oof_.predictions)
    saved = sf.OutOfFold.load(tmp_path / "oof.npz")
    assert_array_equal(loaded.predict_proba(X), expected.predict_proba(X))
    again = sf.StackingClassifier([LOGISTIC, TREE], cv=saved, random_state=0).fit(X, Y)
    assert_array_equal(again.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize("names", [["logistic", "tree"], ["tree"]])  # one is laid out by columns
def test_saved_predictions_are_loaded_into_a_file(names, request, tmp_path, monkeypatch):
    expected = sf.out_of_fold([LOGISTIC, TREE], X, Y, cv=3).select(names)
    expected.save(tmp_path / "oof.npz")
    folder = request.getfixturevalue("little_memory")
    monkeypatch.setattr(in_files, "_PIECE", 1000)
    oof = sf.OutOfFold.load(tmp_path / "oof.npz")
    assert isinstance(oof.predictions, np.memmap)
    assert not oof.predictions.flags.writeable
    assert_array_equal(oof.predictions, expected.predictions)
    assert_array_equal(oof.mask, expected.mask)
    oof.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "oof.npz").read_bytes()
    assert len(files_in(folder)) == 1
    del oof
    assert files_in(folder) == []


def test_what_is_loaded_into_a_file_is_never_whole_in_memory(little_memory, tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(100_000, 30))
    with open(tmp_path / "rows.npz", "wb") as file:
        np.savez(file, predictions=rows)
    monkeypatch.setattr(in_files, "_PIECE", 2**18)
    tracemalloc.start()
    try:
        read = in_files.loaded(tmp_path / "rows.npz", "predictions")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_array_equal(read, rows)
    assert most < rows.nbytes / 10


def test_a_saved_file_that_cannot_be_loaded_says_why(little_memory, tmp_path, monkeypatch):
    path = tmp_path / "oof.npz"
    sf.out_of_fold([LOGISTIC, TREE], X, Y, cv=3).save(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        with pytest.raises(OSError, match="is larger than the limit for files") as raised:
            sf.OutOfFold.load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    del raised
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no out-of-fold predictions, or is damaged"):
        sf.OutOfFold.load(path)
    assert files_in(little_memory) == []
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(in_files.shutil, "disk_usage", lambda _: usage(4096))
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"150 rows by 6 columns in .*oof\.npz, take 7\.0 KiB"):
        assert type(sf.OutOfFold.load(path).predictions) is np.ndarray


def test_with_memory_the_file_is_in_its_folder(little_memory, tmp_path):
    settings = {"cv": 3, "random_state": 0, "memory": tmp_path / "kept"}
    first = sf.out_of_fold([LOGISTIC], X, Y, **settings)
    assert isinstance(first.predictions, np.memmap)
    assert files_in(tmp_path / "kept") == [Path(str(first.predictions.filename))]
    assert files_in(tmp_path / "kept")[0].stat().st_mode & 0o077 == 0
    assert_array_equal(sf.out_of_fold([LOGISTIC], X, Y, **settings).predictions, first.predictions)
    assert files_in(little_memory) == []
    del first
    assert files_in(tmp_path / "kept") == []


@pytest.mark.parametrize("on_error", ["raise", "drop"])
def test_a_file_that_cannot_grow_is_told_in_one_sentence(on_error, little_memory):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        with pytest.raises(OSError, match="is larger than the limit for files") as raised:
            sf.out_of_fold([LOGISTIC, TREE], X, Y, on_error=on_error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(raised.value).startswith(str(little_memory))
    assert str(raised.value).endswith("(ulimit -f), or set TMPDIR to another folder.")
    del raised
    assert files_in(little_memory) == []


def test_no_room_for_a_file_is_told_before_anything_is_fitted(little_memory, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(in_files.shutil, "disk_usage", lambda _: usage(4096))
    told = r"150 rows by 6 columns, will take 7\.0 KiB; 1000 bytes of memory are free, and a file"
    with pytest.warns(UserWarning, match=told):
        oof = sf.out_of_fold([LOGISTIC, TREE], X, Y)
    assert type(oof.predictions) is np.ndarray


def test_files_of_killed_processes_are_deleted_and_others_stay(tmp_path):
    left, alive = tmp_path / "stackfuse-rows-left", WrittenRows(tmp_path)
    left.write_bytes(b"")
    alive.append(np.arange(3.0))
    for path in (left, alive.path):
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    with WrittenRows(tmp_path) as another:
        assert sorted(files_in(tmp_path)) == sorted([alive.path, another.path])
    rows = alive.mapped(np.float64, (3,))
    part = rows[1:]
    del rows, alive
    assert len(files_in(tmp_path)) == 1
    assert part.tolist() == [1.0, 2.0]
    del part
    assert files_in(tmp_path) == []


SCRIPT = """
import sys
import numpy as np
import stackfuse as sf
from sklearn.base import BaseEstimator, RegressorMixin
from stackfuse._core import fitting

class Column(RegressorMixin, BaseEstimator):
    def __init__(self, k=0):
        self.k = k
    def fit(self, X, y):
        return self
    def predict(self, X):
        return X[:, 0] * self.k
    def __sklearn_is_fitted__(self):
        return True

def peak():  # ru_maxrss would count what the parent held when it forked
    return fitting.memory_use.used()[1] / 2**20

n_rows, free = 2**19, int(sys.argv[1])
bases = [(f"b{k}", Column(k)) for k in range(48)]
X = np.random.default_rng(0).normal(size=(n_rows, 1))
sf.out_of_fold(bases, X[:1000], X[:1000, 0], cv=2)
sf.out_of_fold(bases[:1], X, X[:, 0], cv=4)
if free:
    fitting.memory_use.free = lambda: free
before = peak()
oof = sf.out_of_fold(bases, X, X[:, 0], cv=4)
after = peak()
print(all((oof.predictions[:, k] == X[:, 0] * k).all() for k in (0, 17, 47)), after - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell a peak")
@pytest.mark.slow
def test_a_matrix_in_a_file_takes_little_memory():
    environment = {**os.environ, "PYTHONPATH": str(Path(sf.__file__).parents[1])}
    taken = {}
    for free in (0, 2**28):
        command = [sys.executable, "-c", SCRIPT, str(free)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        equal, megabytes = ran.stdout.split()
        assert equal == "True"
        taken[free] = float(megabytes)
    assert taken[0] > 192  # MiB: the matrix alone
    assert taken[2**28] < 80
