"""The manifest in an exported file: names, classes, versions, and rows to check the file on."""

import importlib.metadata
import inspect
import json
import math
import os
import platform
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from stackfuse._core import targets
from stackfuse._export.checking.held_rows import holders_of_rows
from stackfuse._export.checking.parity import TOLERANCE
from stackfuse._export.graph.coverage import coverage_settings
from stackfuse._export.graph.graph import Graph
from stackfuse._export.trained_model import TrainedModel
from stackfuse._export.written_manifest import VERSION
from stackfuse._steps import dates

#: Characters of an estimator's parameters that are kept.
_MAX_CHARACTERS = 80


def manifest_of(
    stack, graph: Graph, precision: str, packages: tuple[str, ...], golden: Any = None
) -> dict[str, Any]:
    """Return the manifest of a file.

    Parameters
    ----------
    stack : fitted estimator or TrainedModel
    graph : Graph
    precision : {"float64", "float32"}
    packages : tuple of str
        Further packages whose versions matter.
    golden : pair of dict of str to ndarray of shape (n_samples, ...), default=None
        The inputs that the file carries, and the estimator's outputs for them.
    """
    manifest: dict[str, Any] = {
        "manifest_version": VERSION,
        "estimator": structure_of(stack),
        "inputs": {
            name: {"shape": [None, *entry.shape], "dtype": entry.dtype, "column": entry.column}
            for name, entry in graph.signature.inputs.items()
        },
        "outputs": {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype)}
            for name, tensor in graph.model.output.items()
        },
        "precision": precision,
        "classes": _classes(stack),
        "feature_names": _feature_names(stack),
        "dates": {str(name): dates.UNIT for name in graph.signature.dates},
        "holds_rows_of": holders_of_rows(stack),
        "versions": {"python": platform.python_version(), **_versions(packages)},
        "tolerance": TOLERANCE,
        "ties": None,
        "coverage": coverage_settings(stack),
        "golden": None,
        "sha256": {},
    }
    if golden is not None:
        inputs, expected = golden
        manifest["golden"] = {
            "inputs": {name: _as_json(array) for name, array in inputs.items()},
            "expected": {name: _as_json(y) for name, y in expected.items()},
        }
    return manifest


def text_of(manifest: dict[str, Any]) -> str:
    """Return a manifest as JSON."""
    return json.dumps(manifest, indent=1, allow_nan=False, default=str)


def _as_json(array: np.ndarray) -> Any:
    """Return an array as lists, with "NaN", "Infinity" and "-Infinity" as strings."""

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(entry) for entry in value]
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return value

    return number(array.tolist())


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    names = ("stackfuse", "keras", "tensorflow", "scikit-learn", "numpy")
    further = {name: _version_of(name) for name in packages}
    own = {name: importlib.metadata.version(name) for name in names}
    return own | {name.replace("_", "-"): text for name, text in further.items() if text}


def _version_of(module: str) -> str | None:
    """Return the version of the package that a module is from; None if that is not known."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        found = importlib.metadata.packages_distributions().get(module, [])
        return importlib.metadata.version(found[0]) if found else None


def _classes(stack) -> list | None:
    """Return the classes of a classifier; of several columns of classes a list of lists."""
    if isinstance(stack, TrainedModel) or not is_classifier(stack):
        return None
    if isinstance(stack.classes_, list):
        return [np.asarray(classes).tolist() for classes in stack.classes_]
    return np.asarray(stack.classes_).tolist()


def _feature_names(stack) -> list[str] | None:
    names = getattr(stack, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def structure_of(estimator) -> dict[str, Any]:
    """Return the class and the parts of an estimator, as text.

    Returns
    -------
    structure : dict
        ``"is"``, its class with the parameters that were changed, and ``"parts"``, the structures
        of the estimators in it by their names; the meta-learner's is ``"final_estimator"``.
    """
    if isinstance(estimator, TrainedModel):
        model = estimator.model
        return {"is": f"{type(model).__name__}(name={model.name!r})", "parts": {}}
    parts = {name: structure_of(part) for name, part in _parts(estimator)}
    return {"is": _describe(estimator), "parts": parts}


def _parts(estimator) -> Iterator[tuple[str, Any]]:
    """Yield the fitted estimators inside an estimator, with their names."""
    if hasattr(estimator, "best_estimator_"):
        yield "best_estimator", estimator.best_estimator_
        return
    for name, value in estimator.get_params(deep=False).items():
        if name == "final_estimator":
            value = getattr(estimator, "final_estimator_", value)
        if isinstance(value, BaseEstimator):
            yield name, value
        elif isinstance(value, list):
            for entry in value:
                if isinstance(entry, tuple) and len(entry) > 1 and isinstance(entry[0], str):
                    if isinstance(entry[1], BaseEstimator) and not targets.is_dropped(entry[1]):
                        yield entry[0], entry[1]


#: Parameters that say where and how a fit ran.
_OF_THE_FIT = ("memory", "n_jobs", "verbose")


def _describe(estimator) -> str:
    """Return the class of an estimator with the plain parameters that are not the default.

    Folders are left out of paths, and so are settings that say how it was fitted, and not what.
    """
    defaults = {p.name: p.default for p in inspect.signature(type(estimator)).parameters.values()}
    changed = []
    for name, value in estimator.get_params(deep=False).items():
        is_plain = isinstance(value, str | int | float | bool) and name not in _OF_THE_FIT
        value = PurePath(value).name if isinstance(value, str) and os.sep in value else value
        if is_plain and value != defaults.get(name) and value == value:  # NaN is a default too
            changed.append(f"{name}={value!r}")
    text = ", ".join(changed)
    text = text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"
    return f"{type(estimator).__name__}({text})"
