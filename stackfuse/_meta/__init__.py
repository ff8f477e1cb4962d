"""Meta-learners beyond scikit-learn's: combinations of predictions, and Keras heads."""

from stackfuse._meta import combiners, pooling, scorers
from stackfuse._meta.best import BestClassifier, BestRegressor
from stackfuse._meta.blocks import set_columns
from stackfuse._meta.convex import ConvexClassifier, ConvexRegressor
from stackfuse._meta.greedy import GreedyClassifier, GreedyRegressor
from stackfuse._meta.keras_heads import FusionClassifier, FusionRegressor

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
