"""Stack Keras models and scikit-learn estimators, and bake the whole stack into one Keras graph."""

from stackfuse._core.errors import (
    NotConvertible,
    ParityError,
)
from stackfuse._core.multi_input import MultiInput
from stackfuse._export import (
    ExportReport,
    convert,
    export,
    to_keras,
)
from stackfuse._export import convert_type as converter_for
from stackfuse._fusion.fuse import fuse
from stackfuse._meta import (
    BestClassifier,
    BestRegressor,
    ConvexClassifier,
    ConvexRegressor,
    FusionClassifier,
    FusionRegressor,
    GreedyClassifier,
    GreedyRegressor,
)
from stackfuse._networks.wrappers import (
    KerasClassifier,
    KerasRegressor,
)
from stackfuse._oof.function import out_of_fold
from stackfuse._oof.result import OutOfFold
from stackfuse._stacking.estimators import (
    StackingClassifier,
    StackingRegressor,
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
