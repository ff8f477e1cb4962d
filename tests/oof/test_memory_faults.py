"""Accidents of kept fits: moved files, killed writers, other users, stopped holders."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._core import files
from stackfuse._oof.memory import locks
from stackfuse._oof.memory.remembering import RememberingEngine

LR = LogisticRegression(C=0.1)


def kept_as(folder: Path, title: str) -> Path:
    """Return the folder of the entry of that title."""
    [place] = [
        path.parent
        for path in folder.rglob("done.json")
        if title in json.loads(path.read_text())["title"]
    ]
    return place


def fitted(folder, iris, **bases):
    return sf.StackingClassifier(list(bases.items()), LR, cv=3, memory=folder).fit(*iris)


@pytest.mark.parametrize("place", ["on fold 0", "on all rows"])
@pytest.mark.parametrize("other", ["'b' {}", "'tree' {}", "'a' on fold 1"])
def test_an_entry_at_the_place_of_another_is_noticed(place, other, iris, tmp_path):
    bases = {"a": LR, "b": LogisticRegression(C=9), "tree": DecisionTreeClassifier(random_state=0)}
    expected = fitted(None, iris, **bases).predict_proba(iris[0])
    fitted(tmp_path, iris, **bases)
    mine, theirs = kept_as(tmp_path, f"'a' {place}"), kept_as(tmp_path, other.format(place))
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.warns(UserWarning, match=f"'a' {place} is damaged .* a copy of another entry"):
        got = fitted(tmp_path, iris, **bases)
    assert_array_equal(got.predict_proba(iris[0]), expected)
    assert set(fitted(tmp_path, iris, **bases).engine_.values()) == {"from memory"}


@pytest.mark.parametrize("what", ["rows", "class"])
def test_a_fit_of_other_rows_or_another_class_is_noticed(what, iris, tmp_path):
    bases = {"a": LR, "tree": DecisionTreeClassifier(random_state=0)}
    expected = fitted(tmp_path, iris, **bases).predict_proba(iris[0])
    title = "on fold 0" if what == "rows" else "on all rows"
    mine, theirs = (kept_as(tmp_path, f"{name!r} {title}") for name in ("a", "tree"))
    if what == "rows":
        theirs = kept_as(tmp_path, "'a' on all rows")
    marker = json.loads((theirs / "done.json").read_text()) | {"key": mine.name}
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    (mine / "done.json").write_text(json.dumps(marker))
    words = "predicts 0 rows, not 50" if what == "rows" else "Tree.*, not a .*Logistic"
    with pytest.warns(UserWarning, match=words):
        got = fitted(tmp_path, iris, **bases)
    assert_array_equal(got.predict_proba(iris[0]), expected)


@pytest.mark.parametrize("name", ["done.json", "predictions.npz", "estimator.pkl"])
@pytest.mark.parametrize("intruder", ["pipe", "folder", "device", "socket", "link to itself"])
def test_what_is_no_file_is_not_waited_for(name, intruder, iris, tmp_path, monkeypatch):
    expected = fitted(tmp_path, iris, a=LR).predict_proba(iris[0])
    [path] = kept_as(tmp_path, "on all rows").glob(f"*{name}")
    path.unlink()
    monkeypatch.chdir(path.parent)  # the path of a socket is short
    if intruder == "pipe":
        os.mkfifo(path)
    elif intruder == "folder":
        path.mkdir()
    elif intruder == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    else:
        path.symlink_to("/dev/zero" if intruder == "device" else path)
    start = time.monotonic()
    with pytest.warns(UserWarning, match="Base estimator 'a' is fitted without memory: .* read"):
        got = fitted(tmp_path, iris, a=LR)
    assert_array_equal(got.predict_proba(iris[0]), expected)
    assert time.monotonic() - start < 10


def test_a_store_hides_no_package(iris, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted(".", iris, a=LR)
    [folder] = tmp_path.iterdir()
    assert not folder.name.isidentifier()
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=f"memory must be a directory or None, got {empty!r}"):
            fitted(empty, iris, a=LR)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_store_is_for_its_owner_alone(umask, iris, tmp_path):
    before = os.umask(umask)
    try:
        fitted(tmp_path / "new" / "fits", iris, a=LR)
    finally:
        os.umask(before)
    root = tmp_path / "new" / "fits" / "stackfuse-fits"
    modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_nothing_is_written_to_the_store_of_another_user(iris, tmp_path, monkeypatch):
    expected = fitted(tmp_path, iris, a=LR).predict_proba(iris[0])
    root = tmp_path / "stackfuse-fits"

    def content():
        return {path: path.is_file() and path.read_bytes() for path in root.rglob("*")}

    before = content()
    if os.geteuid() == 0:
        for path in (root, *before):
            os.chown(path, 65534, 65534)
    else:
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    for base in (LR, LogisticRegression(C=0.5)):  # what is there, and what is not
        with pytest.warns(UserWarning, match="belongs to another user"):
            got = fitted(tmp_path, iris, a=base)
        if base is LR:
            assert_array_equal(got.predict_proba(iris[0]), expected)
    assert content() == before


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("whose", ["another user's", "everybody's"])
def test_a_pickle_of_somebody_is_not_loaded(whose, iris, tmp_path, monkeypatch):
    expected = fitted(tmp_path / "fits", iris, a=LR).predict_proba(iris[0])
    [path] = kept_as(tmp_path, "on all rows").glob("*estimator.pkl")
    data = pickle.dumps(Bomb(tmp_path / "harm"))
    marker = path.parent / "done.json"
    digest = hashlib.sha256(data).hexdigest()
    files.write_whole(path.with_name(f"{digest[:16]}-estimator.pkl"), data)
    told = json.loads(marker.read_text())
    told["files"]["estimator.pkl"] = [len(data), digest]
    marker.write_text(json.dumps(told))
    if whose == "everybody's":
        marker.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(marker, 65534, 65534)
    else:
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    words = "everybody may write to" if whose == "everybody's" else "belongs to another user"
    with pytest.warns(UserWarning, match=words):
        got = fitted(tmp_path / "fits", iris, a=LR)
    assert_array_equal(got.predict_proba(iris[0]), expected)
    assert not (tmp_path / "harm").exists()


def test_who_is_killed_on_an_entry_that_was_there_leaves_it_whole(iris, tmp_path, monkeypatch):
    forest = RandomForestClassifier(3)  # another at each fit
    first = fitted(tmp_path, iris, a=forest)
    write = files.write_whole

    def killed(path, data, **settings):
        if path.name == "done.json":
            raise KeyboardInterrupt
        write(path, data, **settings)

    monkeypatch.setattr(files, "write_whole", killed)
    monkeypatch.setattr(RememberingEngine, "recall", lambda *_: None)  # a race: nothing was there
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, iris, a=forest)
    monkeypatch.undo()
    again = fitted(tmp_path, iris, a=forest)  # warns of nothing
    assert_array_equal(again.oof_.predictions, first.oof_.predictions)
    assert again.engine_ == {"a": "from memory"}


SLOW = GradientBoostingClassifier(n_estimators=150, random_state=0)


def stop_when_it_holds_a_lock(folder: str) -> None:
    """Fit with a memory, and stop this process as soon as it holds a lock."""

    def stop() -> None:
        while not list(Path(folder).glob("stackfuse-fits/locks/*")):
            time.sleep(0.01)
        time.sleep(0.05)  # it is not only about to take it
        os.kill(os.getpid(), signal.SIGSTOP)

    threading.Thread(target=stop, daemon=True).start()
    sf.out_of_fold([("slow", SLOW)], *load_iris(return_X_y=True), cv=3, memory=folder)


def test_a_holder_of_a_lock_that_is_stopped_is_told_and_done_without(tmp_path, monkeypatch):
    expected = sf.out_of_fold([("slow", SLOW)], *load_iris(return_X_y=True), cv=3).predictions
    code = (
        f"from tests.oof.test_memory_faults import *; stop_when_it_holds_a_lock({str(tmp_path)!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        os.waitpid(child.pid, os.WUNTRACED)
        monkeypatch.setattr(locks, "_PATIENCE", 3.0)
        monkeypatch.setattr(locks, "_TELL", 1.0)
        words = r"'slow' on fold 0 is (being made by another|made here too)"
        with pytest.warns(UserWarning, match=words) as told:
            got = sf.out_of_fold(
                [("slow", SLOW)], *load_iris(return_X_y=True), cv=3, memory=tmp_path
            )
    finally:
        child.kill()
        child.wait()
    assert_array_equal(got.predictions, expected)
    last = str(told[-1].message)  # it may say first that it waits
    assert "is made here too. Another process makes it, but has shown no life for 3 seconds" in last


def test_who_waits_for_another_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_LOOK", 0.05)
    monkeypatch.setattr(locks, "_TELL", 0.2)
    unlock = locks.lock(tmp_path / "a", wait=False)
    assert unlock is not None
    threading.Timer(0.6, unlock).start()
    with pytest.warns(UserWarning, match="fit of b on fold 0 is being made by another") as told:
        again = locks.lock(tmp_path / "a", wait=True, title="b on fold 0")
    assert len(told) == 1
    assert again is not None
    again()


def test_a_store_that_is_deleted_while_in_use(iris, tmp_path):
    class Deleting(sf.engines.Engine):
        def run_jobs(self, jobs, data):
            for number, job in enumerate(jobs):
                shutil.rmtree(tmp_path / "fits", ignore_errors=True)
                yield number, job.run(data)

    got = sf.out_of_fold([("a", LR)], *iris, cv=3, memory=tmp_path / "fits", engine=Deleting())
    assert_array_equal(got.predictions, sf.out_of_fold([("a", LR)], *iris, cv=3).predictions)
    assert np.isfinite(got.predictions).all()
