"""Full disks, limits on files and lost temporary folders: one sentence with the path.

Root mounts a file system of a few kilobytes. Others cannot, and limit the size of files instead, in
another process, for a test that has other files to write.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._cli import main as cli
from stackfuse._core import files
from stackfuse._export.formats.table import FORMATS

NAMES = [f"model{form.suffix}" for form in FORMATS.values()]

FULL = r"There is no space left to write {}: free some, or choose another path\.$"


@pytest.fixture(scope="module")
def forest():
    return RandomForestClassifier(30, random_state=0).fit(*load_iris(return_X_y=True))


@pytest.fixture
def tiny(tmp_path):
    """Yield the function that mounts a file system of some bytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()

    def mount(size: int) -> Path:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            check=True,
            capture_output=True,
        )
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


def can_mount() -> bool:
    """Whether this user, in this container, may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", folder]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", "-l", folder], check=True)
    return True


mounted = pytest.mark.skipif(not can_mount(), reason="only root mounts; below, a limit stands in")


@mounted
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_full(name, forest, tiny):
    folder = tiny(4096)
    with pytest.raises(OSError, match=FULL.format(folder / name)) as caught:
        sf.export(forest, folder / name, verify=False)
    assert caught.value.errno is not None
    assert not list(folder.iterdir())


@mounted
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_full_keeps_the_earlier_export(name, tiny, forest):
    X, y = load_iris(return_X_y=True)
    small = LogisticRegression(max_iter=1000).fit(X, y)
    folder = tiny(1 << 17)
    sf.export(small, folder / name, verify=False)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "ballast").write_bytes(bytes(files.shutil.disk_usage(folder).free - 8192))
    with pytest.raises(OSError, match=FULL.format(folder / name)):
        sf.export(forest, folder / name, verify=False)
    (folder / "ballast").unlink()
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@mounted
@pytest.mark.parametrize("name", NAMES)
def test_a_temporary_folder_that_is_full(name, forest, tiny, tmp_path, monkeypatch):
    folder = tiny(4096)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    words = f"There is no space left to write {folder}: free some, or set TMPDIR to another folder"
    with pytest.raises(OSError, match=words):
        sf.export(forest, tmp_path / name, verify=np.zeros((500, 4)))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_no_temporary_folder(forest, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "lost")])
    with pytest.raises(
        FileNotFoundError, match=r"There is no temporary folder .*lost.* set TMPDIR"
    ):
        sf.export(forest, tmp_path / "model.onnx", verify=np.zeros((5, 4)))
    assert not list(tmp_path.iterdir())


@mounted
def test_kept_fits_and_predictions_on_a_full_disk(iris, tiny):
    X, y = iris
    oof = sf.out_of_fold([("lr", LogisticRegression())], np.tile(X, (5, 1)), np.tile(y, 5))
    folder = tiny(16384)
    with pytest.raises(OSError, match=FULL.format(folder / "oof.npz")):
        oof.save(folder / "oof.npz")
    forest = [("forest", RandomForestClassifier(50, random_state=0))]
    stack = sf.StackingClassifier(forest, LogisticRegression(), memory=folder, random_state=0)
    words = (
        f"'forest' is fitted without memory: .* OSError: There is no space left to write {folder}"
    )
    with pytest.warns(UserWarning, match=words) as told:
        stack.fit(X, y)
    assert len(told) == 1
    without = sf.StackingClassifier(forest, LogisticRegression(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(stack.predict_proba(X), without.predict_proba(X))


LIMITED = """
import resource, sys, warnings
import numpy as np
import stackfuse as sf
from pathlib import Path
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

X, y = load_iris(return_X_y=True)
forest = RandomForestClassifier(30, random_state=0).fit(X, y)
many, labels = np.tile(X, (20, 1)), np.tile(y, 20)
oof = sf.out_of_fold([("forest", forest)], many, labels, cv=2)
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
writers = {name: lambda path: sf.export(forest, path, verify=False) for name in sys.argv[2:]}
writers["oof.npz"] = oof.save
for name, write in writers.items():
    try:
        write(folder / name)
    except OSError as error:
        print(error)
warnings.showwarning = lambda message, *_: print(message)
sf.out_of_fold([("forest", forest)], many, labels, cv=2, memory=folder / "fits")
"""


def test_a_limit_to_the_size_of_files(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, *NAMES],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(sf.__file__))},
    )
    assert not process.returncode, process.stderr
    *exports, fits = process.stdout.splitlines()
    for name, line in zip([*NAMES, "oof.npz"], exports, strict=True):
        assert line == (
            f"{tmp_path / name} is larger than the limit for files: raise the limit (ulimit -f), "
            "or choose another path."
        )
    assert "'forest' is fitted without memory: " in fits
    assert f"OSError: {tmp_path / 'fits'}" in fits
    assert [path.name for path in tmp_path.iterdir()] == ["fits"]


@mounted
def test_the_commands_predict_and_fuse_on_a_full_disk(forest, iris, tiny, tmp_path, capsys):
    folder = tiny(16384)
    model, table = tmp_path / "model.onnx", tmp_path / "table.csv"
    sf.export(forest, model, verify=iris[0])
    np.savetxt(table, iris[0].repeat(20, axis=0), delimiter=",", header="a,b,c,d", comments="")
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2000)])
    network.save(tmp_path / "network.keras")
    joined = [str(tmp_path / "network.keras")] * 2
    for arguments in (
        ["predict", str(model), str(table), "--out", str(folder / "predicted.csv")],
        ["fuse", *joined, "--how", "concat", "--out", str(folder / "joined.keras")],
    ):
        assert cli.main(arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert re.search(FULL.format(re.escape(arguments[-1])), line)
    assert not list(folder.iterdir())
