"""The wheel alone carries the package: two commands in a fresh environment."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Build the wheel, install it into a new environment, and return what runs things there.

    What the package needs is found where this process finds it: TensorFlow is a large download. A
    checkout that is installed there is not, for the wheel comes first and the finder of an editable
    install is dropped.
    """
    folder = tmp_path_factory.mktemp("wheel")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    tracked = subprocess.run(
        ["git", "ls-files", "stackfuse", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in tracked:
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())

    def run(*command):
        done = subprocess.run(
            [str(word) for word in command], cwd=folder, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", folder / "source")
    (wheel,) = (folder / "dist").iterdir()
    run(*pip, "install", "--quiet", "--no-deps", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # Behind a folder of the environment's own; only .pth files of that folder itself are obeyed.
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder, binaries, run


@pytest.mark.slow
def test_two_commands_lead_from_a_table_to_predictions(environment):
    folder, binaries, run = environment
    found = run(binaries / "python", "-c", "import stackfuse; print(stackfuse.__file__)").strip()
    assert Path(found).is_relative_to(folder / "env")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"size": rng.normal(70, 20, 200), "city": rng.choice(["Ulm", "Bonn"], 200)}
    )
    table["rent"] = 10 * table["size"] + 300 * (table["city"] == "Ulm")
    table.to_csv(folder / "flats.csv", index=False)
    command = binaries / "stackfuse"
    options = ["--target", "rent", "--bases", "linear,forest", "--folds", 2, "--format", "onnx"]
    shown = run(command, "fit", "flats.csv", *options, "--out", "flats")
    assert "Leaderboard" in shown
    predicted = run(command, "predict", "flats/stack.onnx", "flats.csv").split()[1:]
    np.testing.assert_allclose(np.array(predicted, float), table["rent"], atol=150)
