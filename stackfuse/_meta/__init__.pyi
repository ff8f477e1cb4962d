from . import combiners, pooling, scorers
from .best import BestClassifier, BestRegressor
from .blocks import set_columns
from .convex import ConvexClassifier, ConvexRegressor
from .greedy import GreedyClassifier, GreedyRegressor
from .keras_heads import FusionClassifier, FusionRegressor

__all__ = [
    "BestClassifier",
    "BestRegressor",
    "ConvexClassifier",
    "ConvexRegressor",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "combiners",
    "pooling",
    "scorers",
    "set_columns",
]
