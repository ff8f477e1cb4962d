"""The best point of a simplex: weights that are not negative and sum to one."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

#: A weight below this counts as none.
_NO_WEIGHT = 1e-6

#: By how much a loss may be above the smallest one before the search begins anew, and how often.
_MISSED, _STARTS = 1e-4, 10


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
    """Return the weights that make a smooth loss smallest.

    Parameters
    ----------
    loss : callable
        From weights of the shape of `start` to the loss and its gradient.
    start : ndarray of shape (n_models, n_outputs)
        Columns of positive weights that each sum to one.

    Returns
    -------
    weights : ndarray of shape (n_models, n_outputs)

    Notes
    -----
    They are searched for as softmax of free numbers. So the search never steps onto the border,
    where a log-loss has no bound and no useful slope; it comes as close to it as it pays.
    """
    shape = start.shape

    def free(numbers):
        weights = softmax(numbers.reshape(shape), axis=0)
        value, gradient = loss(weights)
        return value, (weights * (gradient - (weights * gradient).sum(axis=0))).ravel()

    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000, "maxfun": 10_000}
    for _ in range(_STARTS):
        found = minimize(free, np.log(start).ravel(), jac=True, method="L-BFGS-B", options=options)
        weights = softmax(found.x.reshape(shape), axis=0)
        missed = _gap(loss, weights)
        if missed < _MISSED:
            break
        # A step went too far: near a weight of 0 the softmax has no slope to come back by.
        start = 0.9 * weights + 0.1 / len(weights)
    else:
        warnings.warn(
            f"The weights may not be the best ones: the loss could fall by {missed:.1g}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    weights[weights < _NO_WEIGHT] = 0
    return weights / weights.sum(axis=0)


def _gap(loss: Callable, weights: np.ndarray) -> float:
    """Return by how much a convex loss may lie above its smallest value (the duality gap)."""
    _, gradient = loss(weights)
    return float(((gradient * weights).sum(axis=0) - gradient.min(axis=0)).sum())
