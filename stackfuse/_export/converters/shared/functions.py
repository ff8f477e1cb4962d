"""Mathematical functions that some runtimes lack, made of operations that all runtimes have."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import constant
from stackfuse._export.graph.masks import refuse_rows


def log1p(x):
    """Return ``log(1 + x)``, exact for small x too.

    There, ``log(1 + x) = 2 artanh(x / (2 + x))``, whose series falls fast.
    """
    zero = constant(0, x)
    is_small = ops.less(ops.abs(x), constant(0.25, x))
    small = ops.where(is_small, x, zero)
    ratio = small / (small + constant(2, x))
    series = _polynomial(ops.square(ratio), [2 / k for k in range(23, 0, -2)])
    large = ops.where(is_small, zero, x)
    return ops.where(is_small, ratio * series, ops.log(large + constant(1, x)))


def expm1(x):
    """Return ``exp(x) - 1``, exact for small x too."""
    return (ops.exp(x) + constant(1, x)) * ops.tanh(x * constant(0.5, x))


def atan(x):
    """Return the angle whose tangent is x.

    A large x is turned by a quarter circle and a middle one by an eighth; the remaining angle is a
    rational function of its square. The coefficients are those of S. L. Moshier, Methods and
    Programs for Mathematical Functions, 1989.
    """
    one, size = constant(1, x), ops.minimum(ops.abs(x), constant(1e30, x))  # divided by below
    is_large = ops.greater(size, constant(1 + np.sqrt(2), x))
    is_middle = ops.logical_and(ops.greater(size, constant(0.66, x)), ops.logical_not(is_large))
    inverse = -1 / ops.where(is_large, size, one)
    middle = ops.where(is_middle, size, one)
    rest = ops.where(is_large, inverse, ops.where(is_middle, (middle - one) / (middle + one), size))
    square = ops.square(rest)
    angle = rest + rest * square * _ratio(square, _ANGLE)
    zero = constant(0, x)
    turned = ops.where(
        is_large, constant(np.pi / 2, x), ops.where(is_middle, constant(np.pi / 4, x), zero)
    )
    angle = angle + turned
    angle = ops.where(ops.less(x, zero), -angle, angle)
    return ops.where(ops.isnan(x), x, angle)  # OpenVINO's minimum of NaN and a number is a number


def sine(x):
    """Return the sine; see :func:`_on_circle`."""
    return _on_circle(x, ops.sin)


def cosine(x):
    """Return the cosine; see :func:`_on_circle`."""
    return _on_circle(x, ops.cos)


def _on_circle(x, function):
    """Return a function of an angle; refuse rows in which sine and cosine lie on no circle.

    LiteRT's sine of 3e9 is -1153.
    """
    if x.dtype == "float32":
        squares = ops.square(ops.sin(x)) + ops.square(ops.cos(x))
        off = ops.abs(squares - constant(1, x))
        # Not "more than": their squares may be NaN.
        is_off = ops.where(ops.less(off, constant(1e-3, x)), np.zeros(1, bool), np.ones(1, bool))
        most = constant(np.finfo(x.dtype).max, x)
        wrong = ops.logical_and(is_off, ops.less_equal(ops.abs(x), most))
        refuse_rows(ops.reshape(wrong, (-1, int(np.prod(x.shape[1:], dtype=int)))))
    return function(x)


def erf(x):
    """Return the error function.

    Up to 1 a rational function of the square, beyond it ``1 - exp(-x^2)`` times one of x. The
    coefficients are those of S. L. Moshier, Methods and Programs for Mathematical Functions, 1989.
    """
    one, size = constant(1, x), ops.abs(x)
    small = ops.minimum(size, one)
    inner = small * _ratio(ops.square(small), _ERF)
    large = ops.minimum(ops.maximum(size, one), constant(8, x))  # from there on it is 1
    outer = -ops.exp(-ops.square(large)) * _ratio(large, _ERF_TAIL) + one
    y = ops.where(ops.less(size, one), inner, outer)
    return ops.where(ops.less(x, constant(0, x)), -y, y)


def normal_quantile(p):
    """Return the quantiles of the standard normal distribution, for p in [1e-14, 1 - 1e-14].

    Rational approximations to full precision in float64: in the middle in ``p - 1/2``, in the tails
    in ``1 / sqrt(-2 log(p))``. The coefficients are those of S. L. Moshier, Methods and Programs
    for Mathematical Functions, 1989.
    """
    half = constant(0.5, p)
    centered = p - half
    square = ops.square(centered)
    middle = centered * square * _ratio(square, _MIDDLE) + centered
    middle = middle * constant(np.sqrt(2 * np.pi), p)
    tail = ops.minimum(p, 1 - p)
    radius = ops.sqrt(ops.log(tail) * constant(-2, p))
    inverse = 1 / radius
    outer = radius - ops.log(radius) * inverse - inverse * _ratio(inverse, _TAIL)
    outer = ops.where(ops.less(p, half), -outer, outer)
    return ops.where(ops.less(tail, constant(np.exp(-2), p)), outer, middle)


# fmt: off
#: Numerator and denominator, their highest power first.
_MIDDLE = (
    (-59.963350101410789, 98.001075418599967, -56.676285746907029, 13.931260938727968,
     -1.2391658386738126),
    (1.0, 1.9544885833814176, 4.6762791289888154, 86.360242139089059, -225.46268785411937,
     200.26021238006066, -82.037225616833334, 15.90562251262117, -1.1833162112133),
)

_TAIL = (
    (4.0554489230596242, 31.525109459989387, 57.162819224642129, 44.080507389320084,
     14.684956192885802, 2.1866330685079027, -0.1402560791713545, -0.035042462682784820,
     -0.00085745678515468541),
    (1.0, 15.779988325646675, 45.390763512887921, 41.317203825467203, 15.042538569290750,
     2.5046494620830942, -0.14218292285478779, -0.038080640769157828, -0.00093325948089545743),
)

_ANGLE = (
    (-0.87506086000319041228, -16.157537187333650766, -75.008557923147046734,
     -122.88666844901361734, -64.850219049420250244),
    (1.0, 24.858464901423062979, 165.02700983169885461, 432.88106049129026690,
     485.39039963591369649, 194.55065714826139644),
)

_ERF = (
    (9.60497373987051638749, 90.0260197203842689217, 2232.00534594684319226,
     7003.32514112805075473, 55592.3013010394962768),
    (1.0, 33.5617141647503099647, 521.357949780152679795, 4594.32382970980127987,
     22629.0000613890934246, 49267.3942608635921086),
)

_ERF_TAIL = (
    (2.46196981473530512524e-10, 0.564189564831068821977, 7.46321056442269912687,
     48.6371970985681366614, 196.520832956077098242, 526.445194995477358631,
     934.528527171957607540, 1027.55188689515710272, 557.535335369399327526),
    (1.0, 13.2281951154744992508, 86.7072140885989742329, 354.937778887819891062,
     975.708501743205489753, 1823.90916687909736289, 2246.33760818710981792,
     1656.66309194161350182, 557.535340817727675546),
)
# fmt: on


def _ratio(x, polynomials: Sequence[Sequence[float]]):
    above, below = polynomials
    return _polynomial(x, above) / _polynomial(x, below)


def _polynomial(x, coefficients: Sequence[float]):
    """Return a polynomial, its highest power first."""
    y = x * constant(coefficients[0], x) + constant(coefficients[1], x)
    for coefficient in coefficients[2:]:
        y = y * x + constant(coefficient, x)
    return y
