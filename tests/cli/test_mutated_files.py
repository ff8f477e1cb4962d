"""Exports that are changed at random: refused in a sentence, or their answers are the same."""

import contextlib
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._cli import main as cli
from stackfuse._export.formats.table import FORMATS

#: How many changes of each format are tried; ``make fuzz`` tries more, and others each time.
LONG = "FUZZ" in os.environ
N_CHANGES = 500 if LONG else 20

FIRST = random.SystemRandom().randrange(10**9) if LONG else 0

MANIFEST = "stackfuse.json"


def build(meta):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inputs))


@pytest.fixture(scope="module")
def made(iris, tmp_path_factory):
    """Return a folder with an export of a stack in each format, and what each answers."""
    X, y = iris
    network = sf.KerasClassifier(build, random_state=0)
    bases = [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=2))]
    stack = sf.StackingClassifier([*bases, ("network", network)], cv=2, random_state=0).fit(X, y)
    folder = tmp_path_factory.mktemp("made")
    sf.export(stack, [folder / f"model{form.suffix}" for form in FORMATS.values()], verify=X)
    return folder


def rows(form, path, X):
    """Return the rows of X as a file takes them."""
    [(name, entry)] = form.read_manifest(path)["inputs"].items()
    return {name: X.astype(entry["dtype"])}


def changed(data: bytes, draw: random.Random) -> bytes:
    """Return bytes of which a few are flipped, lost, added, or at other places."""
    size, at = len(data), draw.randrange(len(data))
    block = draw.randint(1, max(1, min(64, size // 4)))
    how = draw.choice(["flip", "truncate", "insert", "swap", "repeat"])
    if how == "flip":
        flipped = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            flipped[draw.randrange(size)] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    if how == "truncate":
        return data[:at]
    if how == "insert":
        return data[:at] + draw.randbytes(block) + data[at:]
    if how == "repeat":
        return data[: at + block] + data[at:]
    other = draw.randrange(size)
    first, last = sorted((at, other))
    one, two = data[first : first + block], data[last : last + block]
    if first + block > last:
        return data[:first] + one[::-1] + data[first + block :]
    return data[:first] + two + data[first + block : last] + one + data[last + block :]


def inspected(path, capsys) -> int:
    """Inspect a file; return the status, having checked that a refusal is one sentence."""
    status = cli.main(["inspect", str(path)])
    shown = capsys.readouterr()
    assert status in (0, 1, 2)
    assert "Traceback" not in shown.out + shown.err
    if status == 2:
        assert len(shown.err.splitlines()) == 1
    return status


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_file_is_refused_or_answers_the_same(name, made, iris, tmp_path, capsys):
    X, form = iris[0][:30], FORMATS[name]
    path = made / f"model{form.suffix}"
    given = rows(form, path, X)
    right = form.outputs_of(path, given)
    for number in range(FIRST, FIRST + N_CHANGES):
        draw = random.Random(number)
        place = tmp_path / f"{number}" / path.name
        place.parent.mkdir()
        for file in form.files(path):
            copy = place.parent / file.relative_to(made)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        victim = draw.choice([file for file in sorted(form.files(place)) if file.stat().st_size])
        victim.write_bytes(changed(victim.read_bytes(), draw))
        if inspected(place, capsys) == 0:
            answers = form.outputs_of(place, given)
            assert all(np.array_equal(answers[key], right[key]) for key in right), number
        shutil.rmtree(place.parent)


def resigned(path: Path, change) -> None:
    """Change what a file computes with, and write digests that agree into its manifest."""
    form = next(form for form in FORMATS.values() if form.suffix == path.suffix)
    manifest = form.read_manifest(path)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            parts = {n: archive.read(n) for n in archive.namelist() if n != MANIFEST}
        victim = change.choice(sorted(parts))
        parts[victim] = changed(parts[victim], change)
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in parts.items():
                archive.writestr(member, data)
    else:
        model = dict(form.contents(path)).get("model", path.read_bytes())
        path.write_bytes(changed(model, change))
    with contextlib.suppress(Exception):  # the file is so damaged that it takes no manifest
        manifest["sha256"] = form.digests(path)
        form.attach(path, json.dumps(manifest))


@pytest.mark.parametrize("name", ["keras", "onnx", "litert"])
def test_a_changed_file_whose_digests_agree_ends_in_a_sentence(name, made, tmp_path, capsys):
    form = FORMATS[name]
    path = tmp_path / f"model{form.suffix}"
    for number in range(FIRST, FIRST + N_CHANGES):
        shutil.copy(made / path.name, path)
        resigned(path, random.Random(number))
        assert inspected(path, capsys) in (0, 1, 2), number
