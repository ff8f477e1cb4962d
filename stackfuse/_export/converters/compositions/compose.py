"""Estimators around one estimator: pipelines, searches, selections, transformed targets."""

import numpy as np
from keras import ops
from sklearn.compose import TransformedTargetRegressor
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.converters.compositions.inverses import inverse_of
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)
from stackfuse._export.graph.frame import take_columns


@converter_for(Pipeline, frames=True)
def _pipeline(estimator, x, method):
    *transformers, last = (step for _, step in estimator.steps)
    return through_steps(transformers, last, x, method)


def through_steps(transformers: list, last, x, method: str):
    """Return the output of a pipeline's last step for x, after the transformers before it."""
    for transformer in transformers:
        if transformer not in (None, "passthrough"):
            x = convert(transformer, x, "transform")
    return x if last in (None, "passthrough") else convert(last, x, method)


@converter_for(FrozenEstimator, frames=True)
def _frozen(estimator, x, method):
    return convert(estimator.estimator, x, method)


@converter_for(sklearn_private.BaseSearchCV, frames=True)
def _search(estimator, x, method):
    if not hasattr(estimator, "best_estimator_"):
        raise NotConvertible(
            f"{type(estimator).__name__} with refit=False keeps no estimator to convert. Fit "
            "it with refit=True."
        )
    return convert(estimator.best_estimator_, x, method)


@converter_for(SelfTrainingClassifier)
def _self_training(estimator, x, method):
    return convert(estimator.estimator_, x, method)


@converter_for(RFE)
def _selected(estimator, x, method):
    chosen = take_columns(x, np.flatnonzero(estimator.support_).tolist())
    return chosen if method == "transform" else convert(estimator.estimator_, chosen, method)


@converter_for(TransformedTargetRegressor, frames=True)
def _transformed_target(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = convert(estimator.regressor_, x, method)
    y = ops.reshape(y, (-1, 1)) if len(y.shape) == 1 else y
    y = inverse_of(estimator.transformer_, y)
    return y[:, 0] if estimator._training_dim == 1 and y.shape[1] == 1 else y
