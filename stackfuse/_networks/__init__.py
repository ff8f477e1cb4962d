"""KerasClassifier and KerasRegressor."""

from stackfuse._networks.base import BegunFit, NetworkEstimator
from stackfuse._networks.kinds import NetworkClassifier, NetworkRegressor
from stackfuse._networks.wrappers import KerasClassifier, KerasRegressor

__all__ = [
    "BegunFit",
    "KerasClassifier",
    "KerasRegressor",
    "NetworkClassifier",
    "NetworkEstimator",
    "NetworkRegressor",
]
