from . import combining, scorers
from .best import BestClassifier, BestRegressor
from .convex import ConvexClassifier, ConvexRegressor
from .greedy import GreedyClassifier, GreedyRegressor
from .keras_heads import FusionClassifier, FusionRegressor
from .pool import PoolClassifier, PoolRegressor

__all__ = [
    "BestClassifier",
    "BestRegressor",
    "ConvexClassifier",
    "ConvexRegressor",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "PoolClassifier",
    "PoolRegressor",
    "combining",
    "scorers",
]
