"""Which rows are held out of training, to validate on."""

import math
import warnings
from numbers import Real
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

from stackfuse._core import fitting

#: Which rows `validation` may name.
VALIDATION = fitting.Wanted(
    lambda value: isinstance(value, str) and value in ("auto", "random", "last"),
    "'auto', 'random' or 'last'",
)


def hold_out(
    n_rows: int, fraction: Any, seed: int, strata, groups, validation: Any = "auto"
) -> tuple:
    """Return the rows to train on, and those to validate on or None.

    Parameters
    ----------
    n_rows : int
    fraction : float or None
        The part of the rows to hold out, in [0, 1).
    seed : int
    strata : ndarray of shape (n_rows,) or None
        Classes to spread over both parts.
    groups : array-like of shape (n_rows,) or None
        Rows of one group stay together.
    validation : {"auto", "random", "last"}, default="auto"
        "last" takes the last rows, as Keras' own ``validation_split`` does, whatever their classes
        and groups. Else rows are drawn.

    Returns
    -------
    kept : ndarray of int
    held_out : ndarray of int or None

    Raises
    ------
    ValueError
        If the fraction lies outside [0, 1), or the rows cannot be split like that.
    """
    fitting.check_settings({"validation": validation}, {"validation": VALIDATION})
    if fraction is None:
        return np.arange(n_rows), None
    if not isinstance(fraction, Real) or not 0 <= float(fraction) < 1:
        raise ValueError(
            f"validation_split must be at least 0 and below 1, got {fraction!r}. It is the "
            "fraction of rows to hold out."
        )
    if fraction == 0:
        return np.arange(n_rows), None
    rows, fraction = np.arange(n_rows), float(fraction)
    try:
        if validation == "last":
            return _last(rows, fraction)
        if groups is not None and len(np.unique(groups)) < 2:
            raise ValueError("all rows are of one group")
        if groups is None:
            kept, held_out = train_test_split(
                rows, test_size=fraction, random_state=seed, stratify=strata
            )
        elif strata is None:
            splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
            kept, held_out = next(splitter.split(rows, groups=groups))
        else:
            kept, held_out = _by_group_and_class(rows, fraction, seed, strata, np.asarray(groups))
    except ValueError as error:
        raise ValueError(
            f"validation_split={fraction} cannot be held out: {str(error).rstrip('.')}. Pass more "
            "rows, or validation_split=0."
        ) from error
    return np.sort(kept), np.sort(held_out)


def _last(rows: np.ndarray, fraction: float) -> tuple:
    """Return the rows before the last ones, and the last ones, as Keras counts them."""
    n_kept = math.floor(len(rows) * (1 - fraction))
    if n_kept in (0, len(rows)):
        raise ValueError(f"{n_kept} of {len(rows)} rows would be left to train on")
    return rows[:n_kept], rows[n_kept:]


def _by_group_and_class(rows, fraction: float, seed: int, strata, groups) -> tuple:
    """Return a split that keeps groups together and spreads the classes."""
    few = min(fraction, 1 - fraction)  # folds come in equal parts: half of the rows at most
    n_folds = min(len(np.unique(groups)), round(1 / few))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some folds may miss a class
        splits = list(folds.split(rows, strata, groups))
    if fraction > 0.5:
        splits = [(held_out, kept) for kept, held_out in splits]
    # Where there are few groups, the folds are of unequal size, and one may be empty.
    return min(splits, key=lambda split: abs(len(split[1]) - fraction * len(rows)))
