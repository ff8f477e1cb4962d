"""Transformers that make several columns of one: splines, bins, thresholds and polynomials."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import factorial

import numpy as np
from keras import ops
from sklearn.preprocessing import Binarizer, KBinsDiscretizer, PolynomialFeatures, SplineTransformer

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.intervals import (
    count_reached,
    rows_at,
)
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
)
from stackfuse._export.graph.convert import convert_transformer
from stackfuse._export.graph.masks import refuse_rows


@convert_transformer(SplineTransformer)
def _splines(estimator, x):
    features = list(_features(estimator))
    misses_are_zeros = estimator.handle_missing == "zeros"
    numbers = x
    if estimator.extrapolation == "constant":  # infinity times zero is not zero
        largest = constant(np.finfo(x.dtype).max, x)
        numbers = ops.minimum(ops.maximum(numbers, -largest), largest)
    if estimator.extrapolation == "periodic":
        first, period = exact_constants(x, *np.array([f.period() for f in features]).T)
        numbers = first + ops.mod(numbers - first, period)
    place = count_reached(numbers, [feature.starts for feature in features])
    row = rows_at(place, [feature.rows for feature in features], x)
    n_splines = features[0].n_splines
    y = _evaluate_polynomials(ops.expand_dims(numbers, 2) - row[:, :, :1], row[:, :, 1:], n_splines)
    if misses_are_zeros:
        y = ops.where(ops.isnan(ops.expand_dims(x, 2)), constant(0, x), y)
    y = y if estimator.include_bias else y[:, :, :-1]
    y = ops.reshape(y, (-1, len(features) * y.shape[2]))
    if estimator.extrapolation == "error" or estimator.degree == 0:
        refuse_rows(ops.isnan(y))
    return y


def _evaluate_polynomials(distance, coefficients, n_splines: int):
    """Evaluate polynomials from their coefficients, the highest power first.

    Returns a tensor of shape (batch, n_features, n_splines).
    """
    n_powers = coefficients.shape[2] // n_splines
    y = coefficients[:, :, :n_splines]
    for k in range(1, n_powers):
        y = y * distance + coefficients[:, :, k * n_splines : (k + 1) * n_splines]
    return y


@dataclass(frozen=True)
class _Feature:
    """The splines of one feature.

    Attributes
    ----------
    starts : ndarray of shape (n_pieces - 1,)
        Where each piece but the first starts.
    rows : ndarray of shape (n_pieces, 1 + n_powers * n_splines)
        The origin of the distance, then the coefficients, the highest power first.
    n_splines : int
    knots : ndarray
    degree : int
    """

    starts: np.ndarray
    rows: np.ndarray
    n_splines: int
    knots: np.ndarray
    degree: int

    def period(self) -> tuple[float, float]:
        """Return where a period starts, and its length."""
        first, last = self.knots[self.degree], self.knots[-self.degree - 1]
        if not last > first:
            raise NotConvertible(
                "SplineTransformer with extrapolation='periodic' was fitted on a column of one "
                "value, which has no period. Leave the column out."
            )
        return first, last - first


def _features(estimator) -> Iterator[_Feature]:
    """Yield the pieces of each feature's splines: below the knots, between them, and above."""
    degree = estimator.degree
    for spline in estimator.bsplines_:
        knots = spline.t
        inner = knots[estimator.degree : len(knots) - estimator.degree]
        starts, rows = inner[1:], [_taylor_piece(spline, knot) for knot in inner]
        if estimator.extrapolation not in ("continue", "periodic"):
            low, high = knots[degree], knots[-degree - 1]
            if low > high:
                raise NotConvertible(
                    "SplineTransformer(extrapolation='linear') with degree 0 or 1 uses wrong "
                    "knots for all columns but the first, and here they cross. Set n_knots=5 or "
                    "more."
                )
            within = np.flatnonzero((low < inner) & (inner <= high))
            first = int(np.searchsorted(inner, low, side="right")) - 1
            below, above = _pieces_beyond_knots(estimator, spline, low, high, degree)
            # The last knot itself is inside.
            starts = np.r_[low, inner[within], np.nextafter(high, np.inf)]
            rows = [below, *(rows[k] for k in (first, *within)), above]
            if estimator.extrapolation == "linear" and degree <= 1:
                degree += 1  # as scikit-learn does, for the columns that follow too
        yield _Feature(starts, np.array(rows), spline.c.shape[1], knots, estimator.degree)


def _n_powers(spline) -> int:
    """Return the number of coefficients of a piece; beyond the ends it may be a line."""
    return max(spline.k, 1) + 1


def _taylor_piece(spline, knot: float) -> np.ndarray:
    """Return the row of the piece that starts at a knot: Taylor's polynomial there."""
    powers = range(_n_powers(spline))[::-1]
    return np.concatenate([[knot], *(spline(knot, nu=k) / factorial(k) for k in powers)])


def _pieces_beyond_knots(
    estimator, spline, low, high, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the pieces below and above the range of the training rows.

    They reproduce scikit-learn, with its oddities for degrees below 2.
    """
    n_splines = spline.c.shape[1]
    below = np.zeros((_n_powers(spline), n_splines))
    above = np.zeros_like(below)
    if estimator.extrapolation == "error":
        below[-1] = above[-1] = np.nan
    elif estimator.extrapolation == "constant":
        below[-1, :degree] = spline(low)[:degree]
        above[-1, n_splines - degree :] = spline(high)[n_splines - degree :]
        if degree == 0 and estimator.sparse_output:
            above[-1] = spline(high)
        elif degree == 0 and n_splines > 1:  # where scikit-learn raises
            above[-1] = np.nan
    else:
        n_ends = degree + 1 if degree <= 1 else degree
        for near, far in zip(range(n_ends), range(n_splines)[::-1]):
            below[-2:, near] = spline(low, nu=1)[near], spline(low)[near]
            above[-2:, far] = spline(high, nu=1)[far], spline(high)[far]
    return np.r_[low, below.ravel()], np.r_[high, above.ravel()]


# Bins, and numbers above a threshold.


def _edges_of_binarizer(estimator) -> np.ndarray:
    columns = np.arange(estimator.n_features_in_)
    return np.column_stack([columns, np.full(len(columns), estimator.threshold)])


@convert_transformer(Binarizer, edges=_edges_of_binarizer)
def _binarizer(estimator, x):
    # A number above the threshold has reached the next float.
    above = np.nextafter(float(estimator.threshold), np.inf)
    return ops.cast(count_reached(x, [np.array([above])] * x.shape[1]), x.dtype)


def _edges_of_bins(estimator) -> np.ndarray:
    inner = [edges[1:-1] for edges in estimator.bin_edges_]
    columns = np.repeat(np.arange(len(inner)), [len(edges) for edges in inner])
    return np.column_stack([columns, np.concatenate(inner)])


@convert_transformer(KBinsDiscretizer, edges=_edges_of_bins)
def _k_bins(estimator, x):
    if estimator.dtype is not None and np.dtype(estimator.dtype) == np.float32:
        x = ops.cast(ops.cast(x, "float32"), x.dtype)
    bins = count_reached(x, [edges[1:-1] for edges in estimator.bin_edges_])
    if estimator.encode == "ordinal":
        return ops.cast(bins, x.dtype)
    n_bins = [int(n) for n in estimator.n_bins_]
    feature = np.repeat(np.arange(len(n_bins)), n_bins).tolist()
    number = np.concatenate([np.arange(n, dtype=np.int32) for n in n_bins])
    hits = ops.equal(ops.take(bins, feature, axis=1), number)
    return ops.cast(hits, x.dtype)


# Products of features: one of a degree less, times one more feature.


@convert_transformer(PolynomialFeatures)
def _polynomial(estimator, x):
    lowest, highest = estimator._min_degree, estimator._max_degree
    chosen = combinations if estimator.interaction_only else combinations_with_replacement
    blocks = [ops.ones_like(x[:, :1])] if estimator.include_bias else []
    powers = x
    places: dict[tuple[int, ...], int] = {(k,): k for k in range(x.shape[1])}
    for degree in range(1, highest + 1):
        if degree > 1:
            products = list(chosen(range(x.shape[1]), degree))
            if not products:
                break
            # In the order in which scikit-learn multiplies, to the last bit.
            rest = ops.take(powers, [places[product[1:]] for product in products], axis=1)
            powers = rest * ops.take(x, [product[0] for product in products], axis=1)
            places = {product: k for k, product in enumerate(products)}
        if degree >= lowest:
            blocks.append(powers)
    if not blocks:
        raise NotConvertible(
            "PolynomialFeatures returns no columns. Leave it out, or choose another degree."
        )
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)
