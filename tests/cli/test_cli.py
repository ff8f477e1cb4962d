import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import stackfuse as sf
from stackfuse._cli import main as cli
from tests.support.networks import build_classifier


@pytest.fixture(scope="module")
def exported(iris, tmp_path_factory):
    X, y = iris
    bases = [
        ("net", sf.KerasClassifier(build_classifier, units=4)),
        ("trees", ExtraTreesClassifier(3)),
    ]
    stack = sf.StackingClassifier(bases, LogisticRegression(C=0.5), cv=2, random_state=0)
    search = GridSearchCV(stack, {"trees__max_depth": [3]}, cv=2).fit(X, y)
    folder = tmp_path_factory.mktemp("exported")
    sf.export(
        search, [folder / f"stack{e}" for e in (".keras", ".onnx", ".tflite", ".xml")], verify=X
    )
    return folder


@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_inspect(exported, ending, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    picture = tmp_path / "stack.svg"
    assert cli.main(["inspect", str(exported / f"stack{ending}"), "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "x: float64 (n, 4)" in shown
    assert "probabilities: float64 (n, 3)" in shown
    assert "trees: ExtraTreesClassifier(max_depth=3, n_estimators=3" in shown
    assert "LogisticRegression(C=0.5, random_state=" in shown
    assert f"stackfuse {sf.__version__}" in shown
    assert "8 golden rows agree" in shown
    assert "KerasClassifier(units=4" in picture.read_text().replace("&#160;", " ")


@pytest.mark.parametrize("ending", [".onnx", ".tflite", ".xml"])
def test_light_files_are_read_and_run_without_tensorflow(exported, ending, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n")
    code = (
        "import sys; from stackfuse._cli.main import main; file, table = sys.argv[1:]\n"
        "status = main(['inspect', file]) + main(['predict', file, table])\n"
        "sys.exit(status or {'keras', 'tensorflow'}.intersection(sys.modules) or 0)"
    )
    command = [sys.executable, "-c", code, str(exported / f"stack{ending}"), str(table)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "golden rows agree" in done.stdout) == (0, True), done.stderr
    label, *probabilities = map(float, done.stdout.splitlines()[-1].split(","))
    assert np.argmax(probabilities) == label
    np.testing.assert_allclose(sum(probabilities), 1, atol=1e-6)


def test_mistakes_are_told_before_tensorflow_is_imported(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n")
    code = (
        "import sys; from stackfuse._cli.main import main\n"
        "status = main(['fit', sys.argv[1], '--target', 'e'])\n"
        "sys.exit(9 if {'keras', 'tensorflow'}.intersection(sys.modules) else status)"
    )
    command = [sys.executable, "-c", code, str(table)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    told = f"stackfuse fit: {table} has no column 'e'. Its columns: 'a', 'b', 'c', 'd'\n"
    assert done.stderr == told
    assert not list(tmp_path.glob("stackfuse-output"))


def test_inspect_tells_of_a_file_that_was_changed(exported, tmp_path, capsys, monkeypatch):
    import keras

    monkeypatch.setenv("COLUMNS", "300")
    path = tmp_path / "stack.keras"
    shutil.copy(exported / "stack.keras", path)
    manifest = zipfile.ZipFile(path).read("stackfuse.json")
    model = keras.models.load_model(path)
    *others, last = model.get_weights()
    model.set_weights([*others, last + np.arange(len(last))])
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("stackfuse.json", manifest)
    assert cli.main(["inspect", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "golden rows" not in shown  # nothing of it is loaded
    assert shown.count("\n") == 1
    assert "model.weights.h5" in shown.partition("changed since it was written: ")[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.keras", "There is no"),
        ("other.keras", "holds no manifest: it was not written by sf.export"),
        ("table.csv", "names no format"),
    ],
)
def test_inspect_refuses_what_is_no_export(tmp_path, name, message, capsys):
    if name != "none.keras":
        np.savetxt(tmp_path / name, np.zeros(3))
    assert cli.main(["inspect", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_lines_of_a_start_that_ends_the_process_are_seen():
    code = (
        "import os; from stackfuse._cli.main import _quiet_start\n"
        "with _quiet_start():\n"
        "    os.write(2, b'I0000 00:00:17.5 8 port.cc:153] oneDNN custom operations are on.\\n')\n"
        "    os.write(2, b'The library needs instructions that this processor lacks.\\n')\n"
        "    os.abort()\n"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode == -signal.SIGABRT
    assert ended.stderr == "The library needs instructions that this processor lacks.\n"
