"""The imputer by nearest neighbours: the mean of the nearest training rows that have the value."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from sklearn.impute import KNNImputer
from sklearn.metrics import nan_euclidean_distances

from stackfuse._core import NotConvertible
from stackfuse._export.converters.preprocessing.imputing import (
    is_missing,
    with_indicator,
)
from stackfuse._export.converters.shared.nearest import smallest
from stackfuse._export.converters.shared.neighbor_sums import (
    Shares,
    SumOverNeighbors,
    floor_of,
    weights_of,
)
from stackfuse._export.converters.shared.pairwise import (
    are_multiplied,
    kept_rows,
    middle_of,
    sum_over_features,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
    exact_constants,
    table,
)
from stackfuse._export.graph.convert import convert_transformer
from stackfuse._export.graph.frame import (
    columns_of,
    take_columns,
)
from stackfuse._export.tied_neighbors import AveragedKNNImputer, Slack

#: The most rows that are checked for neighbours at equal distances.
_MAX_CHECKED = 200


@convert_transformer(KNNImputer, AveragedKNNImputer)
def _impute(estimator, x):
    if callable(estimator.metric) or callable(estimator.weights):
        raise NotConvertible(
            "KNNImputer with your own function as metric or weights cannot be converted to a "
            "Keras graph. Use metric='nan_euclidean', and weights='uniform' or 'distance'."
        )
    mask = estimator._mask_fit_X
    rows = kept_rows(estimator, np.where(mask, np.nan, estimator._fit_X))
    missing = is_missing(x, estimator.missing_values)
    columns = columns_of(x)
    valid = np.flatnonzero(estimator._valid_mask).tolist()
    if valid:
        donors = _Donors(estimator, ops.where(missing, constant(0, x), x), missing, rows)
        for k in valid:
            if not isinstance(estimator, AveragedKNNImputer):
                _refuse_ties(estimator, rows, k)
            columns[k] = ops.where(missing[:, k : k + 1], donors.mean_of(k), columns[k])
    for k in np.flatnonzero(~estimator._valid_mask):
        columns[k] = ops.zeros_like(columns[k])
    filled = ops.concatenate(columns, axis=1)
    if not estimator.keep_empty_features:
        filled = take_columns(filled, valid)
    return with_indicator(estimator, x, filled)


def _squared_distances(x, missing, rows: np.ndarray):
    """Return squared distances over the features that both rows have, scaled up to all features.

    They are infinite for rows without a common feature; shape (batch, n_rows).

    Parameters
    ----------
    x, missing : KerasTensor of shape (batch, n_features)
        Zero stands where a number is missing.
    rows : ndarray of shape (n_rows, n_features)
        With NaN where a number is missing.
    """
    has, known = ops.cast(ops.logical_not(missing), x.dtype), ~np.isnan(rows)
    common = affine(has, known.astype(np.float64), 0.0)
    if are_multiplied(rows):
        middle = middle_of(np.nan_to_num(rows))
        x = (x - exact_constants(x, middle)[0]) * has
        rows = np.where(known, rows - middle, 0.0)
        # (x - row)**2, where both are known, as a product of a part of x and a part of the row.
        of_x = ops.concatenate([ops.square(x), x, has], axis=1)
        total = affine(of_x, np.hstack([known, -2.0 * rows, rows**2]), 0.0)
        total = ops.maximum(total, constant(0, x))
    else:
        x = ops.where(missing, exact_constants(x, np.full(x.shape[1], np.nan))[0], x)

        def term(a, b):
            square = ops.square(a - b)
            return ops.where(ops.isnan(square), constant(0, x), square)

        total = sum_over_features(x, rows, term)
    none = ops.equal(common, constant(0, x))
    mean = total / ops.where(none, constant(1, x), common)
    return ops.where(none, exact_constants(x, np.inf)[0], mean * constant(x.shape[1], x))


class _Donors:
    """The training rows from which missing values are taken, for one column after the other.

    Columns that the same rows have a value in share the search.
    """

    def __init__(self, estimator, x, missing, rows: np.ndarray):
        self.estimator, self.x, self.rows = estimator, x, rows
        self.squares = _squared_distances(x, missing, rows)
        self.found: dict[bytes, Any] = {}
        if isinstance(estimator, AveragedKNNImputer):
            slack = Slack.of(rows, euclidean=True, in_tree=False)
            self.floor = floor_of(slack, x, multiplied=are_multiplied(rows))

    def mean_of(self, column: int):
        """Return the mean of the nearest rows that have a value in a column, shape (batch, 1)."""
        values = self.rows[:, column]
        has_value = ~np.isnan(values)
        key = has_value.tobytes()
        if key not in self.found:
            self.found[key] = self._search(np.flatnonzero(has_value))
        sums = self.found[key](values[has_value, None])
        none = ops.equal(sums.weight, constant(0, self.squares))  # nothing in common with any row
        mean = sums.total / ops.where(none, constant(1, self.squares), sums.weight)
        usual = exact_constants(self.squares, values[has_value].mean())[0]
        return ops.where(none, usual, mean)

    def _search(self, donors: np.ndarray) -> Callable[[np.ndarray], SumOverNeighbors]:
        """Find the nearest donors; return a function from their values to sums over them."""
        every = self.squares
        if len(donors) < len(self.rows):
            every = ops.take(every, donors.tolist(), axis=1)
        k = min(int(self.estimator.n_neighbors), len(donors))
        squares, places = smallest(every, k)
        if isinstance(self.estimator, AveragedKNNImputer):
            last = ops.max(squares, axis=1, keepdims=True)
            return Shares.of(self.estimator, every, last, self.floor, k, 2.0).sums
        zero, one = constant(0, squares), constant(1, squares)
        is_far = ops.less(constant(np.finfo(squares.dtype).max, squares), squares)
        weights = weights_of(self.estimator, ops.where(is_far, one, squares), 2.0)
        weights = ops.where(is_far, zero, weights)
        weight = ops.sum(weights, axis=1, keepdims=True)

        def sums(values: np.ndarray) -> SumOverNeighbors:
            chosen = ops.reshape(table(values, squares.dtype)(places), (-1, k))
            return SumOverNeighbors(ops.sum(chosen * weights, axis=1, keepdims=True), weight)

        return sums


def _refuse_ties(estimator, rows: np.ndarray, column: int) -> None:
    """Raise if training rows have neighbours at equal distances, among which chance decides."""
    donors = rows[~np.isnan(rows[:, column])]
    n_neighbors = estimator.n_neighbors
    asked = rows[:_MAX_CHECKED].copy()
    asked[:, column] = np.nan
    asked = asked[~np.isnan(asked).all(axis=1)]
    if len(donors) <= n_neighbors or not len(asked):
        return
    rounding = 1e-12 * np.nanmax(rows**2)
    for row, squares in zip(asked, nan_euclidean_distances(asked, donors, squared=True)):
        squares = np.nan_to_num(squares, nan=np.inf)
        last = np.partition(squares, n_neighbors - 1)[n_neighbors - 1]
        tied = donors[(squares >= last - rounding) & (squares <= last + rounding), column]
        is_choice = np.sum(squares <= last + rounding) > n_neighbors and np.isfinite(last)
        if is_choice and np.ptp(tied) > 0:
            raise NotConvertible(
                "KNNImputer has to choose between neighbours at the same distance, in column "
                f"{column} of a row like {row.tolist()}. scikit-learn leaves the choice to "
                "chance. Average over the tied neighbours: ties='average'."
            )
