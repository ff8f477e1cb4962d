"""From a graph to a file: written whole or not at all, and never without having been checked."""

import importlib.metadata
import json
import os
import platform
import shutil
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import _num_samples

from stackfuse._checks import listed
from stackfuse._files import sync
from stackfuse._program import seeded
from stackfuse.export._convert import Build
from stackfuse.export._graph import (
    TOLERANCE,
    Graph,
    build_graph,
    check_parity,
    expected_outputs,
    run,
    sample_rows,
)
from stackfuse.export._signature import Signature

#: The file inside an export that says what it is.
MANIFEST = "stackfuse.json"

#: The directory that TensorFlow keeps for others' files in a SavedModel.
EXTRA = "assets.extra"

_FLOAT32 = (
    "X is float32, in which scikit-learn computes some estimators; the graph computes in float64. "
    "Fit and verify on float64."
)

#: Rows with their expected outputs that travel with the file.
GOLDEN_ROWS = 8


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes
    ----------
    path : Path
    format : str
    outputs : dict of str to tuple
        Name and shape of the graph's outputs; None stands for the number of rows.
    n_rows : int
        Rows on which the file was compared with the estimator; 0 with ``verify=False``.
    max_difference : float or None
        Largest absolute difference of probabilities, decisions or predictions. No label differs.
    n_bytes : int
        Size on disk.
    """

    path: Path
    format: str
    outputs: dict[str, tuple]
    n_rows: int
    max_difference: float | None
    n_bytes: int

    def __str__(self) -> str:
        checked = "not verified (verify=False)"
        if self.max_difference is not None:
            checked = f"largest difference {self.max_difference:.1e} over {self.n_rows} rows"
        return f"{self.path} ({self.format}, {self.n_bytes / 1e3:,.0f} kB): {checked}"


def export(
    stack,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    verify: Any = None,
    precision: str = "float64",
) -> ExportReport:
    """Write a fitted stack to one file that loads without stackfuse.

    The file is read back and compared with the stack before it is put in its place.

    Parameters
    ----------
    stack : fitted estimator
        A stack, or whatever :func:`to_keras` takes.
    path : path
        Where to write; an earlier export there is replaced.
    format : {"keras", "saved_model"}, default=None
        By default ``"keras"`` for a path that ends in ``.keras``, ``"saved_model"`` for one
        without an ending: a directory for TensorFlow Serving.
    verify : array-like of shape (n_samples, ...) or False, default=None
        The rows to compare on; by default training rows that the stack has kept. The first
        eight of them and their expected outputs travel with the file. False skips the check, and
        the report says so.
    precision : {"float64", "float32"}, default="float64"
        See :func:`to_keras`.

    Returns
    -------
    report : ExportReport

    Raises
    ------
    NotConvertible
        If some estimator has no exact counterpart in a Keras graph.
    ParityError
        If graph and stack disagree; nothing is written then.

    Examples
    --------
    >>> import tempfile, os
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = sf.export(model, os.path.join(folder, "iris.keras"), verify=X)
    >>> report.n_rows, report.max_difference < 1e-12
    (150, True)
    """
    target = Path(path)
    form = _FORMATS[_format_of(target, format)]
    _check_target(target, form)
    rows = _rows_to_verify(stack, verify)
    with seeded(0):  # layers draw initial weights that are never used
        graph, parity = _write(stack, rows, form, target, Build(precision))
    return ExportReport(
        path=target,
        format=form.name,
        outputs={name: tuple(tensor.shape) for name, tensor in graph.model.output.items()},
        n_rows=0 if parity is None else parity.n_rows,
        max_difference=None if parity is None else parity.max_difference,
        n_bytes=_size(target),
    )


def _write(stack, rows, form: "_Format", target: Path, build: Build):
    """Write a stack's graph and check it; return the graph and how well the file agrees."""
    graph = build_graph(stack, rows, build)
    expected: dict[str, np.ndarray] = {}
    fed: dict[str, np.ndarray] = {}
    if rows is not None:
        fed = graph.signature.feed(rows)
        if build.precision == "float32":
            rows = _rounded(rows)  # the rows that the graph will see
        expected = expected_outputs(stack, rows)
        hint = _FLOAT32 if getattr(rows, "dtype", None) == np.float32 else ""
        check_parity(expected, run(graph, fed), what="The graph", hint=hint)
    manifest = _manifest(stack, graph, fed, expected)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        form.write(graph.model, draft, json.dumps(manifest, indent=1, allow_nan=False))
        parity = None
        if rows is not None:
            parity = check_parity(
                expected, run(form.load(draft, graph.signature), fed), what="The file"
            )
        _put_in_place(draft, target)
    finally:
        _remove(draft)
    return graph, parity


@dataclass(frozen=True)
class _Format:
    """How a graph is written and read back."""

    name: str
    suffix: str
    write: Callable[[Any, Path, str], None]
    load: Callable[[Path, Signature], Callable]


def _write_keras(graph, path: Path, manifest: str) -> None:
    graph.save(path)
    # Keras ignores members that it does not know.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, (1980, 1, 1, 0, 0, 0)), manifest)


def _load_keras(path: Path, signature: Signature) -> Callable:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    # Compiled, as it will be served: the graph in memory was checked eagerly.
    graph = Graph(model, signature)
    return tf.function(lambda fed: graph(fed), reduce_retracing=True)


def _write_saved_model(graph, path: Path, manifest: str) -> None:
    graph.export(path, format="tf_saved_model", verbose=False)
    extra = path / EXTRA
    extra.mkdir()
    (extra / MANIFEST).write_text(manifest)


def _load_saved_model(path: Path, signature: Signature) -> Callable:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    serving = loaded.signatures["serving_default"]
    # The loaded object must outlive its functions.
    return lambda fed, keep=loaded: serving(**{name: tf.constant(a) for name, a in fed.items()})


_FORMATS = {
    form.name: form
    for form in (
        _Format("keras", ".keras", _write_keras, _load_keras),
        _Format("saved_model", "", _write_saved_model, _load_saved_model),
    )
}


def _format_of(path: Path, format: str | None) -> str:
    if not path.name or path.name == "..":
        raise ValueError(f"The path {str(path)!r} names no file.")
    if format is not None:
        if format not in _FORMATS:
            raise ValueError(f"format must be {listed(list(_FORMATS))}, got {format!r}.")
        wanted = _FORMATS[format].suffix
        if wanted and path.suffix != wanted:
            raise ValueError(f"A path for format={format!r} must end in {wanted!r}, got {path}.")
        return format
    for form in _FORMATS.values():
        if path.suffix == form.suffix:
            return form.name
    raise ValueError(
        f"The ending of {str(path)!r} names no format. Use .keras, or a path without an ending "
        "for a SavedModel directory."
    )


def _check_target(path: Path, form: _Format) -> None:
    """Raise if something stands at the path that is no earlier export of this format."""
    if form.suffix and path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; a {form.name} export is one file.")
    if not form.suffix and path.exists():
        if not path.is_dir() or (any(path.iterdir()) and not (path / EXTRA / MANIFEST).exists()):
            raise FileExistsError(
                f"{path} exists and is no earlier export: it is left alone. Choose another path."
            )


def _rows_to_verify(stack, verify):
    """Return the rows to compare on, or None if that was switched off."""
    if verify is False:
        return None
    if verify is None:
        verify = sample_rows(stack)
        if verify is None:
            raise ValueError(
                f"A {type(stack).__name__} keeps no rows to compare the file on: pass "
                "verify=X_sample, some rows of X (or verify=False to go without the check)."
            )
    if _num_samples(verify) == 0:
        raise ValueError("verify holds no rows.")
    return verify


def _manifest(stack, graph: Graph, fed, expected) -> dict[str, Any]:
    """Return what travels with the file: names, versions, and rows to check it on."""
    manifest: dict[str, Any] = {
        "manifest_version": 1,
        "estimator": type(stack).__name__,
        "inputs": {
            name: {"shape": [None, *shape], "dtype": dtype}
            for name, (shape, dtype) in graph.signature.inputs.items()
        },
        "outputs": {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype)}
            for name, tensor in graph.model.output.items()
        },
        "classes": _classes(stack) if is_classifier(stack) else None,
        "feature_names": _feature_names(stack),
        "versions": {
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("stackfuse", "keras", "tensorflow", "scikit-learn", "numpy")
            },
        },
        "tolerance": TOLERANCE,
        "golden": None,
    }
    if fed:
        golden = _golden_rows({**fed, **expected})
        manifest["golden"] = {
            "inputs": {name: array[golden].tolist() for name, array in fed.items()},
            "expected": {name: y[golden].tolist() for name, y in expected.items()},
        }
    return manifest


def _classes(stack) -> list:
    """Return the classes; of several columns of classes a list of lists."""
    if isinstance(stack.classes_, list):
        return [np.asarray(classes).tolist() for classes in stack.classes_]
    return np.asarray(stack.classes_).tolist()


def _golden_rows(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the numbers of the first rows that JSON, which has no NaN, can hold."""
    n_rows = len(next(iter(arrays.values())))
    finite = np.ones(n_rows, bool)
    for array in arrays.values():
        if array.dtype.kind == "f":
            finite &= np.isfinite(array.reshape(n_rows, -1)).all(axis=1)
    return np.flatnonzero(finite)[:GOLDEN_ROWS]


def _rounded(X):
    """Return rows as they are once they have been float32."""
    if hasattr(X, "astype") and getattr(X, "dtype", None) == np.float64:
        return X.astype(np.float32).astype(np.float64)
    return X


def _feature_names(stack) -> list[str] | None:
    names = getattr(stack, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _put_in_place(draft: Path, target: Path) -> None:
    """Move a finished file or directory to its place, on the disk for good."""
    for file in [draft] if draft.is_file() else [p for p in draft.rglob("*") if p.is_file()]:
        sync(file)
    if target.is_dir():
        # A directory cannot be replaced in one step: the old one steps aside first.
        aside = target.with_name(f"{draft.name}-old")
        target.rename(aside)
        draft.rename(target)
        shutil.rmtree(aside)
    else:
        os.replace(draft, target)
    sync(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)
