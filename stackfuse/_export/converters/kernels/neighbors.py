"""Nearest neighbours and centroids.

Of training rows at equal distances the graph takes the first ones. scikit-learn takes those that
its search finds first, which depends on the tree and on the number of threads. An estimator with
such training rows is refused if their targets differ.
"""

from dataclasses import dataclass
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
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
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

#: The most training rows that are checked for neighbours at equal distances.
_MAX_CHECKED = 2000


@dataclass(frozen=True)
class SumOverNeighbors:
    """Sums over the neighbours of each row.

    Attributes
    ----------
    total : KerasTensor of shape (batch, n_columns)
        The sum of their values times their weights.
    weight : KerasTensor of shape (batch, 1)
        The sum of their weights.
    """

    total: Any
    weight: Any


def reduced_distances_of(estimator, x):
    """Return reduced distances to the training rows, and the exponent; see reduced_distances."""
    rows = kept_rows(estimator, estimator._fit_X)
    metric, parameters = estimator.effective_metric_, estimator.effective_metric_params_
    return reduced_distances(estimator, x, rows, metric, parameters)


def sum_over_nearest(estimator, x, values: np.ndarray) -> SumOverNeighbors:
    """Return the sum of the nearest neighbours' values.

    Parameters
    ----------
    estimator : estimator with ``kneighbors``
        Its ``weights``, if it has any, weigh the neighbours.
    x : KerasTensor of shape (batch, n_features)
    values : ndarray of shape (n_rows, n_columns)
        Of the training rows.
    """
    reduced, power = reduced_distances_of(estimator, x)
    refuse_ties(estimator, values)
    largest, places = ops.top_k(ops.negative(reduced), estimator.n_neighbors)
    weights = ops.expand_dims(_weights(estimator, ops.negative(largest), power), 2)
    chosen = table(values, x.dtype)(places)
    return SumOverNeighbors(ops.sum(chosen * weights, axis=1), ops.sum(weights, axis=1))


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
                f"{type(estimator).__name__} has to choose among neighbours at equal distances "
                f"(of training row {row} the neighbours {n_neighbors} and {n_neighbors + 1}, with "
                "different targets), and scikit-learn's choice depends on how it searches. Scale "
                "the features by factors of their own, or take radius neighbours."
            )


def sum_within_radius(estimator, x, values: np.ndarray) -> SumOverNeighbors:
    """Return the sum of values of the training rows within the radius.

    See :func:`sum_over_nearest`.
    """
    reduced, power = reduced_distances_of(estimator, x)
    # As scikit-learn does, without taking roots.
    inside = ops.less_equal(reduced, constant(float(estimator.radius) ** power, x))
    far = constant(np.finfo(x.dtype).max, x)
    weights = _weights(estimator, ops.where(inside, reduced, far), power)
    weights = ops.where(inside, weights, constant(0, x))
    total = affine(weights, values.T, 0.0)
    return SumOverNeighbors(total, ops.sum(weights, axis=1, keepdims=True))


def _weights(estimator, reduced, power: float):
    """Return the neighbours' weights, of the shape of their distances."""
    kind = getattr(estimator, "weights", "uniform")
    if kind in (None, "uniform"):
        return ops.ones_like(reduced)
    if callable(kind):
        raise NotConvertible(
            f"{type(estimator).__name__} weighs neighbours by a function of yours: use "
            "weights='uniform' or weights='distance'."
        )
    distances = {1.0: reduced, 2.0: ops.sqrt(reduced)}.get(power)
    if distances is None:
        distances = ops.power(reduced, constant(1 / power, reduced))
    zero, one = constant(0, reduced), constant(1, reduced)
    same = ops.equal(distances, zero)
    inverse = 1 / ops.where(same, one, distances)
    # Where x is a training row, only rows equal to it count.
    return ops.where(ops.any(same, axis=1, keepdims=True), ops.where(same, one, zero), inverse)


@converter_for(KNeighborsRegressor, RadiusNeighborsRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = np.asarray(estimator._y, np.float64)
    add_up = sum_over_nearest if isinstance(estimator, KNeighborsRegressor) else sum_within_radius
    found = add_up(estimator, x, y.reshape(len(y), -1))
    mean = found.total / found.weight  # without neighbours NaN, as in scikit-learn
    return as_vector(mean) if y.ndim == 1 else mean


@converter_for(KNeighborsClassifier)
def _classifier(estimator, x, method):
    return _from_votes(estimator, _split_by_output(estimator, _votes(estimator, x)), method)


@once
def _votes(estimator, x):
    """Return the weighed votes for the classes of all outputs."""
    return sum_over_nearest(estimator, x, _one_hot(estimator)).total


@converter_for(RadiusNeighborsClassifier)
def _radius_classifier(estimator, x, method):
    return _from_votes(estimator, _radius_votes(estimator, x), method)


@once
def _radius_votes(estimator, x):
    """Return the weighed votes for the classes of each output."""
    votes = sum_within_radius(estimator, x, _one_hot(estimator))
    alone = ops.equal(votes.weight, constant(0, x))
    columns = _split_by_output(estimator, votes.total)
    labels = estimator.outlier_label_
    if labels is None:  # scikit-learn raises
        refuse_rows(alone)
        return columns
    return [
        ops.where(alone, exact_constants(x, _votes_of_outliers(classes, label))[0], column)
        for column, classes, label in zip(columns, _classes_by_output(estimator), labels)
    ]


def _votes_of_outliers(classes: np.ndarray, label) -> np.ndarray:
    """Return the votes of a row without neighbours."""
    if label not in classes:
        raise NotConvertible(
            f"RadiusNeighborsClassifier predicts the outlier_label {label!r}, which is no class of "
            "the training rows and so has no number. Give one of the classes, or 'most_frequent'."
        )
    return (classes == label).astype(np.float64)


def _classes_by_output(estimator) -> list[np.ndarray]:
    return estimator.classes_ if estimator.outputs_2d_ else [estimator.classes_]


def _one_hot(estimator) -> np.ndarray:
    """Return the classes of the training rows, all outputs side by side."""
    numbers = estimator._y.reshape(len(estimator._y), -1)
    blocks = [np.eye(len(c))[numbers[:, k]] for k, c in enumerate(_classes_by_output(estimator))]
    return np.hstack(blocks)


def _split_by_output(estimator, votes) -> list[Any]:
    stops = np.cumsum([len(c) for c in _classes_by_output(estimator)])
    return [votes[:, stop - len(c) : stop] for c, stop in zip(_classes_by_output(estimator), stops)]


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
        reduced, _ = reduced_distances(estimator, x, centroids, estimator.metric, {})
        return first_largest(ops.negative(reduced))
    spread = estimator.within_class_std_dev_
    spread = np.where(spread == 0, 1.0, spread)
    scaled = x / exact_constants(x, spread)[0]
    if estimator.metric == "euclidean":
        squares = squared_distances(scaled, centroids / spread)
    else:
        reduced, _ = reduced_distances(estimator, scaled, centroids / spread, "manhattan", {})
        squares = ops.square(reduced)
    with np.errstate(divide="ignore"):
        scores = 2.0 * exact_constants(x, np.log(priors))[0] - squares
    return from_log_posterior(estimator, scores, method)
