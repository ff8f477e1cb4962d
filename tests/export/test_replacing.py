"""An export replaces earlier exports, and nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._cli import (
    inspect as _inspect,
)
from stackfuse._cli import (
    main as cli,
)
from stackfuse._core import files as _files
from stackfuse._export.formats.table import (
    FORMATS,
    format_of,
)

MANIFEST = "assets.extra/stackfuse.json"


@pytest.fixture(scope="module")
def models(iris):
    X, y = iris
    return [LogisticRegression(C=strength).fit(X, y) for strength in (0.01, 1.0)]


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """Return a folder with an export in every format."""
    folder = tmp_path_factory.mktemp("made")
    for form in FORMATS.values():
        sf.export(models[0], folder / f"model{form.suffix}", verify=False)
    return folder


def content(folder):
    return {p: p.read_bytes() if p.is_file() else True for p in folder.rglob("*")}


def digests(path):
    """Return the digests of an export, which are those that it was written with."""
    form = format_of(path)
    manifest = form.read_manifest(path)
    assert form.digests(path) == manifest["sha256"]
    return manifest["sha256"]


def refused(model, path, message, error: type[OSError] = FileExistsError):
    """Export, and assert that it is refused in one sentence with nothing touched."""
    before = content(path.parent)
    with pytest.raises(error, match=message) as caught:
        sf.export(model, path, verify=False)
    assert "\n" not in str(caught.value)
    assert content(path.parent) == before


@pytest.mark.parametrize("format", FORMATS)
def test_links_stay_and_what_they_lead_to_is_replaced(format, models, made, tmp_path):
    form = FORMATS[format]
    place, link = tmp_path / f"v3{form.suffix}", tmp_path / f"latest{form.suffix}"
    for ending in (form.suffix, *form.companions):
        os.symlink(place.with_suffix(ending).name, link.with_suffix(ending))
    for model in models:  # the links lead nowhere at first
        sf.export(model, link, verify=False)
        assert link.is_symlink()
        assert link.resolve() == place
        assert digests(link) == digests(place)
    assert digests(place) != digests(made / f"model{form.suffix}")
    assert len(list(tmp_path.iterdir())) == 2 * (1 + len(form.companions))


def test_links_to_what_is_no_export(models, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "work.txt").write_text("years")
    (tmp_path / "latest").symlink_to("thesis")
    refused(models[0], tmp_path / "latest", r"thesis exists and .* holds work.txt; it holds no man")
    (tmp_path / "far").symlink_to("none/model")
    refused(models[0], tmp_path / "far", "whose folder does not exist", FileNotFoundError)
    (tmp_path / "circle").symlink_to("circle")
    refused(models[0], tmp_path / "circle", "leads back to itself", OSError)


def test_half_a_pair_of_links(models, made, tmp_path):
    for ending in (".xml", ".bin"):
        shutil.copy(made / f"model{ending}", tmp_path / f"v3{ending}")
    (tmp_path / "latest.xml").symlink_to("v3.xml")
    message = r"v3.xml, but .*latest.bin leads to .*latest.bin. Make both files of a pair links"
    refused(models[0], tmp_path / "latest.xml", message)
    (tmp_path / "v3.bin").rename(tmp_path / "far.bin")
    (tmp_path / "v3.bin").symlink_to("far.bin")
    message = (
        r"v3.bin leads to .*far.bin. Make both files of a pair links, or neither, or export to"
    )
    refused(models[0], tmp_path / "v3.xml", message)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{}", r"it holds saved_model.pb; its manifest was not written by sf.export"),
        ("[1]", r"it holds saved_model.pb; its manifest was not written by sf.export"),
        ("no JSON", r"it holds saved_model.pb; it is not a SavedModel file, or is damaged"),
        (None, r"it holds saved_model.pb; it holds no manifest"),
    ],
)
def test_folders_with_a_manifest_of_somebody(manifest, message, models, tmp_path):
    folder = tmp_path / "model"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("theirs")
    if manifest is not None:
        (folder / MANIFEST).write_text(manifest)
    refused(
        models[0], folder, rf"{message}.*, so it was not replaced. Choose another path, or move it"
    )


def test_a_manifest_that_was_copied(models, made, tmp_path):
    folder = tmp_path / "model"
    (folder / "assets.extra").mkdir(parents=True)
    shutil.copy(made / "model" / MANIFEST, folder / MANIFEST)
    (folder / "work.txt").write_text("years")
    refused(models[0], folder, "it holds work.txt, which was not exported")
    (folder / "work.txt").unlink()
    refused(models[0], folder, "saved_model.pb has changed since it was exported")
    told = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**told, "sha256": {}}))
    refused(models[0], folder, "its manifest holds no digests")


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "variables/notes.txt", "assets.extra/notes.txt", ".hidden", "empty/", "link"],
)
def test_what_lies_in_an_earlier_export_is_not_deleted(name, models, made, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(made / "model", folder)
    if name == "link":
        (folder / name).symlink_to(tmp_path)
    elif name == "empty/":
        (folder / name).mkdir()
    else:
        (folder / name).write_text("mine")
    refused(models[1], folder, f"it holds {name.rstrip('/')}, which was not exported")


def test_a_changed_export_is_not_deleted(models, made, tmp_path):
    shutil.copytree(made / "model", tmp_path / "model")
    with open(tmp_path / "model" / "saved_model.pb", "ab") as file:
        file.write(b"more")
    refused(models[1], tmp_path / "model", "saved_model.pb has changed since it was exported")
    shutil.copy(made / "model.keras", tmp_path)
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        archive.writestr("mine.txt", "mine")
    refused(models[1], tmp_path / "model.keras", "mine.txt has changed since it was exported")
    shutil.copy(made / "model.xml", tmp_path)
    refused(models[1], tmp_path / "model.xml", "model.bin has changed since it was exported")


@pytest.mark.parametrize("format", [name for name, form in FORMATS.items() if form.suffix])
def test_files_of_somebody(format, models, tmp_path):
    path = tmp_path / f"model{FORMATS[format].suffix}"
    path.write_text("1")
    refused(models[0], path, "exists and is not an earlier export .*no manifest|, or is damaged")
    path.unlink()
    path.mkdir()
    refused(models[0], path, "is a directory", IsADirectoryError)
    path.rmdir()
    os.mkfifo(path)  # reading it waits for ever
    refused(models[0], path, "is a pipe, a device or a socket, not a file: choose", OSError)


def test_a_file_where_a_folder_should_be(models, tmp_path):
    (tmp_path / "model").write_text("1")
    refused(models[0], tmp_path / "model", "is not an earlier export .it is not a directory")
    below = tmp_path / "model" / "below"
    with pytest.raises(NotADirectoryError, match="model is not a folder: choose another path"):
        sf.export(models[0], below, verify=False)


def test_empty_folders_and_files_may_be_used(models, tmp_path):
    (tmp_path / "model").mkdir(0o750)
    (tmp_path / "model").chmod(0o750)
    (tmp_path / "model.keras").touch()
    for name in ("model", "model.keras"):
        sf.export(models[0], tmp_path / name, verify=False)
        assert digests(tmp_path / name)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("format", FORMATS)
def test_modes_stay(format, models, made, tmp_path):
    form = FORMATS[format]
    path = tmp_path / f"model{form.suffix}"
    sf.export(models[0], path, verify=False)
    files = form.files(path)
    umask = os.umask(0)
    os.umask(umask)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~umask}
    for file in files:
        file.chmod(0o640)
    if path.is_dir():
        path.chmod(0o750)
    sf.export(models[1], path, verify=False)
    assert {file.stat().st_mode & 0o777 for file in form.files(path)} == {0o640}
    if path.is_dir():
        assert path.stat().st_mode & 0o777 == 0o750


def test_a_folder_that_cannot_be_written_to(models, tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir(0o555)
    if os.geteuid() == 0:  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(PermissionError, match=r"You may not write to the folder .*locked: "):
        sf.export(models[0], tmp_path / "locked" / "model.keras", verify=False)


def test_what_appears_while_a_model_is_exported_stays(models, made, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(made / "model", folder)
    sync = _files.sync

    def meanwhile(path):
        (folder / "notes.txt").write_text("mine")
        sync(path)

    monkeypatch.setattr(_files, "sync", meanwhile)
    with pytest.raises(FileExistsError, match=r"it holds notes.txt, which was not exported"):
        sf.export(models[1], folder, verify=False)
    assert (folder / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("moved", [1, 2])
def test_the_next_export_or_inspect_repairs_a_killed_swap(moved, models, made, tmp_path):
    """Without an exchange of folders, or of OpenVINO's two files, the path may hold nothing."""
    for repair in ("export", "inspect"):
        folder = tmp_path / repair
        folder.mkdir()
        path = folder / "model.xml"
        for ending in (".xml", ".bin"):
            shutil.copy(made / f"model{ending}", folder)
        before = digests(path)
        with _files.draft_of(path, (".xml", ".bin")) as draft:
            for ending in (".xml", ".bin"):
                draft.path.with_suffix(ending).write_text("new")
            (draft.folder / "ready").touch()
            for ending in (".xml", ".bin")[:moved]:
                os.rename(path.with_suffix(ending), draft.folder / f"old{ending}")
            shutil.copytree(draft.folder, folder / ".model.xml-0123abcd")
            for ending in (".xml", ".bin")[:moved]:
                (draft.folder / f"old{ending}").unlink()
        assert not path.exists()
        if repair == "export":
            sf.export(models[1], path, verify=False)
            assert digests(path) != before
        else:
            assert cli.main(["inspect", str(path)]) == 0
            assert digests(path) == before


SCRIPT = """
import os, signal, sys
import stackfuse as sf
from stackfuse._core import files as _files
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

X, y = load_iris(return_X_y=True)
exchange = _files._swap_in_one_step

def fatal(one, other):
    if sys.argv[2] == "after":
        exchange(one, other)
    os.kill(os.getpid(), signal.SIGKILL)

_files._swap_in_one_step = fatal
sf.export(LogisticRegression(C=1.0).fit(X, y), sys.argv[1], verify=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_export_that_is_killed(when, models, made, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(made / "model", path)
    old = digests(path)
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, when],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(sf.__file__))},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (digests(path) == old) == (when == "before")
    (draft,) = (p for p in tmp_path.iterdir() if p != path)
    assert draft.name.startswith(".model-")
    os.utime(draft, (0, 0))
    sf.export(models[0], path, verify=False)
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------- inspect


def writer(folder, target):
    """Write a SavedModel that writes a file when it is run, with digests that agree."""
    import tensorflow as tf

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float64, name="x")])
        def serve(self, x):
            tf.io.write_file(str(target), "owned")
            return {"prediction": x}

    writer = Writer()
    tf.saved_model.save(writer, str(folder), signatures={"serving_default": writer.serve})
    manifest = {
        "manifest_version": 3,
        "estimator": {"is": "Ridge()", "parts": {}},
        "inputs": {"x": {"shape": [None, 1], "dtype": "float64", "column": None}},
        "outputs": {"prediction": {"shape": [None, 1], "dtype": "float64"}},
        "precision": "float64",
        "classes": None,
        "feature_names": None,
        "versions": {},
        "golden": {"inputs": {"x": [[1.0]]}, "expected": {"prediction": [[1.0]]}},
        "sha256": FORMATS["saved_model"].digests(folder),
    }
    FORMATS["saved_model"].attach(folder, json.dumps(manifest))


def test_a_saved_model_is_run_only_if_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    folder, target = tmp_path / "model", tmp_path / "owned"
    writer(folder, target)
    assert cli.main(["inspect", str(folder)]) == 0
    assert "was not run on its golden rows" in capsys.readouterr().out
    assert not target.exists()
    with open(folder / "saved_model.pb", "ab") as file:
        file.write(b"\0\0")
    assert cli.main(["inspect", str(folder), "--run"]) == 1
    shown = capsys.readouterr().out
    assert "changed since it was written: saved_model.pb" in shown
    assert len(shown.splitlines()) == 1
    assert not target.exists()
    with pytest.raises(ValueError, match=r"changed since it was written: saved_model.pb"):
        _inspect.outputs_of(folder, {"x": np.ones((1, 1))})
    assert not target.exists()
    shutil.rmtree(folder)
    writer(folder, target)
    assert cli.main(["inspect", str(folder), "--run"]) == 0
    assert "1 golden rows agree" in capsys.readouterr().out
    assert target.exists()  # which is why it is asked for


@pytest.mark.parametrize("text", ["{}", "[]", "1", "no JSON"])
def test_inspect_of_a_forged_manifest_is_one_sentence(text, tmp_path, capsys):
    (tmp_path / "model" / "assets.extra").mkdir(parents=True)
    (tmp_path / "model" / MANIFEST).write_text(text)
    assert cli.main(["inspect", str(tmp_path / "model")]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert not shown.out


@pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))
def test_inspect_of_a_damaged_file_is_one_sentence(form, made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    path = tmp_path / f"model{form.suffix}"
    for file in form.files(made / path.name):
        copied = tmp_path / file.relative_to(made)
        copied.parent.mkdir(parents=True, exist_ok=True)
        data = file.read_bytes()
        copied.write_bytes(data if file.name == "stackfuse.json" else data[: len(data) // 2])
    assert cli.main(["inspect", str(path), "--run"]) in (1, 2)
    shown = capsys.readouterr()
    assert len((shown.out + shown.err).splitlines()) == 1
