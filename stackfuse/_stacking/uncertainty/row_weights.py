"""The weight of each row when a stack is calibrated; a new row has 1."""

from collections.abc import Sequence

import numpy as np

from stackfuse._core import fitting
from stackfuse._oof import jobs

HALF_LIFE = fitting.Wanted(
    lambda value: value is None or fitting.is_positive(value), "None or a number above 0"
)


def row_weights(n_rows: int, sample_weight, groups, half_life: float | None) -> np.ndarray:
    """Return the weights of rows in their order in time, where that matters.

    Parameters
    ----------
    n_rows : int
    sample_weight : ndarray of shape (n_rows,) or None
        Only relative to each other: a new row is as heavy as these are on average.
    groups : ndarray of int, shape (n_rows,), or None
        Each group counts once, however many rows it has: the empirical distributions of the groups
        are averaged [1]_. A new row is one of a new group.
    half_life : float or None
        After so many rows a row counts half [2]_.

    Returns
    -------
    weights : ndarray of shape (n_rows,), dtype float64

    References
    ----------
    .. [1] Dunn, R., L. Wasserman and A. Ramdas. "Distribution-free prediction sets for two-layer
       hierarchical models." Journal of the American Statistical Association 118 (2022).
    .. [2] Barber, R. F. et al. "Conformal prediction beyond exchangeability." The Annals of
       Statistics 51.2 (2023): 816-845.

    Examples
    --------
    >>> row_weights(4, None, np.array([0, 0, 0, 1]), None).round(2)
    array([0.33, 0.33, 0.33, 1.  ])
    """
    weights = np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if not weights.sum() > 0:
        raise ValueError("sample_weight is 0 in all rows to calibrate on. Pass weights above 0.")
    if groups is None:
        weights = weights * (n_rows / weights.sum())
    else:
        of_group = np.bincount(groups, weights)[groups]
        weights = np.divide(weights, of_group, out=np.zeros(n_rows), where=of_group > 0)
    if half_life is None:
        return weights
    return weights * 0.5 ** (np.arange(n_rows)[::-1] / half_life)


def keeps_groups_apart(folds: Sequence[jobs.Fold], groups: np.ndarray) -> bool:
    """Whether no fold trains on a row of a group that it predicts."""
    return not any(np.isin(groups[fold.test], groups[fold.train]).any() for fold in folds)
