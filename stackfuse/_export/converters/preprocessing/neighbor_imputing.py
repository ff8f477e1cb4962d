"""The imputer by nearest neighbours: the mean of the nearest training rows that have the value."""

import numpy as np
from keras import ops
from sklearn.impute import KNNImputer
from sklearn.metrics import nan_euclidean_distances

from stackfuse._core import NotConvertible
from stackfuse._export.converters.preprocessing.imputing import (
    is_missing,
    with_indicator,
)
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
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

#: The most rows that are checked for neighbours at equal distances.
_MAX_CHECKED = 200


@convert_transformer(KNNImputer)
def _impute(estimator, x):
    if callable(estimator.metric) or callable(estimator.weights):
        raise NotConvertible(
            "KNNImputer with a function of yours as metric or weights has no counterpart in the "
            "graph: use metric='nan_euclidean' and weights 'uniform' or 'distance'."
        )
    mask = estimator._mask_fit_X
    rows = kept_rows(estimator, np.where(mask, np.nan, estimator._fit_X))
    missing = is_missing(x, estimator.missing_values)
    squares = _squared_distances(x, missing, rows)
    columns = columns_of(x)
    for k in np.flatnonzero(estimator._valid_mask):
        _refuse_ties(estimator, rows, int(k))
        y = _from_donors(estimator, squares, rows[:, k])
        columns[k] = ops.where(missing[:, k : k + 1], y, columns[k])
    for k in np.flatnonzero(~estimator._valid_mask):
        columns[k] = ops.zeros_like(columns[k])
    filled = ops.concatenate(columns, axis=1)
    if not estimator.keep_empty_features:
        filled = take_columns(filled, np.flatnonzero(estimator._valid_mask).tolist())
    return with_indicator(estimator, x, filled)


def _squared_distances(x, missing, rows: np.ndarray):
    """Return squared distances over the features that both rows have, scaled up to all features.

    They are infinite for rows without a common feature; shape (batch, n_rows).
    """
    present = ops.cast(ops.logical_not(missing), x.dtype)
    x = ops.where(missing, exact_constants(x, np.full(x.shape[1], np.nan))[0], x)

    def term(a, b):
        square = ops.square(a - b)
        return ops.where(ops.isnan(square), constant(0, x), square)

    common = affine(present, (~np.isnan(rows)).astype(np.float64), 0.0)
    none = ops.equal(common, constant(0, x))
    mean = sum_over_features(x, rows, term) / ops.where(none, constant(1, x), common)
    return ops.where(none, exact_constants(x, np.inf)[0], mean * constant(x.shape[1], x))


def _from_donors(estimator, squares, values: np.ndarray):
    """Return the mean of the nearest rows that have a value, shape (batch, 1)."""
    donors = np.flatnonzero(~np.isnan(values))
    squares = ops.take(squares, donors.tolist(), axis=1)
    n_neighbors = min(int(estimator.n_neighbors), len(donors))
    nearest, places = ops.top_k(-squares, n_neighbors)
    zero, one = constant(0, squares), constant(1, squares)
    is_far = ops.less(nearest, constant(np.finfo(squares.dtype).min, squares))
    weights = ops.where(is_far, zero, one)
    if estimator.weights == "distance":
        same = ops.equal(nearest, zero)
        inverse = 1 / ops.sqrt(ops.where(same, one, -nearest))
        # Where a donor is at the same place, only such donors count.
        weights = ops.where(
            ops.any(same, axis=1, keepdims=True), ops.where(same, one, zero), inverse
        )
    chosen = ops.reshape(table(values[donors, None], squares.dtype)(places), (-1, n_neighbors))
    total = ops.sum(weights, axis=1, keepdims=True)
    none = ops.equal(total, zero)  # nothing in common with any row
    mean = ops.sum(chosen * weights, axis=1, keepdims=True) / ops.where(none, one, total)
    return ops.where(none, exact_constants(squares, values[donors].mean())[0], mean)


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
                f"KNNImputer has to choose among neighbours at equal distances (in column {column} "
                f"of a row like {row.tolist()}), and scikit-learn leaves the choice to chance. "
                "Scale the features by factors of their own, or take an IterativeImputer."
            )
