"""numpy's functions of single numbers, in operations that every format has a kernel for."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.special
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.functions import atan, cosine, expm1, log1p, sine
from stackfuse._export.graph.arithmetic import (
    constant,
    sigmoid,
)


def _scaled(factor: float) -> Callable:
    return lambda x: x * constant(factor, x)


def _cbrt(x):
    """Return the cube root; a step of Newton's method after a first guess by logarithms."""
    size = ops.abs(x)
    is_zero = ops.logical_or(ops.equal(x, constant(0, x)), ops.equal(size, constant(np.inf, x)))
    size = ops.where(is_zero, constant(1, x), size)
    guess = ops.exp(ops.log(size) * constant(1 / 3, x))
    square = ops.square(guess)
    root = guess - (guess * square - size) / (square * constant(3, x))
    return ops.where(is_zero, x, ops.where(ops.less(x, constant(0, x)), -root, root))


def _odd(function: Callable) -> Callable:
    """Return a function whose value for -x is the negative of that for x."""

    def of(x):
        y = function(ops.abs(x))
        return ops.where(ops.less(x, constant(0, x)), -y, y)

    return of


def _half_exp(x):
    """Return ``exp(x) / 2``, finite where the exponential itself is not."""
    return ops.exp(x - constant(np.log(2), x))


def _sinh(x):
    small = ops.minimum(x, constant(1, x))  # far out expm1 is infinite
    grown = expm1(small)
    near = (grown + grown / (grown + constant(1, x))) * constant(0.5, x)
    return ops.where(ops.less(x, constant(1, x)), near, _half_exp(x) - _half_exp(-x))


def _cosh(x):
    return _half_exp(ops.abs(x)) + _half_exp(-ops.abs(x))


def _arcsinh(x):
    near = ops.minimum(x, constant(1, x))  # far out the square is infinite
    square = ops.square(near)
    one = constant(1, x)
    series = log1p(near + square / (ops.sqrt(square + one) + one))
    far = ops.maximum(x, one)
    inverse = ops.square(1 / far)
    logarithm = ops.log(far) + ops.log(ops.sqrt(inverse + one) + one)
    return ops.where(ops.less(x, one), series, logarithm)


def _arccosh(x):
    """Return ``log(x + sqrt(x**2 - 1))``, exact near 1 too; NaN below."""
    one = constant(1, x)
    beyond = ops.minimum(x, constant(2, x)) - one
    near = log1p(ops.sqrt(beyond) * ops.sqrt(beyond + constant(2, x)) + beyond)
    far = ops.maximum(x, constant(2, x))
    inverse = 1 / far
    logarithm = ops.log(far) + ops.log(ops.sqrt(1 - ops.square(inverse)) + one)
    return ops.where(ops.less(x, constant(2, x)), near, logarithm)


def _arctanh(x):
    """Return ``log((1 + x) / (1 - x)) / 2``; NaN beyond 1."""
    return log1p(x * constant(2, x) / (1 - x)) * constant(0.5, x)


def _arcsin(x):
    """Return the angle whose sine is x; NaN beyond 1.

    The least number stands for the cosine 0, by which LiteRT does not divide.
    """
    one = constant(1, x)
    cosine = ops.sqrt((1 - x) * (x + one))
    none = ops.equal(ops.abs(x), one)
    return atan(x / ops.where(none, constant(1e-30, x), cosine))


def _arccos(x):
    """Return the angle whose cosine is x; NaN beyond 1."""
    one = constant(1, x)
    return atan(ops.sqrt((1 - x) / (x + one))) * constant(2, x)


def _logit(x):
    return ops.log(x) - log1p(-x)


#: The counterpart of each function.
TWINS: Mapping[Any, Callable] = MappingProxyType(
    {
        np.abs: ops.abs,
        np.arccos: _arccos,
        np.arccosh: _arccosh,
        np.arcsin: _arcsin,
        np.arcsinh: _odd(_arcsinh),
        np.arctan: atan,
        np.arctanh: _odd(_arctanh),
        np.cbrt: _cbrt,
        np.ceil: ops.ceil,
        np.cos: cosine,
        np.cosh: _cosh,
        np.deg2rad: _scaled(np.pi / 180),
        np.degrees: _scaled(180 / np.pi),
        np.exp: ops.exp,
        np.exp2: lambda x: ops.exp(x * constant(np.log(2), x)),
        np.expm1: expm1,
        np.fabs: ops.abs,
        np.floor: ops.floor,
        np.log: ops.log,
        np.log10: lambda x: ops.log(x) / constant(np.log(10), x),
        np.log1p: log1p,
        np.log2: lambda x: ops.log(x) / constant(np.log(2), x),
        np.negative: ops.negative,
        np.positive: lambda x: x,
        np.rad2deg: _scaled(180 / np.pi),
        np.radians: _scaled(np.pi / 180),
        np.reciprocal: lambda x: 1 / x,
        np.rint: ops.round,
        np.sign: ops.sign,
        np.sin: sine,
        np.sinh: _odd(_sinh),
        np.sqrt: ops.sqrt,
        np.square: ops.square,
        np.tan: lambda x: sine(x) / cosine(x),
        np.tanh: ops.tanh,
        np.trunc: lambda x: ops.sign(x) * ops.floor(ops.abs(x)),
        scipy.special.expit: sigmoid,
        scipy.special.logit: _logit,
    }
)


def apply(function: Callable, x, settings: dict | None, *, used_by: str):
    """Return the result of one of numpy's functions for a tensor.

    Parameters
    ----------
    function : callable
    x : KerasTensor
    settings : dict or None
        Further arguments of the function; none are known.
    used_by : str
        Named in the message.

    Raises
    ------
    NotConvertible
        If there is no twin of the function, with a list of those that have one.
    """
    twin = TWINS.get(function) if getattr(function, "__hash__", None) else None
    if twin is None or settings:
        name = getattr(function, "__name__", repr(function))
        known = ", ".join(f.__name__ for f in TWINS if hasattr(np, f.__name__))
        raise NotConvertible(
            f"The function {name!r} of {used_by} cannot be converted to a Keras graph. Use one of "
            f"numpy's {known}, or scipy.special's expit or logit, without further arguments."
        )
    return _with_ends_of(function, x, twin(x))


def _with_ends_of(function: Callable, x, y):
    """Return y with the function's values at infinity and NaN, which some runtimes get wrong.

    LiteRT's exponential of NaN is 0, and its logarithms of NaN and infinity are numbers. It takes
    an infinite constant for the largest number, too: x itself stands for infinity here.
    """
    most = constant(np.finfo(x.dtype).max, x)
    ends = ((np.inf, ops.greater(x, most)), (-np.inf, ops.less(x, -most)))
    for end, is_there in ends:
        with np.errstate(all="ignore"):
            value = function(end)
        at_end = constant(value, x)
        if np.isnan(value):
            at_end = x - x
        elif np.isinf(value):
            at_end = x if value == end else -x
        y = ops.where(is_there, at_end, y)
    return ops.where(ops.isnan(x), x, y)
