"""Whether two answers differ by no more than what the estimator itself makes of a last digit."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

import stackfuse as sf
from stackfuse._export.checking import answers
from stackfuse._networks.kinds import (
    NetworkClassifier,
    NetworkRegressor,
)
from stackfuse._stacking import parts_of

#: How far a network or XGBoost may be from its graph, relative to its largest answer.
NARROW = 1e-6

#: How far a sum of some hundred numbers may be off, relative to its size.
WIDE = 16 * float(np.finfo(np.float64).eps)


def is_narrow(part) -> bool:
    """Whether an estimator computes in float32, so that its graph cannot be exact."""
    if isinstance(part, NetworkClassifier | NetworkRegressor):
        return True
    return type(part).__module__.startswith("xgboost")


@contextmanager
def answering_by_graphs(estimator) -> Iterator[None]:
    """Let all networks and XGBoost models inside an estimator answer as their graphs do.

    Whatever the estimator then answers otherwise than its own graph is not due to float32.

    Raises
    ------
    AssertionError
        When one of them is asked, if it is further from its graph than float32 explains.
    """
    with ExitStack() as patches:
        for part in filter(is_narrow, parts_of(estimator)):
            if _is_fitted(part):
                for method in _methods_of(part):
                    answer = _checked(getattr(part, method), _graph_of(part, method))
                    patches.enter_context(mock.patch.object(part, method, answer))
        yield


def _is_fitted(part) -> bool:
    try:
        check_is_fitted(part)
    except NotFittedError:
        return False
    return True


def _methods_of(part) -> list[str]:
    if hasattr(part, "classes_"):
        return [m for m in ("predict_proba", "decision_function") if hasattr(part, m)]
    return ["predict"]


def _graph_of(part, method: str) -> Callable:
    import keras

    shape = getattr(part, "X_shape_", (getattr(part, "n_features_in_", 0),))
    x = keras.Input(shape, dtype="float64")
    return keras.Model(x, sf.convert(part, x, method))


def _checked(answer: Callable, graph: Callable) -> Callable:
    """Return a graph as a function that compares itself with the method that it stands for."""

    def checked(X):
        wanted, got = answer(X), np.asarray(graph(np.asarray(X, np.float64)))
        scale = np.nanmax(np.abs(wanted), initial=1.0)
        assert_allclose(got, wanted, rtol=0, atol=NARROW * scale)
        return got

    return checked


def own_movement(estimator, rows, name: str) -> float:
    """Return how far an answer moves when the parts of an estimator move by some last digits.

    The parts are the bases of stacks, what is calibrated, and the steps of pipelines.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...)
    name : str
        Of an output of the graph.
    """
    before = answers.expected_outputs(estimator, rows)[name]
    random = np.random.default_rng(0)
    with ExitStack() as patches:
        for base, method in _inner_answers(estimator):
            moved = _moved(getattr(base, method), random)
            patches.enter_context(mock.patch.object(base, method, moved))
        after = answers.expected_outputs(estimator, rows)[name]
    return float(np.abs(after - before).max())


def _inner_answers(estimator) -> Iterator[tuple]:
    """Yield the parts inside an estimator whose answers others go on with, and the methods."""
    for part in parts_of(estimator):
        if hasattr(part, "stack_method_"):
            folds = getattr(part, "fold_estimators_", None)
            replicas = folds or [[base] for base in part.estimators_]
            for bases, method in zip(replicas, part.stack_method_):
                yield from ((base, method) for base in bases)
        for pair in getattr(part, "calibrated_classifiers_", []):
            methods = ("decision_function", "predict_proba")
            yield pair.estimator, next(m for m in methods if hasattr(pair.estimator, m))
        if isinstance(part, Pipeline) and _is_fitted(part):
            for _, step in part.steps[:-1]:
                if hasattr(step, "transform"):
                    yield step, "transform"


def _moved(answer: Callable, random: np.random.Generator) -> Callable:
    def moved(X):
        y = np.asarray(answer(X))
        if y.dtype.kind != "f":
            return y
        return y * (1 + WIDE * random.choice([-1.0, 1.0], y.shape))

    return moved
