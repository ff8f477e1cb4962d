"""Exported files: trees against scikit-learn alone, a stack of networks against Keras' wrapper.

The milliseconds of one call, best of several. scikit-learn's trees are timed in a process of their
own, with one thread and with two, and the better counts: in one process its threads and
TensorFlow's wait for each other.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import _cases as cases
import numpy as np
from prediction import interleaved, show
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

import stackfuse as sf

ROWS = (1, 100, 1_000, 10_000)

TREES = {
    "100 trees, depth 8": RandomForestClassifier(100, max_depth=8, random_state=0),
    "500 trees, depth 12": RandomForestClassifier(500, max_depth=12, random_state=0),
    "boosting, 100 x 31 leaves": HistGradientBoostingClassifier(random_state=0),
}


def table(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of 30 numbers as float64, and two classes."""
    X, y = cases.table(n_rows)()
    return X.astype("float64"), y


def alone(model) -> dict[int, float]:
    """Return the best seconds of scikit-learn's own prediction, by the number of rows."""
    X, _ = table(max(ROWS))
    threads = [{"n_jobs": 1}, {"n_jobs": 2}] if "n_jobs" in model.get_params() else [{}]
    best = dict.fromkeys(ROWS, np.inf)
    for setting in threads:
        predict = model.set_params(**setting).predict_proba
        for n in ROWS:
            times = interleaved({"": lambda n=n, predict=predict: predict(X[:n])})
            best[n] = min(best[n], times[""])
    return best


def compiled(model, X: np.ndarray, folder: str) -> dict[str, Callable]:
    """Export a model; return what computes its probabilities, by the way of compiling it."""
    import onnxruntime
    import tensorflow as tf

    graph = sf.to_keras(model)
    saved, onnx = f"{folder}/saved", f"{folder}/model.onnx"
    for path in (saved, onnx):
        start = time.perf_counter()
        sf.export(model, path, verify=X[:1_000])
        took = time.perf_counter() - start
        size = sum(file.stat().st_size for file in [Path(path), *Path(path).rglob("*")])
        print(f"    {Path(path).name}: {took:.1f} s, {size / 1e6:.1f} MB")
    served = tf.saved_model.load(saved)
    signature = served.signatures["serving_default"]
    session = onnxruntime.InferenceSession(onnx)
    (name,) = [node.name for node in session.get_inputs()]
    plain = tf.function(graph)
    fused = tf.function(graph, jit_compile=True)
    return {
        "SavedModel": lambda X: signature(**{name: tf.constant(X)}),
        "tf.function": lambda X: plain(tf.constant(X)),
        "the same, jit": lambda X: fused(tf.constant(X)),
        "ONNX": lambda X: session.run(None, {name: X}),
    }


def trees(quick: bool) -> None:
    """Print a table of each kind of trees."""
    X, y = table(20_000)
    spawned = multiprocessing.get_context("spawn")
    for title, model in list(TREES.items())[:: 2 if quick else 1]:
        model.fit(X, y)
        with ProcessPoolExecutor(1, spawned) as other:
            peer = other.submit(alone, model).result()
        print(f"\n{title}")
        with tempfile.TemporaryDirectory() as folder:
            ways = compiled(model, X, folder)
            print(f"{'rows':>10}{'scikit-learn':>15}" + "".join(f"{way:>22}" for way in ways))
            for n in ROWS:
                found = interleaved({way: lambda f=f, n=n: f(X[:n]) for way, f in ways.items()})
                cells = "".join(f"{t * 1e3:10.2f} ({peer[n] / t:5.1f} x)  " for t in found.values())
                print(f"{n:>10,}{peer[n] * 1e3:15.2f}{cells}", flush=True)


def main(quick: bool = False) -> None:
    """Print the tables."""
    trees(quick)
    X, y = cases.table(2_000)()
    ours, theirs = cases.stack(cases.SMALL), cases.keras_stack(cases.SMALL)
    cases.silently(ours.fit, X, y), cases.silently(theirs.fit, X, y)
    with tempfile.TemporaryDirectory() as folder:
        ways = compiled(ours, X, folder)
        show(
            "\nstack of three, rows",
            {
                "SavedModel": lambda X: ways["SavedModel"](X.astype("float64")),
                "ONNX": lambda X: ways["ONNX"](X.astype("float64")),
                "stack": ours.predict_proba,
                "keras.wrappers": theirs.predict_proba,
            },
            quick,
        )


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
