"""From a fitted estimator to a Keras model with named outputs, and the check that both agree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from stackfuse._checks import NotConvertible, ParityError
from stackfuse._program import seeded
from stackfuse.export._convert import convert
from stackfuse.export._neural import check_stock

#: How far probabilities may differ; decisions and regressions relative to their largest value.
TOLERANCE = 1e-5

#: Rows that the graph computes at a time while it is checked.
_BATCH = 4096


def to_keras(estimator) -> Any:
    """Bake a fitted stack, or any convertible estimator, into one Keras model.

    The model is made of stock Keras layers and ``keras.ops`` only. Meta-learners and scikit-learn
    estimators compute in float64, Keras networks in the dtype that they were trained in.

    Parameters
    ----------
    estimator : fitted estimator
        A stack, a pipeline, a search over them, or a single estimator.

    Returns
    -------
    graph : keras.Model
        Takes X, float64 of shape (n_samples, n_features), or the shape of the rows that the stack
        was fitted on. Returns a dict: of a classifier ``"probabilities"`` of shape
        (n_samples, n_classes) and ``"label"``, the number of the class in ``classes_``, int64 of
        shape (n_samples,); where the classifier has no probabilities, ``"decision"`` in their
        place. Of a regressor ``"prediction"``, of the shape that ``predict`` returns.

    Raises
    ------
    NotConvertible
        If some estimator in it has no exact counterpart; the message names it.
    NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    ``graph(X)`` computes with X as it is. ``graph.predict(X)`` rounds X to float32 first, as Keras
    does for every model.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> graph = sf.to_keras(LogisticRegression(max_iter=1000).fit(X, y))
    >>> [(name, tuple(t.shape)) for name, t in sorted(graph(X[:2]).items())]
    [('label', (2,)), ('probabilities', (2, 3))]
    """
    with seeded(0):  # layers draw initial weights that are never used
        return build_graph(estimator, None)


def build_graph(estimator, rows):
    """Return the graph of an estimator for rows of the shape that some rows have.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...) or None
        By default the shape is that of the rows that the estimator was fitted on.
    """
    import keras

    if isinstance(estimator, type):
        raise TypeError(
            f"to_keras takes a fitted estimator, got the class {estimator.__name__}: "
            f"make an instance and fit it."
        )
    if not hasattr(estimator, "get_params"):
        raise TypeError(f"to_keras takes a fitted scikit-learn estimator, got {estimator!r}.")
    check_is_fitted(estimator)
    shape = _row_shape(estimator) if rows is None else np.shape(rows)[1:]
    x = keras.Input(shape, dtype="float64", name="x")
    outputs = {
        name: keras.layers.Identity(name=name, dtype="int64" if name == "label" else "float64")(
            convert(estimator, x, method)
        )
        for name, method in output_methods(estimator).items()
    }
    graph = keras.Model(x, outputs, name="stack")
    graph.trainable = False
    check_stock(graph)
    return graph


def output_methods(estimator) -> dict[str, str]:
    """Return the graph's outputs by name, with the method that gives each."""
    if is_classifier(estimator):
        for name, method in (("probabilities", "predict_proba"), ("decision", "decision_function")):
            if hasattr(estimator, method):
                return {name: method, "label": "label"}
        return {"label": "label"}
    if hasattr(estimator, "predict"):
        return {"prediction": "predict"}
    if hasattr(estimator, "transform"):
        return {"features": "transform"}
    raise NotConvertible(f"{type(estimator).__name__} neither predicts nor transforms.")


def expected_outputs(estimator, X) -> dict[str, np.ndarray]:
    """Return what the graph must return for X, by the estimator's own methods."""
    expected: dict[str, np.ndarray] = {
        name: np.asarray(getattr(estimator, method)(X), np.float64)
        for name, method in output_methods(estimator).items()
        if name != "label"
    }
    if is_classifier(estimator):
        labels = np.asarray(estimator.predict(X))
        classes = np.asarray(estimator.classes_)
        label = labels if labels.ndim == 2 else np.searchsorted(classes, labels)
        expected["label"] = np.asarray(label, np.int64)
    return expected


@dataclass(frozen=True)
class Parity:
    """How well two sets of outputs agree.

    Attributes
    ----------
    n_rows : int
    max_difference : float
        The largest absolute difference of any output but the labels.
    """

    n_rows: int
    max_difference: float


def check_parity(
    expected: Mapping[str, np.ndarray], got: Mapping[str, Any], *, what: str, hint: str = ""
) -> Parity:
    """Compare the outputs of a graph with those of the estimator it was made from.

    Parameters
    ----------
    expected, got : mapping of str to array of shape (n_samples, ...)
    what : str
        Names the graph in the message.
    hint : str, default=""
        What may be the cause; ends the message.

    Returns
    -------
    parity : Parity

    Raises
    ------
    ParityError
        With the size of the difference and the first row that differs.
    """
    largest, n_rows = 0.0, 0
    for name, wanted in expected.items():
        found = np.asarray(got[name])
        n_rows = len(wanted)
        if found.shape != wanted.shape:
            raise ParityError(
                f"{what} returns {name!r} with shape {found.shape} instead of {wanted.shape}."
            )
        difference = np.abs(found.astype(np.float64) - wanted)
        scale = 1.0
        if name not in ("probabilities", "label"):
            scale = float(np.max(np.abs(wanted), initial=0.0)) or 1.0
        allowed = 0.0 if name == "label" else TOLERANCE * scale
        wrong = ~(difference <= allowed)  # also true of NaN
        rows = np.flatnonzero(wrong.reshape(n_rows, -1).any(axis=1))
        if rows.size:
            row = rows[0]
            raise ParityError(
                f"{what} disagrees with the estimator: {name!r} differs in {rows.size} of {n_rows} "
                f"rows, by up to {np.nanmax(difference):.3g} (allowed: {allowed:.3g}); first in "
                f"row {row}: {found[row]!r} instead of {wanted[row]!r}. Nothing was written. {hint}"
            )
        if name != "label":
            largest = max(largest, float(difference.max(initial=0.0)))
    return Parity(n_rows, largest)


def run(function, X: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of a graph for X, computed in batches."""
    parts = [function(X[start : start + _BATCH]) for start in range(0, len(X), _BATCH)]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def _row_shape(estimator) -> tuple[int, ...]:
    """Return the shape of one row of X."""
    for part in _first_parts(estimator):
        sample = getattr(part, "_sample_X", None)
        if sample is not None:
            return tuple(np.shape(sample)[1:])
        if hasattr(part, "X_shape_") and isinstance(part.X_shape_, tuple):
            return part.X_shape_
    return (estimator.n_features_in_,)


def _first_parts(estimator) -> Iterator[Any]:
    """Yield an estimator and what inside it sees X as it is: what was searched, the first step."""
    while estimator is not None and not isinstance(estimator, str):
        yield estimator
        if isinstance(estimator, Pipeline):
            steps = [s for _, s in estimator.steps if not isinstance(s, str) and s is not None]
            estimator = steps[0] if steps else None
        else:
            estimator = getattr(estimator, "best_estimator_", None)


def sample_rows(estimator):
    """Return the training rows that a stack has kept, or None."""
    return getattr(getattr(estimator, "best_estimator_", estimator), "_sample_X", None)
