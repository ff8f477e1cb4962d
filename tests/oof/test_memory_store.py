"""A store that is faulty stops no fit; other versions, engines and settings are not found."""

import errno
import hashlib
import io
import json
import pickle
import time
import warnings
from pathlib import Path

import cloudpickle
import filelock
import keras
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse import engines
from stackfuse._core import files
from stackfuse._oof.memory import locks
from stackfuse._oof.memory.arrays import packed, unpacked
from stackfuse._oof.memory.store import Entry
from tests.support.cases import build_classifier


class Counted(LogisticRegression):
    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        type(self).n_fits += 1
        return super().fit(X, y, sample_weight)


def fits_of(folder, X, y, **settings) -> int:
    """Return how many fits of the base a stack makes with a memory."""
    Counted.n_fits = 0
    settings = {"cv": 3, "random_state": 0, **settings}
    sf.StackingClassifier([("base", Counted())], memory=folder, **settings).fit(X, y)
    return Counted.n_fits


def test_arrays_are_read_as_numpy_reads_them():
    arrays = {
        "rows": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array("about"),
        "words": np.array(["x", "né"]),
        "empty": np.zeros((0, 3)),
        "swapped": np.arange(4, dtype=">i4"),
        "fields": np.zeros(3, [("x", "f4"), ("y", "i8")]),
    }
    data = packed(arrays)
    got, wanted = unpacked(data), np.load(io.BytesIO(data))
    assert list(got) == wanted.files
    for name, array in got.items():
        assert (array.dtype, array.strides) == (wanted[name].dtype, wanted[name].strides)
        assert_array_equal(array, wanted[name])
        assert array.flags.writeable
    with pytest.raises(ValueError, match="Object arrays"):
        unpacked(packed({"objects": np.array([{}])}))


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def forbidden(*args, **kwargs):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("where", "name", "fault", "words"),
    [
        (files, "write_whole", full, "could not be stored .*: OSError: .*No space"),
        (files, "read_own", forbidden, "cannot be read: PermissionError"),
        (Path, "mkdir", forbidden, "could not be stored .*: PermissionError"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_once(
    iris, tmp_path, monkeypatch, where, name, fault, words
):
    monkeypatch.setattr(where, name, fault)
    with pytest.warns(UserWarning, match=f"'base' is fitted without memory: .*{words}") as told:
        assert fits_of(tmp_path, *iris) == 4
    assert len(told) == 1
    monkeypatch.undo()
    assert fits_of(tmp_path, *iris) == (0 if name == "read_own" else 4)  # it could be written
    assert fits_of(tmp_path, *iris) == 0


class Elsewhere:
    """Runs pickled jobs, as other processes do; where a file says so, the third answer is lost."""

    def __init__(self, folder):
        self.folder = folder

    def run_jobs(self, jobs, data):
        for number, job in enumerate(jobs):
            there = pickle.loads(cloudpickle.dumps(job))
            fit = there.run(data)
            there.keep_here(fit)
            if number == 2 and Path(self.folder, "lost").exists():
                raise ConnectionError("the client is gone")
            yield number, fit


def test_the_fit_of_a_network_is_kept_where_it_was_made(iris, tmp_path, monkeypatch):
    net = sf.KerasClassifier(build_classifier)
    stack = sf.StackingClassifier([("net", net)], cv=3, random_state=0)
    plain = clone(stack).set_params(engine="sequential").fit(*iris)
    stack.set_params(engine=Elsewhere(str(tmp_path)), memory=tmp_path)
    (tmp_path / "lost").touch()
    with pytest.raises(ConnectionError):
        stack.fit(*iris)
    (tmp_path / "lost").unlink()
    assert len(list(tmp_path.rglob("done.json"))) == 3
    written, commit = [], Entry.commit
    monkeypatch.setattr(
        Entry,
        "commit",
        lambda self, fit, seconds=None, by="": (
            written.append(by),
            commit(self, fit, seconds, by),
        ),
    )
    stack.fit(*iris)
    assert stack.engine_ == {"net": "3 of 4 fits from memory; one by one"}
    assert len(written) == 1
    assert written[0]
    assert_array_equal(stack.oof_.predictions, plain.oof_.predictions)
    assert_array_equal(stack.predict_proba(iris[0]), plain.predict_proba(iris[0]))
    monkeypatch.setattr(Entry, "is_in_sight", lambda _: False)  # as on another file system
    written.clear()
    stack.set_params(memory=tmp_path / "other").fit(*iris)
    assert written == [""] * 4
    assert stack.fit(*iris).engine_ == {"net": "from memory"}


class Unpicklable(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        self.rows_ = (row for row in X)
        return super().fit(X, y, sample_weight)


def test_a_model_that_cannot_be_pickled_is_told_once(iris, tmp_path):
    stack = sf.StackingClassifier(
        [("base", Unpicklable())], cv=3, refit=False, memory=tmp_path, random_state=0
    )
    with pytest.warns(UserWarning, match="could not be stored and will be made again") as told:
        stack.fit(*iris)
    assert len(told) == 1
    assert len(str(told[0].message)) < 400


def test_a_lock_that_nobody_touches_is_not_waited_for(iris, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    assert fits_of(tmp_path, *iris) == 4
    held = []
    for done in tmp_path.rglob("done.json"):
        held.append(filelock.FileLock(tmp_path / "stackfuse-fits" / "locks" / done.parent.name))
        held[-1].acquire()
        done.unlink()
    with pytest.warns(UserWarning, match="has shown no life for 0.1 seconds") as told:
        assert fits_of(tmp_path, *iris) == 4
    assert len(told) == 4
    for lock in held:
        lock.release()


def test_a_lock_that_is_touched_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_BEAT", 0.05)
    monkeypatch.setattr(locks, "_LOOK", 0.05)
    monkeypatch.setattr(locks, "_PATIENCE", 0.4)
    unlock = locks.lock(tmp_path / "a", wait=False)
    assert unlock is not None
    assert locks.lock(tmp_path / "a", wait=False) is None
    path, before = tmp_path / "a", (tmp_path / "a").stat().st_mtime_ns
    time.sleep(0.3)
    assert path.stat().st_mtime_ns > before
    unlock()
    again = locks.lock(path, wait=True)
    assert again is not None
    again()


def old_entry(folder: Path, key: str) -> dict[Path, bytes]:
    """Write an entry as version 1 of the store did; its marker names no format."""
    place = folder / "stackfuse-fits" / "fits" / key[:2] / key
    place.mkdir(parents=True)
    about = {"several_predictions": False, "several_classes": False, "history": None}
    np.savez(
        place / "predictions.npz",
        predictions0=np.zeros((50, 3)),
        classes0=np.arange(3),
        about=np.array(json.dumps(about)),
    )
    data = (place / "predictions.npz").read_bytes()
    marker = {
        "title": "base estimator 'base' on fold 0",
        "files": {"predictions.npz": [len(data), hashlib.sha256(data).hexdigest()]},
        "seconds": 0.1,
    }
    (place / "done.json").write_text(json.dumps(marker, indent=1))
    return {path: path.read_bytes() for path in place.iterdir()}


def test_a_store_of_an_older_version_is_left_alone(iris, tmp_path):
    old = old_entry(tmp_path, "ab" + "0" * 38)
    plain = sf.StackingClassifier([("base", Counted())], cv=3, random_state=0).fit(*iris)
    assert fits_of(tmp_path, *iris) == 4
    for place in [done.parent for done in tmp_path.rglob("done.json")]:
        if "format" in json.loads((place / "done.json").read_text()):
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
            old |= old_entry(tmp_path, place.name)  # even one that has the name of ours
    stack = sf.StackingClassifier([("base", Counted())], cv=3, random_state=0, memory=tmp_path)
    assert_array_equal(stack.fit(*iris).oof_.predictions, plain.oof_.predictions)
    kept = [path for path in old if path.exists() and path.read_bytes() == old[path]]
    assert {path.parent.name for path in kept} == {"ab" + "0" * 38}


class Own:
    """An engine of one's own, with a setting."""

    def __init__(self, setting):
        self.setting = setting
        self.n_runs = 0

    def run_jobs(self, jobs, data):
        self.n_runs += 1
        yield from enumerate(job.run(data) for job in jobs)


class Hidden:
    """An engine that keeps its setting under another name."""

    def __init__(self, setting):
        self._setting = setting

    def run_jobs(self, jobs, data):
        yield from enumerate(job.run(data) for job in jobs)


def test_the_engine_is_part_of_what_a_fit_is_found_by(iris, tmp_path):
    own = Own(2)
    fits = [
        fits_of(tmp_path, *iris, engine=engine)
        for engine in ("auto", "sequential", Own(1), own, own, Own(1), Hidden(1), Hidden(2), "auto")
    ]
    assert fits == [4, 4, 4, 4, 0, 0, 4, 4, 0]
    assert fits_of(tmp_path, *iris, engine="auto", n_jobs=2) == 0
    assert fits_of(tmp_path, *iris, engine=engines.SequentialEngine()) == 0


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            lambda: keras.config.set_dtype_policy("mixed_bfloat16"),
            lambda: keras.config.set_dtype_policy("float32"),
        ),
        (lambda: keras.config.set_floatx("float64"), lambda: keras.config.set_floatx("float32")),
        (lambda: keras.config.set_epsilon(1e-3), lambda: keras.config.set_epsilon(1e-7)),
        (
            lambda: keras.config.set_image_data_format("channels_first"),
            lambda: keras.config.set_image_data_format("channels_last"),
        ),
        (
            lambda: sklearn.set_config(transform_output="pandas"),
            lambda: sklearn.set_config(transform_output="default"),
        ),
    ],
)
def test_global_settings_are_part_of_it(iris, tmp_path, change, undo):
    assert fits_of(tmp_path, *iris) == 4
    try:
        change()
        assert fits_of(tmp_path, *iris) == 4
        assert fits_of(tmp_path, *iris) == 0
    finally:
        undo()
    assert fits_of(tmp_path, *iris) == 0


@keras.saving.register_keras_serializable("tests_of_memory")
class Scaled(keras.layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Unregistered(Scaled):
    pass


@pytest.mark.parametrize("kind", [Scaled, Unregistered])
def test_networks_with_own_layers_are_kept_or_told_in_a_sentence(iris, tmp_path, kind):
    def build(meta):
        layers = [keras.Input((4,)), kind(), keras.layers.Dense(3, activation="softmax")]
        return keras.Sequential(layers)

    network = sf.KerasClassifier(build, random_state=0)
    stack = sf.StackingClassifier([("net", network)], cv=2, memory=tmp_path, random_state=0)
    answers, messages = [], []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            answers.append(stack.fit(*iris).predict_proba(iris[0]))
        messages.append([str(one.message) for one in told])
    assert_array_equal(answers[0], answers[1])
    assert messages[0] == messages[1]
    assert all(len(one) < 400 and "damaged" not in one for one in messages[0])
    assert len(messages[0]) <= 1
