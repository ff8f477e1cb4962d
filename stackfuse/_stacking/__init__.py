"""StackingClassifier and StackingRegressor."""

from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.passthrough import as_list
from stackfuse._stacking.sketch import Sketch, held_by, parts_of, sketch_of

__all__ = [
    "Sketch",
    "Stack",
    "StackingClassifier",
    "StackingRegressor",
    "as_list",
    "held_by",
    "parts_of",
    "sketch_of",
]
