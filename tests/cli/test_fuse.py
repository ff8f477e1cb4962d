"""``stackfuse fuse``: trained models in files become one file."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from stackfuse._cli import main as cli


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Write two classifiers of four numbers; return their folder."""
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, width) in enumerate([("a.keras", 4), ("b.h5", 4)]):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3, "softmax")]
        keras.Sequential([keras.Input((width,)), *layers]).save(folder / name)
    return folder


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("how", ["average", "multiply"])
def test_the_file_computes_what_the_models_do(models, how, tmp_path, capsys, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    one, other = (
        np.asarray(keras.models.load_model(models / name, compile=False)(rows))
        for name in ("a.keras", "b.h5")
    )
    wanted = (one + other) / 2 if how == "average" else one * other
    if how == "multiply":
        wanted = wanted / wanted.sum(axis=1, keepdims=True)
    out = tmp_path / "new" / "both.keras"
    given = [models / "a.keras", models / "b.h5", "--how", how, "-o", out]
    assert cli.main(["fuse", *map(str, given)]) == 0
    assert f"2 models joined by '{how}'" in capsys.readouterr().out
    found = keras.models.load_model(out)(rows)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    before = out.read_bytes()
    assert cli.main(["fuse", *map(str, given)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.parent.chmod(0o500)
    monkeypatch.setattr(os, "access", lambda path, mode: path != out.parent)  # root may always
    given[-1] = out.parent / "deeper" / "both.keras"
    assert cli.main(["fuse", *map(str, given)]) == 2
    error = capsys.readouterr().err
    out.parent.chmod(0o700)
    assert f"You may not write to the folder {out.parent}: change its mode, or" in error


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_json(models, tmp_path, capsys):
    out = tmp_path / "both.keras"
    given = [models / "a.keras", models / "b.h5", "--json", "-o", out]
    assert cli.main(["fuse", *map(str, given)]) == 0
    found = json.loads(capsys.readouterr().out)
    shapes = list(found.pop("inputs").values())
    assert shapes == [[4]]
    assert found == {"model": str(out), "models": 2, "how": "average"}


def test_models_that_do_not_tell_what_they_predict(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    models = []
    for name in ("a.keras", "b.keras"):
        x = keras.Input((4,))
        one, other = keras.layers.Dense(1, name="level"), keras.layers.Dense(2, name="more")
        models.append(keras.Model(x, [one(x), other(x)]))
        models[-1].save(tmp_path / name)
    given = ["fuse", *(str(tmp_path / name) for name in ("a.keras", "b.keras"))]
    given += ["-o", str(tmp_path / "out.keras")]
    assert cli.main(given) == 2
    assert "by the name of its layer: --layer ..." in capsys.readouterr().err
    assert cli.main([*given, "--layer", "level"]) == 2
    told = capsys.readouterr().err
    assert "for example --kinds regression,regression" in told
    assert "--how average needs to know" in told
    assert cli.main([*given, "--layer", "-2", "--kinds", "regression"]) == 0
    wanted = np.mean([np.asarray(model(rows)[0]) for model in models], axis=0)
    found = keras.models.load_model(tmp_path / "out.keras")(rows)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a.keras", "b.h5"], ["--how", "avrage"], "avrage"),
        (["a.keras", "none.keras"], [], "none.keras"),
        (["a.keras"], [], "two"),
    ],
)
def test_what_cannot_be_joined_is_told(models, names, options, message, tmp_path, capsys):
    given = [*(models / name for name in names), *options, "-o", tmp_path / "out.keras"]
    status = cli.main(["fuse", *map(str, given)])
    told = capsys.readouterr().err
    assert status == 2
    assert message in told
    assert not (tmp_path / "out.keras").exists()


def test_tensorflow_tells_nothing_of_its_start(models, tmp_path):
    code = "import sys; from stackfuse._cli.main import main; sys.exit(main(sys.argv[1:]))"
    given = ["fuse", "a.keras", "none.keras", "-o", "out.keras"]
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, cwd=models
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("stackfuse fuse: ")
    assert "none.keras" in done.stderr
