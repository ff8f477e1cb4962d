"""Functions that not every runtime has, made of those that all have."""

from collections.abc import Sequence

import numpy as np

from stackfuse.export._arithmetic import constant


def log1p(x):
    """Return ``log(1 + x)``, exact for small x too.

    There, ``log(1 + x) = 2 artanh(x / (2 + x))``, whose series falls fast.
    """
    from keras import ops

    zero = constant(0, x)
    is_small = ops.less(ops.abs(x), constant(0.25, x))
    small = ops.where(is_small, x, zero)
    ratio = small / (small + constant(2, x))
    series = _polynomial(ops.square(ratio), [2 / k for k in range(23, 0, -2)])
    large = ops.where(is_small, zero, x)
    return ops.where(is_small, ratio * series, ops.log(large + constant(1, x)))


def expm1(x):
    """Return ``exp(x) - 1``, exact for small x too."""
    from keras import ops

    return (ops.exp(x) + constant(1, x)) * ops.tanh(x * constant(0.5, x))


def normal_quantile(p):
    """Return the quantiles of the standard normal distribution, for p in [1e-14, 1 - 1e-14].

    Rational approximations to full precision in float64: in the middle in ``p - 1/2``, in the tails
    in ``1 / sqrt(-2 log(p))``. The coefficients are those of S. L. Moshier, Methods and Programs
    for Mathematical Functions, 1989.
    """
    from keras import ops

    half, one = constant(0.5, p), constant(1, p)
    centered = p - half
    square = ops.square(centered)
    middle = centered * square * _polynomial(square, _MIDDLE[0]) / _polynomial(square, _MIDDLE[1])
    middle = (centered + middle) * constant(np.sqrt(2 * np.pi), p)
    tail = ops.minimum(p, one - p)
    radius = ops.sqrt(ops.log(tail) * constant(-2, p))
    inverse = one / radius
    far = inverse * _polynomial(inverse, _TAIL[0]) / _polynomial(inverse, _TAIL[1])
    outer = radius - ops.log(radius) * inverse - far
    outer = ops.where(ops.less(p, half), -outer, outer)
    return ops.where(ops.less(tail, constant(np.exp(-2), p)), outer, middle)


_MIDDLE = (
    [-59.9633501014107895, 98.0010754185999662, -56.6762857469070293, 13.9312609387279680]
    + [-1.23916583867381258],
    [1.0, 1.95448858338141760, 4.67627912898881538, 86.3602421390890591, -225.462687854119371]
    + [200.260212380060660, -82.0372256168333340, 15.9056225126211696, -1.18331621121330003],
)

_TAIL = (
    [4.05544892305962420, 31.5251094599893866, 57.1628192246421288, 44.0805073893200835]
    + [14.6849561928858024, 2.18663306850790268, -0.140256079171354496, -0.0350424626827848203]
    + [-0.000857456785154685414],
    [1.0, 15.7799883256466750, 45.3907635128879211, 41.3172038254672030, 15.0425385692907503]
    + [2.50464946208309416, -0.142182922854787789, -0.0380806407691578278]
    + [-0.000933259480895457427],
)


def _polynomial(x, coefficients: Sequence[float]):
    """Return a polynomial, its highest power first."""
    y = x * constant(coefficients[0], x) + constant(coefficients[1], x)
    for coefficient in coefficients[2:]:
        y = y * x + constant(coefficient, x)
    return y
