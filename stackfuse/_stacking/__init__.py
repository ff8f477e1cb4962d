"""StackingClassifier and StackingRegressor, and steps that make numbers and tables of X."""

from stackfuse._stacking import dates
from stackfuse._stacking.dates import DateParts
from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.input_steps import Flatten, Pick
from stackfuse._stacking.passthrough import as_list
from stackfuse._stacking.sketch import Sketch, held_by, parts_of, sketch_of

__all__ = [
    "DateParts",
    "Flatten",
    "Pick",
    "Sketch",
    "Stack",
    "StackingClassifier",
    "StackingRegressor",
    "as_list",
    "dates",
    "held_by",
    "parts_of",
    "sketch_of",
]
