"""KerasClassifier and KerasRegressor."""

from stackfuse._networks.base import NetworkEstimator
from stackfuse._networks.kinds import NetworkClassifier, NetworkRegressor
from stackfuse._networks.wrappers import KerasClassifier, KerasRegressor

__all__ = [
    "KerasClassifier",
    "KerasRegressor",
    "NetworkClassifier",
    "NetworkEstimator",
    "NetworkRegressor",
]
