"""Load exported files as their users do: by the format's own runtime, without stackfuse.

As a script, ``python -I runtimes.py SETTINGS``, this file reads requests from its standard input
and answers each. Settings, requests and answers are JSON. The settings name what is ``refused``, so
that nothing can import it, the ``folders`` in which packages are found, and the ``modules`` to
import before the first request. A request holds

- ``code``: the function that loads a file of its format (see ``loading.py`` of the formats),
- ``path``: the file,
- ``rows``: an .npz file of rows, and ``names``: the names of the inputs in its order,
- ``outputs``: where to write the outputs,
- ``folders``: as above,
- ``memory``: the bytes that it may take, or null.

Nothing here imports stackfuse.
"""

import base64
import builtins
import importlib
import json
import marshal
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType

import numpy as np

#: Rows that are computed at a time.
BATCH = 4096

Rows = dict[str, np.ndarray]


def outputs_of(load: Callable, path: str, rows: Rows) -> Rows:
    """Load a file and return its outputs for rows, by name.

    Parameters
    ----------
    load : callable
        Takes the path, and returns a function from rows to outputs, both dicts.
    path : str
    rows : dict of str to ndarray of shape (n_samples, ...)
        By the name of the input.
    """
    compute = load(path)
    n_rows = len(next(iter(rows.values())))
    parts = [
        compute({name: array[start : start + BATCH] for name, array in rows.items()})
        for start in range(0, n_rows, BATCH)
    ]
    outputs = {
        name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]
    }
    if n_rows > 1:
        _check_alone(outputs, compute({name: array[:1] for name, array in rows.items()}))
    return outputs


def _check_alone(outputs: Rows, alone: Rows) -> None:
    """Raise if a runtime has another answer for a row alone than among others.

    OpenVINO's convolutions within recurrent layers go wrong for one row and for two.
    """
    for name, y in outputs.items():
        if y.dtype.kind != "f":
            continue
        with np.errstate(invalid="ignore"):  # infinity less infinity
            finite = np.abs(y[np.isfinite(y)])
            allowed = 1e-3 * max(1.0, float(np.max(finite, initial=0.0)))
            same = np.isclose(np.asarray(alone[name])[0], y[0], 0.0, allowed, equal_nan=True)
        if not np.all(same):
            raise ArithmeticError(
                f"{name!r} of a row is {np.asarray(alone[name])[0].tolist()} for the row alone, "
                f"and {y[0].tolist()} among others"
            )


def _limit_memory(most: int | None) -> None:
    """Let this process take so many bytes more than it has now, where the system has such a limit.

    Counted is what can be written to: files that are mapped, and the room that threads reserve,
    are much larger and take no memory.
    """
    try:
        import resource

        with open("/proc/self/status") as file:
            taken = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
    except (ImportError, OSError, StopIteration):  # no Linux
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = hard if most is None else taken + most
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard) if soft != resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _function_from(code: str) -> Callable:
    """Return the function that was sent; it knows no names but Python's own."""
    found = marshal.loads(base64.b64decode(code))
    return FunctionType(found, {"__builtins__": builtins, "__name__": "load"})


def _answer(request: dict) -> dict:
    try:
        sys.path += [folder for folder in request["folders"] if folder not in sys.path]
        with np.load(request["rows"], allow_pickle=False) as arrays:
            rows = dict(zip(request["names"], map(_strings_as_objects, arrays.values())))
        _limit_memory(request["memory"])
        outputs = outputs_of(_function_from(request["code"]), request["path"], rows)
    except Exception as error:  # any error of the runtime is the answer
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        _limit_memory(None)
    try:
        np.savez(request["outputs"], *outputs.values())
    except OSError as error:  # the disk is full, which says nothing of the file
        return {"not_written": str(error)}
    return {"names": list(outputs)}


def _strings_as_objects(array: np.ndarray) -> np.ndarray:
    """Return strings as objects; an .npz file holds them in a fixed width."""
    return array.astype(object) if array.dtype.kind == "U" else array


def serve(refused: list[str], modules: list[str]) -> None:
    """Answer requests until there are no more."""
    for package in refused:
        sys.modules[package] = None  # type: ignore[assignment]  # importing it fails from here on
    # Runtimes print to the standard output too: it becomes the standard error.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for module in modules:
            with suppress(ImportError):  # loading the file will say it
                importlib.import_module(module)
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    sys.path += settings["folders"]
    serve(settings["refused"], settings["modules"])
