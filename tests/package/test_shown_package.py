"""The converter and the format that pages show work as a package elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

ROOT = Path(__file__).parents[2]

#: The longest that an example may be.
LINES = 30

USE = """
import sys

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import stackfuse as sf
from toys import ort, winsorize

X, y = load_iris(return_X_y=True)
rows = winsorize.Winsorizer().fit(X)
print("probes", sf.testing.check_converter(rows, X))
sf.testing.check_format("ort")
base = make_pipeline(winsorize.Winsorizer(), LogisticRegression(max_iter=500))
stack = sf.StackingClassifier([("base", base)], LogisticRegression(), cv=2, random_state=0)
report = sf.export(stack.fit(X, y), sys.argv[1], verify=X)
print("exported", report.format, report.n_rows)
np.save(sys.argv[2], stack.predict_proba(X))
"""


def examples() -> dict[str, str]:
    """Return the files that docs/extend/converter.md and docs/extend/format.md show, by name."""
    text = "".join(
        (ROOT / "docs" / "extend" / page).read_text() for page in ["converter.md", "format.md"]
    )
    return dict(re.findall(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Return a folder with an installed package of both examples."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "toys").mkdir()
    (folder / "toys" / "__init__.py").touch()
    for name, text in examples().items():
        (folder / "toys" / name).write_text(text)
    (folder / "use.py").write_text(USE)
    installed = folder / "toys-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[stackfuse.formats]\nort = toys.ort\n")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "200",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )


def test_the_examples_are_short():
    lengths = {name: len(text.strip().splitlines()) for name, text in examples().items()}
    assert set(lengths) == {"winsorize.py", "ort.py"}
    assert max(lengths.values()) <= LINES, lengths


def test_the_examples_are_exported_verified_and_inspected(elsewhere):
    done = run(elsewhere, "use.py", "stack.ort", "expected.npy")
    assert done.returncode == 0, done.stderr
    assert "exported ort 150" in done.stdout
    assert int(re.findall(r"probes (\d+)", done.stdout)[0]) > 200

    # Somebody else runs the file, with nothing of ours.
    import onnxruntime

    X = load_iris().data
    session = onnxruntime.InferenceSession(elsewhere / "stack.ort")
    probabilities = session.run(["probabilities"], {"x": X})[0]
    np.testing.assert_allclose(probabilities, np.load(elsewhere / "expected.npy"), atol=1e-12)

    # Another process knows the format by its entry point alone.
    inspected = run(elsewhere, "-m", "stackfuse._cli.main", "inspect", "stack.ort")
    assert inspected.returncode == 0, inspected.stderr
    assert "ORT, float64" in inspected.stdout
    assert "8 golden rows agree" in inspected.stdout
    damaged = elsewhere / "damaged.ort"
    data = bytearray((elsewhere / "stack.ort").read_bytes())
    data[1000] ^= 1
    damaged.write_bytes(data)
    told = run(elsewhere, "-m", "stackfuse._cli.main", "inspect", "damaged.ort")
    assert told.returncode == 1
    assert (
        "is not loaded, because parts of it have changed since it was written: model" in told.stdout
    )


def test_a_broken_package_is_named_where_its_format_is_asked_for(elsewhere, tmp_path):
    installed = tmp_path / "broken-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[stackfuse.formats]\nfoo = no_such_module\n")
    done = run(tmp_path, "-m", "stackfuse._cli.main", "inspect", "stack.foo")
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]  # TensorFlow may write before
    assert said.startswith("stackfuse inspect: The ending of 'stack.foo' names no format. Use .ker")
    assert "(no_such_module of the format 'foo' fails: ModuleNotFoundError" in said
