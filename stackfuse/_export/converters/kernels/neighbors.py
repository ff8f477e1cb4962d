"""Nearest neighbours and centroids.

The graph takes the first of the training rows at equal distances. scikit-learn takes the rows that
its search finds first, which depends on the tree and on the number of threads. If the targets of
such rows differ, the estimator raises NotConvertible, unless all of the rows are to count.
"""

from typing import Any

import numpy as np
from keras import ops
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

from stackfuse._core import NotConvertible
from stackfuse._export.converters.linear.discriminant import from_log_posterior
from stackfuse._export.converters.shared.nearest import (
    MORE,
    Distances,
    distances_of,
    nearest,
    rounding_of,
)
from stackfuse._export.converters.shared.neighbor_sums import (
    Shares,
    SumOverNeighbors,
    floor_of,
    weights_of,
)
from stackfuse._export.converters.shared.pairwise import (
    nearest_center,
    nearness_in_float32,
    reduced_distances,
    squared_distances,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    exact_constants,
    first_largest,
    table,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.masks import refuse_rows
from stackfuse._export.tied_neighbors import (
    AveragedKNeighborsClassifier,
    AveragedKNeighborsRegressor,
    classes_by_output,
    one_hot,
    slack_of,
    split_by_output,
)

#: The most training rows that are checked for neighbours at equal distances.
_MAX_CHECKED = 2000


def sum_over_nearest(estimator, x, values: np.ndarray) -> SumOverNeighbors:
    """Return the sum of the nearest neighbours' values.

    Parameters
    ----------
    estimator : estimator with ``kneighbors``
        Its ``weights``, if it has any, weigh the neighbours.
    x : KerasTensor of shape (batch, n_features)
    values : ndarray of shape (n_rows, n_columns)
        The values of the training rows.
    """
    distances = distances_of(estimator, x)
    if isinstance(estimator, AveragedKNeighborsClassifier | AveragedKNeighborsRegressor):
        return _shares(estimator, distances).sums(values)
    refuse_ties(estimator, values)
    refuse_crowds(estimator, distances, values)
    reduced, places = nearest(distances, estimator.n_neighbors)
    weights = ops.expand_dims(weights_of(estimator, reduced, distances.power), 2)
    chosen = table(values, x.dtype)(places)
    return SumOverNeighbors(ops.sum(chosen * weights, axis=1), ops.sum(weights, axis=1))


def _shares(estimator, distances: Distances) -> Shares:
    """Return how much each training row counts where equally far ones share."""
    slack, k = slack_of(estimator, distances.rows), estimator.n_neighbors
    last = ops.max(nearest(distances, k)[0], axis=1, keepdims=True)
    floor = floor_of(slack, distances.x, multiplied=distances.are_multiplied)
    return Shares.of(estimator, distances.reduced, last, floor, k, distances.power)


def refuse_ties(estimator, values: np.ndarray) -> None:
    """Raise if training rows have neighbours at equal distances, among which chance decides."""
    rows, n_neighbors = estimator._fit_X, estimator.n_neighbors
    n_seen = min(rows.shape[0], 2 * n_neighbors + 10)
    if n_seen <= n_neighbors:
        return
    distances, places = estimator.kneighbors(rows[:_MAX_CHECKED], n_seen)
    last = distances[:, n_neighbors - 1 : n_neighbors]
    spread = 1e-9 * distances[:, -1:]  # rounding may separate equal distances by this
    equal = np.abs(distances - last) <= spread
    for row in np.flatnonzero(equal[:, n_neighbors]):
        goes_on = equal[row, -1] and n_seen < rows.shape[0]
        if goes_on or np.ptp(values[places[row, equal[row]]], axis=0).any():
            raise NotConvertible(
                f"{type(estimator).__name__} has to choose between the neighbours {n_neighbors} "
                f"and {n_neighbors + 1} of training row {row}. They are equally far and have "
                "different targets, so scikit-learn's choice depends on how it searches. "
                + (
                    "Average over the tied neighbours: ties='average'."
                    if isinstance(estimator, KNeighborsClassifier | KNeighborsRegressor)
                    else "Scale each feature by another factor."
                )
            )


def refuse_crowds(estimator, distances: Distances, values: np.ndarray) -> None:
    """Raise if more training rows are too near together than are looked at a second time.

    Too near for distances that come from a product of matrices.
    """
    n_seen = estimator.n_neighbors + MORE + 1
    if not distances.are_multiplied or n_seen > len(distances.rows):
        return
    found, places = estimator.kneighbors(distances.rows[:_MAX_CHECKED], n_seen)
    squares = found**2
    last = squares[:, estimator.n_neighbors - 1 : estimator.n_neighbors]
    lost = rounding_of(distances)
    for row in np.flatnonzero(squares[:, -1] - last[:, 0] <= lost):
        if np.ptp(values[places[row, squares[row] >= last[row] - lost]], axis=0).any():
            raise NotConvertible(
                f"{type(estimator).__name__} has {MORE} or more training rows with different "
                f"targets at nearly the same distance from training row {row}. Rounding decides "
                "between them. Scale the features, for example with a StandardScaler, or average "
                "over the tied neighbours: ties='average'."
            )


def sum_within_radius(estimator, x, values: np.ndarray) -> SumOverNeighbors:
    """Return the sum of values of the training rows within the radius.

    See :func:`sum_over_nearest`.
    """
    distances = distances_of(estimator, x)
    reduced, power = distances.reduced, distances.power
    # As scikit-learn does, without taking roots.
    inside = ops.less_equal(reduced, constant(float(estimator.radius) ** power, x))
    far = constant(np.finfo(x.dtype).max, x)
    weights = weights_of(estimator, ops.where(inside, reduced, far), power)
    weights = ops.where(inside, weights, constant(0, x))
    total = affine(weights, values.T, 0.0)
    return SumOverNeighbors(total, ops.sum(weights, axis=1, keepdims=True))


@converter_for(KNeighborsRegressor, AveragedKNeighborsRegressor, RadiusNeighborsRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = np.asarray(estimator._y, np.float64)
    add_up = sum_over_nearest if isinstance(estimator, KNeighborsRegressor) else sum_within_radius
    found = add_up(estimator, x, y.reshape(len(y), -1))
    mean = found.total / found.weight  # without neighbours NaN, as in scikit-learn
    return as_vector(mean) if y.ndim == 1 else mean


@converter_for(KNeighborsClassifier, AveragedKNeighborsClassifier)
def _classifier(estimator, x, method):
    return _from_votes(estimator, split_by_output(estimator, _votes(estimator, x)), method)


@once
def _votes(estimator, x):
    """Return the weighed votes for the classes of all outputs."""
    return sum_over_nearest(estimator, x, one_hot(estimator)).total


@converter_for(RadiusNeighborsClassifier)
def _radius_classifier(estimator, x, method):
    return _from_votes(estimator, _radius_votes(estimator, x), method)


@once
def _radius_votes(estimator, x):
    """Return the weighed votes for the classes of each output."""
    votes = sum_within_radius(estimator, x, one_hot(estimator))
    alone = ops.equal(votes.weight, constant(0, x))
    columns = split_by_output(estimator, votes.total)
    labels = estimator.outlier_label_
    if labels is None:  # scikit-learn raises
        refuse_rows(alone)
        return columns
    return [
        ops.where(alone, exact_constants(x, _votes_of_outliers(classes, label))[0], column)
        for column, classes, label in zip(columns, classes_by_output(estimator), labels)
    ]


def _votes_of_outliers(classes: np.ndarray, label) -> np.ndarray:
    """Return the votes of a row without neighbours."""
    if label not in classes:
        raise NotConvertible(
            f"RadiusNeighborsClassifier predicts the outlier_label {label!r}, which is not a "
            "class of the training rows. Use one of the classes, or 'most_frequent'."
        )
    return (classes == label).astype(np.float64)


def _from_votes(estimator, columns: list[Any], method: str):
    if method == "label":
        labels = [first_largest(votes) for votes in columns]
        return ops.stack(labels, axis=1) if estimator.outputs_2d_ else labels[0]
    if method != "predict_proba":
        raise unsupported(estimator, method)
    shares = [votes / ops.sum(votes, axis=1, keepdims=True) for votes in columns]
    return shares if estimator.outputs_2d_ else shares[0]


@converter_for(NearestCentroid)
def _nearest_centroid(estimator, x, method):
    centroids, priors = estimator.centroids_, estimator.class_prior_
    if method == "label" and np.isclose(priors, 1 / len(priors)).all():
        if estimator.metric == "euclidean":
            return nearest_center(x, centroids, whole_squares=True)
        reduced, _ = reduced_distances(estimator, x, centroids, estimator.metric, {})
        return first_largest(ops.negative(reduced))
    spread = estimator.within_class_std_dev_
    spread = np.where(spread == 0, 1.0, spread)
    scaled = x / exact_constants(x, spread)[0]
    if estimator.metric == "euclidean" and x.dtype == "float32" and method != "decision_function":
        squares = ops.negative(nearness_in_float32(scaled, centroids / spread))
    elif estimator.metric == "euclidean":
        squares = squared_distances(scaled, centroids / spread)
    else:
        reduced, _ = reduced_distances(estimator, scaled, centroids / spread, "manhattan", {})
        squares = ops.square(reduced)
    with np.errstate(divide="ignore"):
        scores = 2.0 * exact_constants(x, np.log(priors))[0] - squares
    return from_log_posterior(estimator, scores, method)
