"""Average probabilities, linearly or by their logarithms.

Arrays of probabilities have the classes, or the labels of a multilabel target, on their last axis.
"""

import numpy as np

from stackfuse._core import messages

#: The scales on which probabilities are averaged.
LINKS = ("identity", "logit")

#: Smaller probabilities count as this before a logarithm, so that one base cannot outvote all.
SMALLEST_PROBABILITY = 1e-7

#: Averages count as at least this, so that their sum is never zero.
SMALLEST_SUM = 1e-15

#: Smaller probabilities count as this in the loss, as in scikit-learn's.
_EPSILON = np.finfo(np.float64).eps


def check_link(link: str) -> None:
    """Raise unless a link is known."""
    if link not in LINKS:
        raise ValueError(f"link must be {messages.listed(LINKS)}, got {link!r}.")


def apply_link(
    probabilities: np.ndarray, link: str, *, labels: bool, floor: float = SMALLEST_PROBABILITY
) -> np.ndarray:
    """Return probabilities on the scale on which they are averaged.

    Parameters
    ----------
    probabilities : ndarray of shape (..., n_classes)
    link : {"identity", "logit"}
        "logit" gives logarithms of the classes' probabilities. After averaging they are scaled to
        sum to one, so that of two classes only the difference counts, which is the log-odds.
    labels : bool
        Whether the last axis holds labels; each label has its own log-odds.
    floor : float
        Smaller probabilities count as this before a logarithm, larger than 1 - floor as that.
    """
    if link == "identity":
        return probabilities
    probabilities = np.clip(probabilities, floor, 1 - floor)
    return np.log(probabilities) - np.log(1 - probabilities) if labels else np.log(probabilities)


def invert_link(average: np.ndarray, link: str, *, labels: bool) -> np.ndarray:
    """Turn averages on the scale of the link into probabilities; those of classes sum to one."""
    if link == "identity":
        average = np.maximum(average, SMALLEST_SUM)
        return average if labels else average / average.sum(axis=-1, keepdims=True)
    if labels:
        return 1 / (1 + np.exp(-average))
    powers = np.exp(average - average.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_losses(probabilities: np.ndarray, target: np.ndarray, *, labels: bool) -> np.ndarray:
    """Return minus the logarithm of the true class's probability, of each row.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, ..., n_classes)
    target : ndarray of shape (n_samples,), or (n_samples, n_labels) with `labels`
        Class numbers or indicators.
    labels : bool

    Returns
    -------
    losses : ndarray of shape (n_samples, ...)
        With `labels` the mean over the labels.
    """
    if labels:
        true = target.reshape(len(target), *[1] * (probabilities.ndim - 2), -1)
        probability_of_label = np.where(true == 1, probabilities, 1 - probabilities)
        return -np.log(np.maximum(probability_of_label, _EPSILON)).mean(axis=-1)
    rows = np.arange(len(target))
    return -np.log(np.maximum(probabilities[rows, ..., target], _EPSILON))


def log_loss(
    probabilities: np.ndarray, target: np.ndarray, weight: np.ndarray, *, labels: bool
) -> np.ndarray:
    """Return the weighted mean of :func:`log_losses` over the rows; shape (...)."""
    return np.average(log_losses(probabilities, target, labels=labels), axis=0, weights=weight)
