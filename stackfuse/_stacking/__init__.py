"""StackingClassifier and StackingRegressor, and steps that make a table of several inputs."""

from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.input_steps import Flatten, Pick
from stackfuse._stacking.passthrough import as_list
from stackfuse._stacking.shared_columns import SharedColumns
from stackfuse._stacking.sketch import Sketch, held_by, parts_of, sketch_of

__all__ = [
    "Flatten",
    "Pick",
    "SharedColumns",
    "Sketch",
    "Stack",
    "StackingClassifier",
    "StackingRegressor",
    "as_list",
    "held_by",
    "parts_of",
    "sketch_of",
]
