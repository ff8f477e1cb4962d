"""Exported trees against scikit-learn, skl2onnx and hummingbird; a stack against Keras' wrapper.

The milliseconds of one call, best of several, and for trees how many times as fast as scikit-learn
that is; a star marks what is slower. Trees are timed in every format, each in a process of its own
with one thread on one core: in one process the threads of several runtimes wait for each other, and
TensorFlow's two threads wake each other up more slowly on two cores. Each call gets other rows,
since a processor learns the branches that equal rows take. They are timed by the processor's clock,
which does not count what other programs take. skl2onnx and hummingbird-ml are no requirements of
this package; where one is not installed, or cannot convert a model, a line says so.
"""

import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import _cases as cases
import numpy as np
from prediction import interleaved, show
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

import stackfuse as sf

ROWS = (1, 100, 1_000, 10_000)

#: What the timed processes are started with.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

MODELS = {
    "forest of 100 trees, depth 8, two classes": RandomForestClassifier(
        100, max_depth=8, random_state=0
    ),
    "forest of 100 trees, depth 8, a number": RandomForestRegressor(
        100, max_depth=8, random_state=0
    ),
    "histogram boosting, 100 x 31 leaves": HistGradientBoostingClassifier(random_state=0),
    "gradient boosting, 100 trees, depth 3": GradientBoostingClassifier(random_state=0),
    "gradient boosting, 100 trees, depth 5": GradientBoostingClassifier(
        max_depth=5, random_state=0
    ),
}


def table() -> tuple[np.ndarray, np.ndarray]:
    """Return rows of 30 numbers as float64, and two classes."""
    X, y = cases.table(max(ROWS))()
    return X.astype("float64"), y


def timed(call: Callable, rows: tuple[int, ...]) -> dict[int, float]:
    """Return the best seconds of a call, by the number of rows."""
    X, _ = table()
    seconds = {}
    for n in rows:
        parts = itertools.cycle([X[k : k + n] for k in range(0, len(X), n)])
        calls = {"": lambda parts=parts: call(next(parts))}
        seconds[n] = interleaved(calls, clock=time.process_time)[""]
    return seconds


def of_estimator(model, rows: tuple[int, ...]) -> dict[int, float]:
    """Time scikit-learn's own prediction."""
    return timed(getattr(model, "predict_proba", model.predict), rows)


def of_file(name: str, path: str, rows: tuple[int, ...]) -> dict[int, float]:
    """Time a file in a format."""
    return timed(FORMATS[name][1](path), rows)


def of_peer(name: str, model, rows: tuple[int, ...]) -> tuple[dict[int, float], str]:
    """Time what a peer makes of a model; return a remark too."""
    X, _ = table()
    try:
        call, n_bytes = PEERS[name](model, X)
    except ModuleNotFoundError as error:
        return {}, f"{name} is left out: {error.name} is not installed"
    except Exception as error:  # of many kinds, and pages of text
        return {}, f"{name} is left out: {str(error)[:80]}".splitlines()[0]
    return timed(call, rows), f"{name}: {n_bytes / 1e6:.2f} MB" if n_bytes else name


def measured(model, rows: tuple[int, ...]) -> tuple[dict[str, dict[int, float]], list[str]]:
    """Return the seconds of every way to predict, by its name, and remarks."""
    seconds, remarks = {"scikit-learn": in_own_process(of_estimator, model, rows)}, []
    with tempfile.TemporaryDirectory() as folder:
        for name, (ending, _) in FORMATS.items():
            path = str(Path(folder, f"model{ending}"))
            report = sf.export(model, path, verify=False)
            seconds[name] = in_own_process(of_file, name, path, rows)
            remarks.append(f"{name}: {report.n_bytes / 1e6:.2f} MB")
    for name in PEERS:
        found, remark = in_own_process(of_peer, name, model, rows)
        remarks.append(remark)
        if found:
            seconds[name] = found
    return seconds, remarks


def onnx_session(model: str | bytes) -> Callable:
    """Return what runs an ONNX file, a path or its content, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()
    return lambda X: session.run(None, {x.name: X})


def saved_model(path: str) -> Callable:
    """Return what runs a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]
    return lambda X, keep=loaded: signature(x=tf.constant(X))


def litert(path: str) -> Callable:
    """Return what runs a LiteRT file, in float32."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(path, num_threads=1).get_signature_runner()
    return lambda X: run(x=X.astype("float32"))


def openvino(path: str) -> Callable:
    """Return what runs an OpenVINO file, in float32."""
    from openvino import Core

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = Core().compile_model(path, "CPU", settings)
    return lambda X: compiled({"x": X.astype("float32")})


def by_skl2onnx(model, X: np.ndarray) -> tuple[Callable, int]:
    """Convert a model by skl2onnx, which computes in float32."""
    from skl2onnx import to_onnx

    options = {"zipmap": False} if hasattr(model, "classes_") else None
    content = to_onnx(model, X[:1].astype("float32"), options=options).SerializeToString()
    run = onnx_session(content)
    return lambda X: run(X.astype("float32")), len(content)


def by_hummingbird(model, X: np.ndarray) -> tuple[Callable, int]:
    """Convert a model by hummingbird to PyTorch."""
    import torch
    from hummingbird.ml import convert

    torch.set_num_threads(1)
    converted = convert(model, "torch")
    return getattr(converted, "predict_proba", converted.predict), 0


FORMATS = {
    "ONNX": (".onnx", onnx_session),
    "SavedModel": ("", saved_model),
    "LiteRT": (".tflite", litert),
    "OpenVINO": (".xml", openvino),
}

PEERS = {"skl2onnx": by_skl2onnx, "hummingbird": by_hummingbird}


def on_one_core() -> None:
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def in_own_process(function: Callable, *arguments):
    """Return what a function returns in a new process with one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    spawn = multiprocessing.get_context("spawn")
    os.environ.update(ONE_THREAD)
    try:
        with ProcessPoolExecutor(1, spawn, initializer=on_one_core) as other:
            return other.submit(function, *arguments).result()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def trees(quick: bool) -> None:
    """Print a table for each model."""
    X, y = table()
    rows = ROWS[::2] if quick else ROWS
    for title, model in list(MODELS.items())[: 1 if quick else None]:
        target = y + X[:, 0] if isinstance(model, RandomForestRegressor) else y
        model.fit(X, target)
        seconds, remarks = measured(model, rows)
        print(f"\n{title}\n    {'; '.join(remarks)}")
        peer = seconds.pop("scikit-learn")
        print(f"{'rows':>10}{'scikit-learn':>15}" + "".join(f"{name:>20}" for name in seconds))
        for n in rows:
            cells = [(t[n] * 1e3, peer[n] / t[n]) for t in seconds.values()]
            marked = [f"{ms:10.3f} ({x:5.1f} x){'*' if x < 1 else ' '}" for ms, x in cells]
            print(f"{n:>10,}{peer[n] * 1e3:15.3f}" + "".join(marked), flush=True)
    print("* slower than scikit-learn")


def stack(quick: bool) -> None:
    """Print a table of a stack."""
    X, y = cases.table(2_000)()
    ours, theirs = cases.stack(cases.SMALL), cases.keras_stack(cases.SMALL)
    cases.silently(ours.fit, X, y), cases.silently(theirs.fit, X, y)
    with tempfile.TemporaryDirectory() as folder:
        ways = {}
        for name in ("SavedModel", "ONNX"):
            ending, load = FORMATS[name]
            sf.export(ours, f"{folder}/stack{ending}", verify=X.astype("float64"))
            ways[name] = load(f"{folder}/stack{ending}")
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


def main(quick: bool = False) -> None:
    """Print the tables."""
    trees(quick)
    stack(quick)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
