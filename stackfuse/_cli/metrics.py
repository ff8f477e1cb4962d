"""Which of scikit-learn's scorers fit a target."""

import warnings

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names

from stackfuse._core import messages
from stackfuse._meta import scorers

#: The most rows that a scorer is tried on.
_TRIED_ROWS = 1000


def check_metric(name: str | None, y: np.ndarray, classes: bool) -> None:
    """Raise ValueError unless a scorer fits a target; None is the default, which does.

    Parameters
    ----------
    name : str or None
    y : ndarray of shape (n_samples,)
    classes : bool
        Whether y holds classes.
    """
    if name is not None and not _fits(name, y, classes):
        fitting = [other for other in get_scorer_names() if _fits(other, y, classes)]
        task = f"{len(np.unique(y))} classes" if classes else "numbers"
        raise ValueError(
            f"--metric {name!r} does not fit a target of {task}: choose "
            f"{messages.listed(fitting)}.{messages.did_you_mean(name, fitting)}"
        )


def _fits(name: str, y: np.ndarray, classes: bool) -> bool:
    """Whether a scorer takes predictions of a target, and right ones are better than wrong ones.

    Wrong classes are those that change places with others: scores of clusters cannot tell. Scorers
    of numbers take the numbers of classes too.
    """
    if name not in get_scorer_names() or (classes and _fits(name, np.linspace(1, 2), False)):
        return False
    scorer = get_scorer(name)
    if classes:
        n_classes = len(np.unique(y))
        y = np.tile(np.arange(n_classes), 3)
        right = 0.1 + np.eye(n_classes)[y]
        right, wrong = (p / p.sum(axis=1, keepdims=True) for p in (right, np.roll(right, 1, 1)))
        reader = scorers.ProbabilitiesAsX(np.arange(n_classes), False)
    else:
        right = y = y[:: max(1, len(y) // _TRIED_ROWS)]
        wrong, reader = np.roll(y, 1), scorers.NumbersAsX()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return bool(scorer(reader, right, y) > scorer(reader, wrong, y))
        except (AttributeError, TypeError, ValueError, Warning):  # each says in its own way
            return False
