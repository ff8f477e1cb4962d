"""Quantiles of the standard normal distribution as polynomials, piece by piece.

Where a format finds pieces by trees, they take fewer operations than one formula for all shares.
"""

from functools import cache
from itertools import pairwise

import numpy as np
from keras import ops
from scipy.stats import norm

from stackfuse._export.converters.shared.intervals import rows_reached
from stackfuse._export.graph.arithmetic import constant

#: The powers of a piece are up to this one.
_DEGREE = 9

#: The end of each piece divided by its start, both counted from the nearer end of [0, 1]. From the
#: middle of a piece, the singularity at 0 is 23 times as far as the ends of the piece. So the first
#: power that is left out adds less than 1e-15.
_RATIO = 1.09


def normal_quantile_of_pieces(p, smallest: float):
    """Return quantiles, those of ``smallest`` and ``1 - smallest`` for shares beyond these.

    Parameters
    ----------
    p : KerasTensor of float64, shape (batch, n_features)
        NaN stays NaN.
    smallest : float
        The smallest share that counts as itself.

    Returns
    -------
    z : KerasTensor of shape (batch, n_features)
    """
    knots, table = _pieces(smallest)
    p = ops.minimum(ops.maximum(p, constant(-1, p)), constant(2, p))  # so that results have bounds
    row = rows_reached(ops.reshape(p, (-1, 1)), [knots], [table])
    row = ops.reshape(row, (-1, p.shape[1], table.shape[1]))
    distance = ops.expand_dims(p, 2) - row[:, :, :1]
    powers = ops.power(distance, constant(np.arange(_DEGREE + 1), p))
    z = ops.sum(powers * row[:, :, 1:], axis=2)
    ends = norm.ppf([smallest, 1 - smallest])
    return ops.minimum(ops.maximum(z, constant(ends[0], p)), constant(ends[1], p))


@cache
def _pieces(smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first share of each piece but one, and a table with a row for each piece.

    A row holds the middle of the piece and the coefficients of the powers of the distance to it.
    """
    n_pieces = int(np.ceil(np.log(0.5 / smallest) / np.log(_RATIO)))
    shares = np.geomspace(smallest, 0.5, n_pieces + 1)
    lower = [_piece(low, high, is_upper=False) for low, high in pairwise(shares)]
    upper = [_piece(low, high, is_upper=True) for low, high in pairwise(shares)][::-1]
    ends = [np.r_[0.0, norm.ppf(share), np.zeros(_DEGREE)] for share in (smallest, 1 - smallest)]
    above = np.nextafter(smallest, 1.0)
    knots = np.r_[above, shares[1:-1], 0.5, 1 - shares[1:-1][::-1], 1 - smallest]
    return knots, np.vstack([ends[0], *lower, *upper, ends[1]])


def _piece(low: float, high: float, *, is_upper: bool) -> np.ndarray:
    """Return the row of the shares from one to another, or of one less these.

    A quantile z of share p has ``z' = sqrt(2 pi) exp(z^2 / 2)``, so that ``z'' = z z'^2``. This
    gives the coefficients of its Taylor series one by one.
    """
    middle = (low + high) / 2
    if is_upper:
        middle = 1 - (1 - middle)  # so that one less the middle is exact
    z = np.array([norm.ppf(middle)])
    z = np.append(z, np.sqrt(2 * np.pi) * np.exp(z**2 / 2))
    for k in range(2, _DEGREE + 1):
        slope = np.arange(1, k) * z[1:]
        z = np.append(z, np.convolve(np.convolve(slope, slope), z)[k - 2] / (k * (k - 1)))
    if is_upper:
        return np.r_[1 - middle, -z * (-1.0) ** np.arange(_DEGREE + 1)]
    return np.r_[middle, z]
