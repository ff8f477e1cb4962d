"""Stack Keras models and scikit-learn estimators, and bake the whole stack into one Keras graph."""

from stackfuse._assembly import out_of_fold
from stackfuse._checks import NotConvertible, ParityError
from stackfuse._inputs import MultiInput
from stackfuse._join import fuse
from stackfuse._oof import OutOfFold
from stackfuse._stacking import StackingClassifier, StackingRegressor
from stackfuse._wrappers import KerasClassifier, KerasRegressor
from stackfuse.export import ExportReport, convert, export, to_keras
from stackfuse.export import convert_type as converter_for
from stackfuse.meta import (
    BestClassifier,
    BestRegressor,
    ConvexClassifier,
    ConvexRegressor,
    FusionClassifier,
    FusionRegressor,
    GreedyClassifier,
    GreedyRegressor,
)

__version__ = "0.1.0"

__all__ = [
    "BestClassifier",
    "BestRegressor",
    "ConvexClassifier",
    "ConvexRegressor",
    "ExportReport",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "KerasClassifier",
    "KerasRegressor",
    "MultiInput",
    "NotConvertible",
    "OutOfFold",
    "ParityError",
    "StackingClassifier",
    "StackingRegressor",
    "convert",
    "converter_for",
    "export",
    "fuse",
    "out_of_fold",
    "to_keras",
]
