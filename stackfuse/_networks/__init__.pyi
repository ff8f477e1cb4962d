from .base import NetworkEstimator
from .begun_fit import BegunFit, trained_by
from .builder import Builder
from .fit_settings import FitSettings
from .keras_builder import KerasBuilder
from .kinds import NetworkClassifier, NetworkRegressor
from .target import Target
from .together import asked_together
from .wrappers import KerasClassifier, KerasRegressor

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
    "asked_together",
    "trained_by",
]
