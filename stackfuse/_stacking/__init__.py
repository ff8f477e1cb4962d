"""StackingClassifier and StackingRegressor, and one small model in place of a stack."""

from stackfuse._stacking.distilling import distill
from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.passthrough import as_list
from stackfuse._stacking.sketch import Sketch, held_by, parts_of, sketch_of
from stackfuse._stacking.uncertainty.intervals import IntervalMaker
from stackfuse._stacking.uncertainty.sets import SetMaker

__all__ = [
    "IntervalMaker",
    "SetMaker",
    "Sketch",
    "Stack",
    "StackingClassifier",
    "StackingRegressor",
    "as_list",
    "distill",
    "held_by",
    "parts_of",
    "sketch_of",
]
