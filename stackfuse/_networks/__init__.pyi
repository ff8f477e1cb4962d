from .base import BegunFit, NetworkEstimator
from .kinds import NetworkClassifier, NetworkRegressor
from .wrappers import KerasClassifier, KerasRegressor

__all__ = [
    "BegunFit",
    "KerasClassifier",
    "KerasRegressor",
    "NetworkClassifier",
    "NetworkEstimator",
    "NetworkRegressor",
]
