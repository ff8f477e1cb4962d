"""The shares of a quantile transform, where trees find the interval of each number.

scikit-learn interpolates between the knots from below and from above, which differ at repeated
knots, and takes the mean. Between two knots, and at each of them, both are linear. So one row of a
table holds slopes, knots and shares for both.
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from stackfuse._core import sklearn_private
from stackfuse._export.converters.shared.intervals import rows_reached

#: The shares of numbers that scikit-learn takes for the first knot, or for the last one.
BELOW, ABOVE = -1.0, 2.0


def knots_of(estimator) -> list[np.ndarray]:
    """Return the numbers at which another row of the table begins, of each column.

    Parameters
    ----------
    estimator : QuantileTransformer
    """
    return [_starts(column, _is_normal(estimator)) for column in _columns(estimator)]


def shares_by_trees(estimator, x):
    """Return the shares of numbers, shape (batch, n_features); NaN of NaN.

    Parameters
    ----------
    estimator : QuantileTransformer
        The shares at its ends are ``BELOW`` and ``ABOVE`` if it goes on to a normal distribution.
    x : KerasTensor of float64, shape (batch, n_features)
        Rows with infinite numbers are refused elsewhere.
    """
    shares, is_normal = np.asarray(estimator.references_, np.float64), _is_normal(estimator)
    tables = [_table(column, shares, is_normal) for column in _columns(estimator)]
    row = rows_reached(x, knots_of(estimator), tables)
    slope, at, share = row[:, :, :2], row[:, :, 2:4], row[:, :, 4:]
    return ops.sum(slope * (ops.expand_dims(x, 2) - at) + share, axis=2)


def _is_normal(estimator) -> bool:
    return estimator.output_distribution == "normal"


def _columns(estimator) -> np.ndarray:
    return np.asarray(estimator.quantiles_, np.float64).T


def _starts(knots: np.ndarray, is_normal: bool) -> np.ndarray:
    """Return where rows of a column's table begin: at each knot, and right behind it."""
    starts = np.append(knots, np.nextafter(knots, np.inf))
    if is_normal:
        is_first, is_last = _ends(knots)
        inner = _first_number(lambda x: not is_first(x), *_around(knots[0]))
        starts = np.append(starts, [inner, _first_number(is_last, *_around(knots[-1]))])
    return np.unique(starts)


def _ends(knots: np.ndarray) -> tuple[Callable, Callable]:
    """Return whether scikit-learn takes a number for the first knot, and whether for the last."""
    margin, low, high = sklearn_private.BOUNDS_THRESHOLD, knots[0], knots[-1]
    return (lambda x: x - margin < low), (lambda x: x + margin > high)


def _around(knot: float) -> tuple[float, float]:
    """Return numbers below and above a knot, of which scikit-learn takes one for it at most."""
    margin = 2 * sklearn_private.BOUNDS_THRESHOLD
    below, above = np.nextafter(knot, [-np.inf, np.inf])
    return min(knot - margin, below), max(knot + margin, above)


def _first_number(holds: Callable, low: float, high: float) -> float:
    """Return the least number for which a condition holds, from one that is too low to another."""
    low, high = _place(low), _place(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(_number(middle)) else (middle, high)
    return _number(high)


def _place(number: float) -> int:
    """Return the place of a number in the order of all numbers, 0 for 0."""
    size = int(np.abs(np.float64(number)).view(np.int64))
    return size if number >= 0 else -size


def _number(place: int) -> float:
    return float(np.copysign(np.int64(abs(place)).view(np.float64), place))


def _table(knots: np.ndarray, shares: np.ndarray, is_normal: bool) -> np.ndarray:
    """Return half the slope, the knot and half the share, from below and from above, of each row.

    The columns are slopes, knots and shares, two each.
    """
    at = np.append(-np.inf, _starts(knots, is_normal))
    with np.errstate(divide="ignore", invalid="ignore"):  # between equal knots lies nothing
        slopes = np.where(np.diff(knots) > 0, np.diff(shares) / np.diff(knots), 0.0)
    slopes = np.r_[0.0, slopes, 0.0]
    last = len(knots) - 1
    # One less the numbers of knots that lie below or at a number, and of those below it.
    up, down = (np.searchsorted(knots, at, side) - 1 for side in ("right", "left"))
    below, above = np.maximum(up, 0), np.minimum(down + 1, last)
    half = np.column_stack([slopes[up + 1], slopes[down + 1], shares[below], shares[above]]) / 2
    table = np.column_stack([half[:, :2], knots[below], knots[above], half[:, 2:]])
    is_first, is_last = at <= knots[0], at == knots[-1]
    ends = 0.0, 1.0
    if is_normal:
        is_first, is_last = ([holds(x) for x in at] for holds in _ends(knots))
        ends = BELOW, ABOVE
    for which, share in ((is_last, ends[1]), (is_first, ends[0])):
        table[which] = [0.0, 0.0, knots[0], knots[0], share / 2, share / 2]
    return table
