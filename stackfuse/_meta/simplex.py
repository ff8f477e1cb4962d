"""The best point of a simplex: weights that are not negative and sum to one."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

#: A weight below this counts as none.
_NO_WEIGHT = 1e-7

#: By how much a loss may be above the smallest one before the search goes on, and how often.
_MISSED, _TURNS = 1e-4, 3


def least_squares(errors: np.ndarray) -> np.ndarray:
    """Return the convex combination of columns of errors with the smallest sum of squares.

    Parameters
    ----------
    errors : ndarray of shape (n_samples, n_models)
        Predictions minus truth, as the weighted predictions miss the truth by the weighted errors.

    Returns
    -------
    weights : ndarray of shape (n_models,)

    Notes
    -----
    Non-negative least squares of ``[errors; scale * ones] @ w = [0; scale]`` finds them. For
    ``w = s * u`` with weights u that sum to one, its loss ``s^2 q + scale^2 (s - 1)^2`` with
    ``q = |errors @ u|^2`` is least at ``s = scale^2 / (q + scale^2)``, where it is
    ``scale^2 q / (q + scale^2)``, which grows with q: the best u is that of the smallest q,
    whatever the scale.
    """
    upper = np.linalg.qr(errors, mode="r") if len(errors) > errors.shape[1] else errors
    scale = np.sqrt(np.mean(np.square(upper).sum(axis=0)))
    if scale == 0:
        return np.full(errors.shape[1], 1 / errors.shape[1])
    rows = np.vstack([upper / scale, np.ones(errors.shape[1])])
    weights, _ = nnls(rows, np.append(np.zeros(len(upper)), 1.0))
    return weights / weights.sum()


def minimise(loss: Callable, start: np.ndarray) -> np.ndarray:
    """Return the weights that make a smooth convex loss smallest.

    Parameters
    ----------
    loss : callable
        From positive weights of the shape of `start` to the loss and its gradient.
    start : ndarray of shape (n_models, n_outputs)
        Columns of positive weights that each sum to one.

    Returns
    -------
    weights : ndarray of shape (n_models, n_outputs)

    Notes
    -----
    Two searches take turns until the duality gap shows that nothing better is left: one over free
    numbers of which the weights are the softmax, which does not stumble where a log-loss has no
    bound, and one within the bounds, which goes on where a step to the border left no slope.
    """
    for search in (_over_softmax, _within_bounds) * _TURNS:
        weights = np.maximum(search(loss, start), _NO_WEIGHT)
        weights /= weights.sum(axis=0)
        missed = _gap(loss, weights)
        if missed < _MISSED:
            break
        start = 0.9 * weights + 0.1 / len(weights)
    else:
        warnings.warn(
            f"The weights may not be the best ones: the loss could fall by {missed:.1g}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    weights = np.where(weights > 2 * _NO_WEIGHT, weights, 0)
    return weights / weights.sum(axis=0)


def _within_bounds(loss: Callable, start: np.ndarray) -> np.ndarray:
    shape = start.shape
    sums = np.kron(np.ones(shape[0]), np.eye(shape[1]))  # of each column of the weights

    def flat(numbers):
        value, gradient = loss(np.maximum(numbers.reshape(shape), _NO_WEIGHT))
        return value, gradient.ravel()

    total = {"type": "eq", "fun": lambda w: sums @ w - 1, "jac": lambda w: sums}
    bounds = [(_NO_WEIGHT, 1.0)] * start.size
    found = minimize(
        flat,
        start.ravel(),
        jac=True,
        method="SLSQP",
        bounds=bounds,
        constraints=total,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.x.reshape(shape)


def _over_softmax(loss: Callable, start: np.ndarray) -> np.ndarray:
    shape = start.shape

    def free(numbers):
        weights = softmax(numbers.reshape(shape), axis=0)
        value, gradient = loss(np.maximum(weights, _NO_WEIGHT))
        return value, (weights * (gradient - (weights * gradient).sum(axis=0))).ravel()

    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000, "maxfun": 10_000}
    found = minimize(free, np.log(start).ravel(), jac=True, method="L-BFGS-B", options=options)
    return softmax(found.x.reshape(shape), axis=0)


def _gap(loss: Callable, weights: np.ndarray) -> float:
    """Return by how much a convex loss may lie above its smallest value (the duality gap)."""
    _, gradient = loss(weights)
    return float(((gradient * weights).sum(axis=0) - gradient.min(axis=0)).sum())
