"""Load exported files as their users do: by the format's own runtime, without stackfuse.

As a script, ``python -I runtimes.py format [folder ...]``, this file reads requests from its
standard input and answers each: requests and answers are one line of JSON. A request holds the
``format`` and the ``path`` of a file, the ``folder`` of the format's package, an .npz file of
``rows``, the ``names`` of the inputs in its order, and where to write the ``outputs``. Packages are
found in the folders. Nothing here imports stackfuse, and the script makes sure that nothing can.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import numpy as np

#: Rows that are computed at a time.
BATCH = 4096

Rows = dict[str, np.ndarray]


def _load_keras(path: str) -> Callable[[Rows], dict]:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    several = isinstance(model.input, dict)
    # Compiled, as it will be served: TensorFlow rewrites arithmetic when it compiles.
    return tf.function(
        lambda rows: model(rows if several else rows["x"]),
        reduce_retracing=True,
    )


def _load_saved_model(path: str) -> Callable[[Rows], dict]:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    serving = loaded.signatures["serving_default"]
    # The loaded object must outlive its functions.
    return lambda rows, keep=loaded: serving(**{name: tf.constant(a) for name, a in rows.items()})


def _load_onnx(path: str) -> Callable[[Rows], dict]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda rows: dict(zip(names, session.run(names, rows)))


def _load_litert(path: str) -> Callable[[Rows], dict]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner()
    return lambda rows: {name: y.copy() for name, y in runner(**rows).items()}


def _load_openvino(path: str) -> Callable[[Rows], dict]:
    import openvino

    # Left to itself, OpenVINO computes in bfloat16 on processors that can: two digits.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda rows: {
        name: y for output, y in compiled(rows).items() for name in output.get_names()
    }


#: How a file of each format is loaded: its path in, a function from rows to outputs out.
LOADERS: dict[str, Callable[[str], Callable[[Rows], dict]]] = {
    "keras": _load_keras,
    "saved_model": _load_saved_model,
    "onnx": _load_onnx,
    "litert": _load_litert,
    "openvino": _load_openvino,
}

#: The package that runs files of a format.
PACKAGES = {
    "keras": "tensorflow",
    "saved_model": "tensorflow",
    "onnx": "onnxruntime",
    "litert": "ai_edge_litert",
    "openvino": "openvino",
}

#: What no file may need. Keras imports the others where it finds them, for things that files do not
#: hold, which takes as long as half of TensorFlow.
_REFUSED = ("stackfuse", "sklearn", "pandas", "scipy")

#: What is imported before the first file is there: importing takes long.
_IMPORTS = PACKAGES | {"keras": "keras", "litert": "ai_edge_litert.interpreter"}


def outputs_of(format: str, path: str, rows: Rows) -> Rows:
    """Load a file and return its outputs for rows, by name.

    Parameters
    ----------
    format : str
        A key of ``LOADERS``.
    path : str
    rows : dict of str to ndarray of shape (n_samples, ...)
        By the name of the input.
    """
    compute = LOADERS[format](path)
    n_rows = len(next(iter(rows.values())))
    parts = [
        compute({name: array[start : start + BATCH] for name, array in rows.items()})
        for start in range(0, n_rows, BATCH)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def _answer(request: dict) -> dict:
    try:
        if request["folder"] not in sys.path:
            sys.path.append(request["folder"])
        with np.load(request["rows"], allow_pickle=False) as arrays:
            rows = dict(zip(request["names"], map(_strings_as_objects, arrays.values())))
        outputs = outputs_of(request["format"], request["path"], rows)
        np.savez(request["outputs"], *outputs.values())
    except Exception as error:  # any error of the runtime is the answer
        return {"error": f"{type(error).__name__}: {error}"}
    return {"names": list(outputs)}


def _strings_as_objects(array: np.ndarray) -> np.ndarray:
    """Return strings as objects; an .npz file holds them in a fixed width."""
    return array.astype(object) if array.dtype.kind == "U" else array


def serve(format: str) -> None:
    """Answer requests until there are no more."""
    for package in _REFUSED:
        sys.modules[package] = None  # type: ignore[assignment]  # importing it fails from here on
    # Runtimes print to the standard output too: it becomes the standard error.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        with suppress(ImportError):  # loading the file will say it
            importlib.import_module(_IMPORTS[format])
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    sys.path += sys.argv[2:]
    serve(sys.argv[1])
