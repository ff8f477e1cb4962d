"""The outputs of an estimator and of its graph for some rows."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import issparse

from stackfuse._export.graph.coverage import answers_of, maker_of
from stackfuse._export.graph.graph import BATCH, named_outputs, output_methods
from stackfuse._export.trained_model import TrainedModel


def expected_outputs(estimator, X) -> dict[str, np.ndarray]:
    """Return the right outputs of the graph for X, computed by the estimator's own methods."""
    if isinstance(estimator, TrainedModel):
        return {"prediction": estimator.predict(X)}
    expected: dict[str, np.ndarray] = {}
    for name, method in output_methods(estimator).items():
        if name == "label":
            expected[name] = _class_numbers(estimator, np.asarray(estimator.predict(X)))
            continue
        for key, y in named_outputs(name, getattr(estimator, method)(X)).items():
            expected[key] = np.asarray(y.toarray() if issparse(y) else y, np.float64)
    if maker_of(estimator) is not None:
        expected |= answers_of(estimator, X)
    return expected


def _class_numbers(estimator, labels: np.ndarray) -> np.ndarray:
    """Return the place of each predicted class in ``classes_``; an indicator matrix stays."""
    classes = estimator.classes_
    if isinstance(classes, list):
        columns = [np.searchsorted(c, labels[:, k]) for k, c in enumerate(classes)]
        return np.column_stack(columns).astype(np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1 < len(classes):  # CatBoost's, of several classes
        labels = labels[:, 0]
    numbers = labels if labels.ndim == 2 else np.searchsorted(classes, labels)
    return np.asarray(numbers, np.int64)


def run_in_batches(function, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the outputs of a graph in batches, from arrays by the names of its inputs."""
    n_rows = len(next(iter(fed.values())))
    parts = [
        function({name: array[start : start + BATCH] for name, array in fed.items()})
        for start in range(0, n_rows, BATCH)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
