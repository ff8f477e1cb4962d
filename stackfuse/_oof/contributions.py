"""The contributions of estimators to the meta-learner's table: predictions or features."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from stackfuse import _networks
from stackfuse._core import multi_input, sklearn_private

#: The method by which a base contributes what its last layer is given.
FEATURES = "features"


def is_network(estimator) -> bool:
    """Whether an estimator is a network of ours: its class is fitted in two phases.

    Between the two, anybody may train it. This test needs no import of Keras. It looks at the
    class, because a FrozenEstimator hands on the attributes of the estimator within.
    """
    kind = type(estimator)
    return hasattr(kind, "begin") and hasattr(kind, "complete")


def network_of(estimator) -> Any:
    """Return the network that an estimator ends in: itself, of a pipeline or search the last one.

    None if there is none, and so no features either.
    """
    if is_network(estimator):
        return estimator
    if isinstance(estimator, Pipeline):
        return network_of(estimator.steps[-1][1])
    if isinstance(estimator, sklearn_private.BaseSearchCV | FrozenEstimator):
        return network_of(getattr(estimator, "best_estimator_", vars(estimator)["estimator"]))
    return None


def contribution(estimator, method: str, X) -> Any:
    """Return the result of a fitted estimator's method for X; the method may be "features".

    Parameters
    ----------
    estimator : fitted estimator
        A fitted estimator; for features, one with a network by :func:`network_of`.
    method : str
    X : array-like of shape (n_samples, ...)
    """
    if isinstance(X, multi_input.StoredRows) and not is_network(estimator):
        parts = [contribution(estimator, method, part) for _, part in X.blocks()]
        if isinstance(parts[0], list):  # one array for each output
            return [np.concatenate(outputs) for outputs in zip(*parts)]
        return np.concatenate(parts)
    if method != FEATURES or hasattr(estimator, FEATURES):
        return getattr(estimator, method)(X)
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            if step not in (None, "passthrough"):
                X = step.transform(X)
        return contribution(estimator.steps[-1][1], method, X)
    inner = estimator.estimator if isinstance(estimator, FrozenEstimator) else None
    return contribution(estimator.best_estimator_ if inner is None else inner, method, X)


def asked_together(bases: Iterable[tuple[Any, str]], X) -> AbstractContextManager:
    """Within, networks among the bases answer X by one call of TensorFlow, where that is faster.

    Parameters
    ----------
    bases : iterable of (fitted estimator, method)
    X : array-like of shape (n_samples, ...)
        Must not be changed within.
    """
    frozen = [(b.estimator if isinstance(b, FrozenEstimator) else b, m) for b, m in bases]
    networks = [(b, m) for b, m in frozen if is_network(b) and _answers_as_all_do(b, m)]
    if len(networks) < 2:
        return nullcontext()
    return _networks.asked_together(networks, X)  # loads TensorFlow, as the networks have


def _answers_as_all_do(network, method: str) -> bool:
    """Whether the method is that of all networks, and not one of a subclass of the user's own."""
    kinds = (_networks.NetworkClassifier, _networks.NetworkRegressor)
    return any(getattr(type(network), method) is getattr(kind, method, None) for kind in kinds)


def holds_network(estimator) -> bool:
    """Whether an estimator is, or has as a part, a network of ours."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(is_network(part) for part in parts)


def has_engine(estimator) -> bool:
    """Whether an estimator says itself how its networks are trained, as a stack does."""
    return "engine" in estimator.get_params(deep=False)
