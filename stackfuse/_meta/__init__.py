"""Meta-learners beyond scikit-learn's: combinations of predictions, and Keras heads."""

from stackfuse._meta.best import (
    BestClassifier,
    BestRegressor,
)
from stackfuse._meta.blocks import told_of_columns
from stackfuse._meta.combiners import (
    Combiner,
    CombiningClassifier,
    CombiningRegressor,
)
from stackfuse._meta.convex import (
    ConvexClassifier,
    ConvexRegressor,
)
from stackfuse._meta.greedy import (
    GreedyClassifier,
    GreedyRegressor,
)
from stackfuse._meta.keras_heads import (
    FusionClassifier,
    FusionRegressor,
)

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
