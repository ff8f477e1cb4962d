"""Files that an older stackfuse wrote can still be read, checked and run; newer ones are named."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from rich.console import Console
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._cli import main as cli
from stackfuse._export.formats.table import FORMATS, format_of
from stackfuse._export.written_manifest import MANIFEST, VERSION

#: LogisticRegression(max_iter=1000) fitted on iris, in a folder for each version of manifests.
OLD = Path(__file__).parent / "old_files"

NAMES = ["iris.keras", "iris_saved_model", "iris.onnx", "iris.tflite", "iris.xml"]


def test_files_of_every_version_are_kept_in_every_format():
    assert {format_of(Path(name)).name for name in NAMES} == {
        form.name for form in FORMATS.values() if type(form).__module__.startswith("stackfuse.")
    }
    kept = {path.relative_to(OLD).as_posix() for path in OLD.glob("*/iris*")}
    versions = range(3, VERSION + 1)
    assert kept >= {f"version_{version}/{name}" for version in versions for name in NAMES}


@pytest.mark.parametrize("version", range(3, VERSION + 1))
@pytest.mark.parametrize("name", NAMES)
def test_an_old_file_is_inspected_and_run(name, version):
    X, y = load_iris(return_X_y=True)
    path = OLD / f"version_{version}" / name
    assert _inspect.read_manifest(path)["manifest_version"] == version
    shown = io.StringIO()
    seen = _inspect.Inspected.of(path, run=True)
    seen.show(Console(file=shown, width=200))
    assert seen.is_right
    assert "8 golden rows agree" in shown.getvalue()
    got = _inspect.outputs_of(path, {"x": X})
    expected = LogisticRegression(max_iter=1000).fit(X, y).predict_proba(X)
    # Other versions of scikit-learn and SciPy stop elsewhere, within the tolerance of the solver.
    assert_allclose(got["probabilities"], expected, atol=5e-3)


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "iris.keras"
    shutil.copy(OLD / "version_3" / "iris.keras", path)
    X, y = load_iris(return_X_y=True)
    sf.export(LogisticRegression(max_iter=1000).fit(X, y), path, verify=X)
    assert _inspect.read_manifest(path)["manifest_version"] == VERSION


def with_manifest(path: Path, **changes) -> Path:
    """Copy an old Keras file, with another manifest."""
    with (
        zipfile.ZipFile(OLD / "version_4" / "iris.keras") as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == MANIFEST:
                data = json.dumps(json.loads(data) | changes)
            new.writestr(name, data)
    return path


def test_a_newer_file_is_refused_in_one_sentence(iris, tmp_path, capsys):
    newer = {"manifest_version": VERSION + 1, "versions": {"stackfuse": "9.1"}}
    path = with_manifest(tmp_path / "iris.keras", **newer)
    sentence = (
        f"its manifest has version {VERSION + 1}, written by stackfuse 9.1, but this release "
        f"reads versions up to {VERSION}: upgrade stackfuse"
    )
    assert cli.main(["inspect", str(path)]) == 2
    assert capsys.readouterr().err == f"stackfuse inspect: {path}: {sentence}.\n"
    with pytest.raises(ValueError, match=sentence):
        _inspect.outputs_of(path, {"x": iris[0]})
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=f"{sentence}.*, so it was not replaced"):
        sf.export(LogisticRegression(max_iter=1000).fit(*iris), path, verify=False)
    assert path.read_bytes() == before
    # Whatever else a newer manifest holds or lacks, its version is what is said.
    path = with_manifest(tmp_path / "other.keras", **(newer | {"sha256": None, "versions": None}))
    with pytest.raises(ValueError, match="written by a newer stackfuse, but this release"):
        _inspect.read_manifest(path)


@pytest.mark.parametrize("version", ["5", None, 4.5, [5]])
def test_a_version_that_is_no_number_is_no_manifest_of_ours(version, tmp_path):
    path = with_manifest(tmp_path / "iris.keras", manifest_version=version)
    with pytest.raises(ValueError, match=r"its manifest was not written by sf\.export"):
        _inspect.read_manifest(path)
