"""Keras networks as scikit-learn estimators: KerasClassifier, KerasRegressor and their base."""

from stackfuse._networks.base import NetworkEstimator
from stackfuse._networks.begun_fit import BegunFit
from stackfuse._networks.builder import Builder
from stackfuse._networks.fit_settings import FitSettings
from stackfuse._networks.keras_builder import KerasBuilder
from stackfuse._networks.kinds import NetworkClassifier, NetworkRegressor
from stackfuse._networks.target import Target
from stackfuse._networks.wrappers import KerasClassifier, KerasRegressor

__all__ = [
    "BegunFit",
    "Builder",
    "FitSettings",
    "KerasBuilder",
    "KerasClassifier",
    "KerasRegressor",
    "NetworkClassifier",
    "NetworkEstimator",
    "NetworkRegressor",
    "Target",
]
