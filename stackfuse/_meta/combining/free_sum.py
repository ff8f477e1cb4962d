"""Weights that are not negative and may have any sum, with an offset.

Both fits are the most probable weights of a Bayesian model: each weight is normal around one over
the number of bases, so that few rows leave the plain average almost as it is.
"""

import numpy as np
from scipy.optimize import minimize, nnls

from stackfuse._meta.combining.pooling import invert_link, log_loss

#: Steps of the search over the weights of logarithms, and the gradient at which it ends.
_MAX_STEPS, _FLAT = 500, 1e-5


def fit_logarithms(
    logs: np.ndarray, target: np.ndarray, weight: np.ndarray, *, labels: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of logarithms of probabilities, and the offset of each class.

    Parameters
    ----------
    logs : ndarray of shape (n_samples, n_models, n_classes)
        Logarithms of probabilities; log-odds for labels.
    target : ndarray of shape (n_samples,), or (n_samples, n_labels) with `labels`
        Class numbers or indicators.
    weight : ndarray of shape (n_samples,)
        The weights of the rows; their sum counts as the number of rows.
    labels : bool
        Whether the last axis holds labels.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        The weights, not negative.
    offset : ndarray of shape (n_classes,)
        The numbers to add to the sum.

    Notes
    -----
    The loss per row is the log-loss plus ``(|weights - 1 / n_models|^2 + |offset|^2) / n_samples``:
    the prior of each number has a variance of one half. It is convex.
    """
    n_models, n_classes = logs.shape[1:]
    share = weight / weight.sum()
    penalty = 1 / weight.sum()
    truth = target if labels else np.eye(n_classes)[target]
    scale = 1 / n_classes if labels else 1.0  # the loss of labels is their mean

    def loss(numbers):
        apart, offset = numbers[:n_models] - 1 / n_models, numbers[n_models:]
        chances = invert_link(numbers[:n_models] @ logs + offset, "logit", labels=labels)
        slope = (chances - truth) * share[:, None] * scale
        gradient = np.append(np.einsum("nc,nkc->k", slope, logs), slope.sum(axis=0))
        value = log_loss(chances, target, share, labels=labels)
        value += penalty * (apart @ apart + offset @ offset)
        return value, gradient + 2 * penalty * np.append(apart, offset)

    start = np.append(np.full(n_models, 1 / n_models), np.zeros(n_classes))
    bounds = [(0, None)] * n_models + [(None, None)] * n_classes
    options = {"maxiter": _MAX_STEPS, "gtol": _FLAT, "ftol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return found[:n_models], found[n_models:]


def fit_numbers(
    predictions: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of numbers with the smallest squared error, and the offset of each output.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_models, n_outputs)
    target : ndarray of shape (n_samples, n_outputs)
    weight : ndarray of shape (n_samples,)

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Not negative.
    offset : ndarray of shape (n_outputs,)

    Notes
    -----
    The prior of each weight has a variance of one, where the noise is the error of the best base.
    The offset is free, so that all is centred; outputs count equally, whatever their scales.
    """
    centre = np.average(predictions, axis=0, weights=weight)
    mean, variance = mean_and_variance(target, weight)
    root, unit = np.sqrt(weight)[:, None], np.sqrt(variance)
    apart = (target - mean) / unit * root
    columns = (predictions - centre) / unit * root[:, None]
    n_models = predictions.shape[1]
    columns = columns.swapaxes(1, 2).reshape(-1, n_models)
    errors = (predictions - target[:, None]) / unit
    noise = np.average((errors**2).mean(axis=2), axis=0, weights=weight).min()
    prior = np.sqrt(noise) * np.eye(n_models)
    table = np.vstack([columns, prior])
    table, rest = _reduced(table, np.append(apart.ravel(), prior @ np.full(n_models, 1 / n_models)))
    weights, _ = nnls(table, rest)
    return weights, mean - weights @ centre


def mean_and_variance(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and variance of each output; 1 for the variance of a constant."""
    mean = np.average(target, axis=0, weights=weight)
    variance = np.average((target - mean) ** 2, axis=0, weights=weight)
    return mean, np.where(variance > 0, variance, 1.0)


def _reduced(table: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few rows with the same least squares: non-negative ones need a small table."""
    q, r = np.linalg.qr(table)
    return r, q.T @ target
