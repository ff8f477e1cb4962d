"""Opinions about classes, averaged: linearly, or by their logarithms.

Arrays of probabilities have the classes, or the labels of a multilabel target, on their last axis.
"""

import numpy as np

from stackfuse._core import messages

#: How probabilities may be averaged.
LINKS = ("identity", "logit")

#: Logarithms are taken of probabilities of at least this: a base that says 0 does not know more.
SMALLEST = 1e-7

#: Added up, probabilities of nothing at all would not be divided by zero.
NOTHING = 1e-15

#: The loss of a probability below this is that of this, as in scikit-learn's.
_EPSILON = np.finfo(np.float64).eps


def check_link(link: str) -> None:
    """Raise unless this is a way to average probabilities."""
    if link not in LINKS:
        raise ValueError(f"link must be {messages.listed(LINKS)}, got {link!r}.")


def linked(chances: np.ndarray, link: str, *, labels: bool) -> np.ndarray:
    """Return probabilities on the scale on which they are averaged.

    Parameters
    ----------
    chances : ndarray of shape (..., n_classes)
    link : {"identity", "logit"}
        With "logit" the logarithms of classes' probabilities: once averaged they are scaled to sum
        to one, so that of two classes their difference, the log-odds, is what counts.
    labels : bool
        Whether these are labels, of which each has log-odds of its own.
    """
    if link == "identity":
        return chances
    chances = np.clip(chances, SMALLEST, 1 - SMALLEST)
    return np.log(chances) - np.log(1 - chances) if labels else np.log(chances)


def unlinked(average: np.ndarray, link: str, *, labels: bool) -> np.ndarray:
    """Return averages, on the scale of the link, as probabilities; those of classes sum to one."""
    if link == "identity":
        average = np.maximum(average, NOTHING)
        return average if labels else average / average.sum(axis=-1, keepdims=True)
    if labels:
        return 1 / (1 + np.exp(-average))
    powers = np.exp(average - average.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_loss(
    chances: np.ndarray, target: np.ndarray, weight: np.ndarray, *, labels: bool
) -> np.ndarray:
    """Return the mean of minus the logarithm of what was said of the truth.

    Parameters
    ----------
    chances : ndarray of shape (n_samples, ..., n_classes)
    target : ndarray of shape (n_samples,), or (n_samples, n_labels) with `labels`
        Class numbers or indicators.
    weight : ndarray of shape (n_samples,)
    labels : bool

    Returns
    -------
    loss : ndarray of shape (...)
        Of labels the mean over them.
    """
    rows = np.arange(len(target))
    if labels:
        true = target.reshape(len(target), *[1] * (chances.ndim - 2), -1)
        said = np.where(true == 1, chances, 1 - chances)
        surprise = -np.log(np.maximum(said, _EPSILON)).mean(axis=-1)
    else:
        surprise = -np.log(np.maximum(chances[rows, ..., target], _EPSILON))
    return np.average(surprise, axis=0, weights=weight)
