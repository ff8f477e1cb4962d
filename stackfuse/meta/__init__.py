"""Meta-learners beyond scikit-learn's: combinations of predictions, and Keras heads."""

from stackfuse.meta._best import BestClassifier, BestRegressor
from stackfuse.meta._blocks import told_of_columns
from stackfuse.meta._combiner import Combiner, CombiningClassifier, CombiningRegressor
from stackfuse.meta._convex import ConvexClassifier, ConvexRegressor
from stackfuse.meta._fusion import FusionClassifier, FusionRegressor
from stackfuse.meta._greedy import GreedyClassifier, GreedyRegressor

__all__ = [
    "BestClassifier",
    "BestRegressor",
    "Combiner",
    "CombiningClassifier",
    "CombiningRegressor",
    "ConvexClassifier",
    "ConvexRegressor",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "told_of_columns",
]
