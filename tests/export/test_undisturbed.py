"""While one thread exports, all others train, predict and draw numbers as if nothing happened."""

import logging
import random
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._export.checking import process
from stackfuse._export.formats import table
from tests.support.networks import build_classifier

NAMES = ["file.keras", "folder", "file.onnx", "file.tflite", "file.xml"]

#: Seconds after which something that waits is taken for blocked.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def stack(iris):
    X, y = iris
    bases = [
        ("net", sf.KerasClassifier(build_classifier, dropout=0.2, random_state=0)),
        ("tree", DecisionTreeClassifier(max_depth=3)),
    ]
    return sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0).fit(X, y)


def drawn() -> list[float]:
    """Return numbers from all global generators, and the number of the next name."""
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    return [
        random.random(),
        np.random.random(),
        float(np.asarray(keras.random.normal(()))),
        float(np.asarray(layer.kernel)[0, 0]),
        float(keras.layers.Dense(2).name.removeprefix("dense_")),
    ]


def drawn_around(action) -> list[list[float]]:
    """Return what is drawn from known seeds before and after an action."""
    keras.layers.Dense(2)  # the first name has no number
    keras.utils.set_random_seed(5)
    before = drawn()
    action()
    found = [before, drawn()]
    first = before[-1]
    return [[*numbers[:-1], numbers[-1] - first] for numbers in found]


@pytest.mark.parametrize(
    "action",
    [
        lambda stack, X, folder: sf.export(stack, [folder / name for name in NAMES]),
        lambda stack, X, folder: sf.to_keras(stack),
        lambda stack, X, folder: sf.compiled(stack).predict(X[:1]),
    ],
    ids=["export", "to_keras", "compiled"],
)
def test_the_next_numbers_and_names_are_those_of_before(iris, stack, tmp_path, action):
    expected = drawn_around(lambda: None)
    assert drawn_around(lambda: action(stack, iris[0], tmp_path)) == expected


def test_an_export_sets_up_no_logging(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    sf.export(stack, [tmp_path / name for name in NAMES])
    assert logging.root.handlers == []


def test_an_export_logs_nothing(stack, tmp_path, caplog):
    logging.getLogger("mine").warning("before")
    sf.export(stack, [tmp_path / name for name in NAMES])
    logging.getLogger("mine").warning("after")
    assert caplog.messages == ["before", "after"]


def test_another_thread_draws_the_same_numbers_during_an_export(iris, stack, tmp_path):
    done = threading.Event()
    exporting = threading.Thread(
        target=lambda: (sf.export(stack, [tmp_path / name for name in NAMES]), done.set())
    )
    random.seed(3)
    np.random.seed(3)
    exporting.start()
    shared, of_numpy = [], []
    while not done.wait(0.002) and exporting.is_alive():
        shared.append(random.random())
        of_numpy.append(np.random.random())
    exporting.join()
    assert done.is_set()
    assert len(shared) > 50
    alone = random.Random(3)
    assert shared == [alone.random() for _ in shared]
    assert_array_equal(of_numpy, np.random.RandomState(3).random_sample(len(of_numpy)))


def test_others_train_and_predict_while_an_export_waits(iris, stack, tmp_path, monkeypatch):
    X, y = iris
    waiting, go_on = threading.Event(), threading.Event()
    compute = process.Runtime.outputs_of

    def slowly(*args):
        waiting.set()
        assert go_on.wait(PATIENCE)
        return compute(*args)

    monkeypatch.setattr(process.Runtime, "outputs_of", slowly)
    reports = []
    exporting = threading.Thread(
        target=lambda: reports.append(sf.export(stack, tmp_path / "file.onnx", verify=X))
    )
    expected = stack.predict_proba(X)
    exporting.start()
    assert waiting.wait(PATIENCE)
    got = []

    def work():
        got.append(stack.predict_proba(X))
        sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
        sf.to_keras(stack)

    working = threading.Thread(target=work)
    working.start()
    working.join(PATIENCE)
    finished, is_waiting = not working.is_alive(), exporting.is_alive()
    go_on.set()
    exporting.join()
    working.join()
    assert finished
    assert is_waiting
    assert_array_equal(got[0], expected)
    assert reports[0].n_rows == 150


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_light_formats_are_checked_without_tensorflow(stack, tmp_path):
    runtime = table.FORMATS["onnx"].runtime
    runtime.stop()
    sf.export(stack, [tmp_path / name for name in NAMES[2:]])
    child = runtime._child
    assert child is not None
    assert child.n_loads == 3  # one process for all three
    loaded = Path(f"/proc/{child.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded
    assert "openvino" in loaded
    assert "site-packages/tensorflow/" not in loaded
