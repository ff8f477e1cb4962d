"""Find the best weights that are not negative and sum to one: a point of the simplex."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

#: Smaller weights count as zero.
_SMALLEST_WEIGHT = 1e-7

#: The duality gap at which the search ends, and the number of turns after which it gives up.
_ACCEPTED_GAP, _MAX_TURNS = 1e-4, 3


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
    Two searches take turns until the duality gap is small. One searches over unbounded scores, of
    which the weights are the softmax: it can cope with a log-loss without bound. The other searches
    over the weights within their bounds: it goes on where a weight near zero has left the softmax
    no slope.
    """
    for search in (_over_softmax, _within_bounds) * _MAX_TURNS:
        weights = np.maximum(search(loss, start), _SMALLEST_WEIGHT)
        weights /= weights.sum(axis=0)
        gap = _duality_gap(loss, weights)
        if gap < _ACCEPTED_GAP:
            break
        start = 0.9 * weights + 0.1 / len(weights)
    else:
        warnings.warn(
            "The search for the best weights stopped early: the loss could still fall by "
            f"{gap:.1g}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    weights = np.where(weights > 2 * _SMALLEST_WEIGHT, weights, 0)
    return weights / weights.sum(axis=0)


def _within_bounds(loss: Callable, start: np.ndarray) -> np.ndarray:
    shape = start.shape
    sums = np.kron(np.ones(shape[0]), np.eye(shape[1]))  # of each column of the weights

    def loss_of_flat(numbers):
        value, gradient = loss(np.maximum(numbers.reshape(shape), _SMALLEST_WEIGHT))
        return value, gradient.ravel()

    total = {"type": "eq", "fun": lambda w: sums @ w - 1, "jac": lambda w: sums}
    bounds = [(_SMALLEST_WEIGHT, 1.0)] * start.size
    result = minimize(
        loss_of_flat,
        start.ravel(),
        jac=True,
        method="SLSQP",
        bounds=bounds,
        constraints=total,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return result.x.reshape(shape)


def _over_softmax(loss: Callable, start: np.ndarray) -> np.ndarray:
    shape = start.shape

    def loss_of_scores(numbers):
        weights = softmax(numbers.reshape(shape), axis=0)
        value, gradient = loss(np.maximum(weights, _SMALLEST_WEIGHT))
        return value, (weights * (gradient - (weights * gradient).sum(axis=0))).ravel()

    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000, "maxfun": 10_000}
    result = minimize(
        loss_of_scores, np.log(start).ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return softmax(result.x.reshape(shape), axis=0)


def _duality_gap(loss: Callable, weights: np.ndarray) -> float:
    """Return by how much a convex loss may lie above its smallest value (the duality gap)."""
    _, gradient = loss(weights)
    return float(((gradient * weights).sum(axis=0) - gradient.min(axis=0)).sum())
