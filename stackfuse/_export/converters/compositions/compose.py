"""Estimators around one estimator: pipelines, searches, selections, transformed targets."""

import numpy as np
from keras import ops
from sklearn.compose import TransformedTargetRegressor
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.converters.shared import numpy_functions
from stackfuse._export.graph.arithmetic import exact_constants
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
    y = _inverse(estimator.transformer_, y)
    return y[:, 0] if estimator._training_dim == 1 and y.shape[1] == 1 else y


def _inverse(transformer, y):
    """Return y after a transformer's ``inverse_transform``."""
    if isinstance(transformer, Pipeline):
        for _, step in reversed(transformer.steps):
            y = y if step in (None, "passthrough") else _inverse(step, y)
        return y
    inverse = _INVERSES.get(type(transformer))
    if inverse is None:
        raise NotConvertible(
            f"The inverse of {type(transformer).__name__} cannot be converted to a Keras graph. "
            "Use a scaler or numpy functions as transformer of TransformedTargetRegressor."
        )
    return inverse(transformer, y)


def _inverse_of_function(transformer, y):
    if transformer.inverse_func is None:
        return y
    used_by = "TransformedTargetRegressor, which turns predictions back,"
    settings = transformer.inv_kw_args
    return numpy_functions.apply(transformer.inverse_func, y, settings, used_by=used_by)


def _inverse_of_standard(scaler, y):
    y = y * exact_constants(y, scaler.scale_)[0] if scaler.with_std else y
    return y + exact_constants(y, scaler.mean_)[0] if scaler.with_mean else y


def _inverse_of_robust(scaler, y):
    y = y * exact_constants(y, scaler.scale_)[0] if scaler.with_scaling else y
    return y + exact_constants(y, scaler.center_)[0] if scaler.with_centering else y


def _inverse_of_min_max(scaler, y):
    return (y - exact_constants(y, scaler.min_)[0]) / exact_constants(y, scaler.scale_)[0]


def _inverse_of_max_abs(scaler, y):
    return y * exact_constants(y, scaler.scale_)[0]


#: The inverses of transformers of targets.
_INVERSES = {
    FunctionTransformer: _inverse_of_function,
    StandardScaler: _inverse_of_standard,
    RobustScaler: _inverse_of_robust,
    MinMaxScaler: _inverse_of_min_max,
    MaxAbsScaler: _inverse_of_max_abs,
}
