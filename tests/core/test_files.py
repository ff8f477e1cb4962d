"""Whoever is killed while a file or folder is replaced leaves the old or the new."""

import ctypes
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._core import files as _files
from stackfuse._export.formats.table import FORMATS

#: Runs in a process of its own, whose forks are killed before or after their n-th step.
KILLER = """
import importlib.util, json, os, shutil, signal, sys
from pathlib import Path

# Without its package, which takes seconds to import.
spec = importlib.util.spec_from_file_location("_files", sys.argv[1])
_files = sys.modules["_files"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(_files)

place, made, when = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
endings, exchanges = map(json.loads, sys.argv[5:])
step, die_at = 0, None

def counted(function, name):
    def call(*arguments, **keywords):
        global step
        step += 1
        mine = step
        if mine == die_at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **keywords)
        finally:
            if mine == die_at and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
    return call

os.fsync = lambda descriptor: None  # a step like others, but as slow as the disk
STEPS = ("chmod", "chown", "fsync", "mkdir", "open", "rename", "replace", "rmdir", "unlink")
for name in STEPS:
    setattr(os, name, counted(getattr(os, name), name))
swap = _files._swap_in_one_step if exchanges else lambda *_: False
_files._swap_in_one_step = counted(swap, "swap")

def replace():
    with _files.draft_of(place, tuple(endings)) as draft:
        if made.is_dir():
            shutil.copytree(made, draft.path)
        else:
            for ending in endings:
                source = made.with_suffix(ending) if ending else made
                shutil.copyfile(source, draft.path.with_suffix(ending))
        draft.swap(lambda: None)

for line in sys.stdin:
    die_at = int(line)
    child = os.fork()
    if not child:
        replace()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"{status}\\n")
    sys.stdout.flush()
"""


def whole(place, endings):
    """Return the bytes of an export's files by name, each None if it is not there."""
    if place.is_dir():
        return {p.relative_to(place).as_posix(): p.read_bytes() for p in _files_in(place)}
    paths = [place.with_suffix(ending) for ending in endings]
    return {path.suffix: path.read_bytes() if path.exists() else None for path in paths}


def _files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def copy(made, place, endings):
    if made.is_dir():
        shutil.copytree(made, place)
    else:
        for ending in endings:
            shutil.copyfile(made.with_suffix(ending), place.with_suffix(ending))


@pytest.fixture
def killer(tmp_path):
    """Return a function that replaces a place, killed at a step, and returns the exit status."""
    running = []

    def start(place, made, endings, exchanges, when):
        told = json.dumps(endings), json.dumps(exchanges)
        script = tmp_path / "killer.py"
        script.write_text(KILLER)
        process = subprocess.Popen(
            [sys.executable, script, _files.__file__, place, made, when, *told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)

        def kill_at(step):
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        return kill_at

    yield start
    for process in running:
        process.communicate()


@pytest.fixture(scope="module")
def exports(iris, tmp_path_factory):
    """Return a function that makes two exports in a format, both verified by its runtime."""
    X, y = iris
    folder, made = tmp_path_factory.mktemp("exports"), {}

    def make(form):
        if form.name not in made:
            made[form.name] = [folder / f"{name}{form.suffix}" for name in ("old", "new")]
            for path, strength in zip(made[form.name], (0.01, 1.0)):
                sf.export(LogisticRegression(C=strength).fit(X, y), path, verify=X[:9])
        return made[form.name]

    return make


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("earlier", [True, False], ids=["over an export", "over nothing"])
@pytest.mark.parametrize(
    ("format", "exchanges"), [*((name, True) for name in FORMATS), ("saved_model", False)]
)
def test_killed_at_every_step(format, exchanges, earlier, when, exports, killer, tmp_path):
    form = FORMATS[format]
    endings = [form.suffix, *form.companions]
    source, made = exports(form)
    new = whole(made, endings)
    folder = tmp_path / "folder"
    place = folder / f"model{form.suffix}"
    kill_at = killer(place, made, endings, exchanges, when)
    in_one_step = not form.companions and (exchanges or not earlier)
    seen, step, status = set(), 0, -9
    while status:
        step += 1
        folder.mkdir()
        if earlier:
            copy(source, place, endings)
        old = whole(place, endings)
        status = kill_at(step)
        assert status in (0, -9)
        if in_one_step or place.exists():
            assert whole(place, endings) in (old, new)
        else:  # a main file is never beside another's companion
            seen.add("none")
        _files.repair(place)
        assert whole(place, endings) in (old, new)
        seen.add("new" if whole(place, endings) == new else "old")
        for draft in folder.glob(".model*"):
            os.utime(draft, (0, 0))
        _files.sweep(folder)
        assert whole(place, endings) in (old, new)
        for draft in folder.glob(".model*"):  # nothing but an empty folder is ever left
            assert not any(draft.iterdir())
        shutil.rmtree(folder)
    assert step > 8
    assert seen - {"none"} == {"old", "new"}
    assert ("none" in seen) == (not in_one_step)


@pytest.mark.parametrize("code", ["ENOSYS", "EINVAL", "EPERM"])
def test_without_exchange_the_old_steps_aside(code, tmp_path, monkeypatch):
    def refused(*_):
        ctypes.set_errno(getattr(errno, code))
        return -1

    monkeypatch.setattr(_files, "_renameat2", lambda: refused)
    place = tmp_path / "model"
    place.mkdir()
    (place / "old").touch()
    with _files.draft_of(place, ("",)) as draft:
        draft.path.mkdir()
        (draft.path / "new").touch()
        draft.swap(lambda: None)
    assert [path.name for path in place.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [place]


def test_an_error_between_two_steps_is_undone(tmp_path, monkeypatch):
    place = tmp_path / "model.xml"
    for ending in (".xml", ".bin"):
        place.with_suffix(ending).write_text(f"old{ending}")
    rename = os.rename

    def failing(source, target):
        if Path(source).name == "new.xml":
            raise OSError(errno.ENOSPC, "full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with _files.draft_of(place, (".xml", ".bin")) as draft:
        for ending in (".xml", ".bin"):
            draft.path.with_suffix(ending).write_text("new")
        with pytest.raises(OSError, match="full"):
            draft.swap(lambda: None)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "model.xml": "old.xml",
        "model.bin": "old.bin",
    }


def test_only_drafts_of_ours_that_are_a_day_old_are_swept(tmp_path):
    day = (time.time() - 90_000, time.time() - 90_000)
    with _files.draft_of(tmp_path / "model", ("",)) as draft:  # it runs for long
        kept = draft.folder
        twins = [
            tmp_path / f".{name}" for name in ("model-0123abcd", "model-0123abc", "m-0123abcd")
        ]
        for twin in twins:
            shutil.copytree(kept, twin)
        foreign = tmp_path / ".model-aaaaaaaa"
        foreign.mkdir()
        (foreign / "new").touch()
        crowded = tmp_path / ".model-bbbbbbbb"
        shutil.copytree(kept, crowded)
        (crowded / "thesis.txt").touch()
        young = tmp_path / ".model-cccccccc"
        shutil.copytree(kept, young)
        (tmp_path / ".model-dddddddd").touch()
        for path in tmp_path.iterdir():
            os.utime(path, day)
        os.utime(young)
        before = set(tmp_path.iterdir())
        _files.sweep(tmp_path)
        assert before - set(tmp_path.iterdir()) == {twins[0]}
        assert kept.exists()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_new_files_have_the_usual_modes(umask, tmp_path):
    before = os.umask(umask)
    try:
        with _files.draft_of(tmp_path / "model", ("",)) as draft:
            draft.path.mkdir(0o700)
            (draft.path / "part").touch(0o600)
            draft.swap(lambda: None)
    finally:
        os.umask(before)
    assert _mode(tmp_path / "model") == 0o777 & ~umask
    assert _mode(tmp_path / "model" / "part") == 0o666 & ~umask


def test_what_is_replaced_leaves_its_modes_and_owners(tmp_path):
    place = tmp_path / "model"
    for name, mode in (("part", 0o640), ("private", 0o600)):
        place.mkdir(exist_ok=True)
        (place / name).touch()
        (place / name).chmod(mode)
    place.chmod(0o750)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(place / "part", 1234, 1235)
    with _files.draft_of(place, ("",)) as draft:
        draft.path.mkdir()
        for name in ("part", "private", "more"):
            (draft.path / name).touch()
        draft.swap(lambda: None)
    assert [_mode(place / name) for name in (".", "part", "private")] == [0o750, 0o640, 0o600]
    assert (place / "more").exists()
    if is_root:
        assert (place / "part").stat().st_uid == 1234
        assert (place / "part").stat().st_gid == 1235


def test_a_file_that_is_written_whole_keeps_its_mode_and_the_link_to_it(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    _files.write_whole(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"1"
    assert _mode(tmp_path / "file") == 0o640


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="is a link that leads back to itself: choose another path"):
        _files.real_place(tmp_path / "circle")
    (tmp_path / "far").symlink_to("missing/file")
    with pytest.raises(FileNotFoundError, match="whose folder does not exist: make the folder, or"):
        _files.real_place(tmp_path / "far")
    (tmp_path / "near").symlink_to("file")
    assert _files.real_place(tmp_path / "near") == tmp_path / "file"


def test_a_pipe_is_not_replaced_by_a_file(iris, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    linked = tmp_path / "linked"
    linked.symlink_to(pipe)
    for path in (pipe, linked):
        with pytest.raises(OSError, match="is a pipe, a device or a socket, not a file"):
            _files.write_whole(path, b"data")
    model = LogisticRegression(max_iter=1000).fit(*iris)
    with pytest.raises(OSError, match="is a pipe, a device"):
        sf.export(model, pipe, format="saved_model", verify=iris[0])
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    _files.check_writable(tmp_path / "not" / "yet")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is not a folder: choose another path"):
        _files.check_writable(tmp_path / "file" / "below")
    tmp_path.chmod(0o555)
    if os.geteuid() == 0:  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(PermissionError, match=f"You may not write to the folder {tmp_path}: "):
        _files.check_writable(tmp_path / "not" / "yet")
    tmp_path.chmod(0o755)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)
