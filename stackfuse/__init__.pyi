from . import engines, formats, models, testing
from ._core import MultiInput, NotConvertible
from ._core.errors import ParityError
from ._export import ExportReport, compiled, convert, converter_for, export, to_keras
from ._fusion import fuse
from ._meta import (
    BestClassifier,
    BestRegressor,
    ConvexClassifier,
    ConvexRegressor,
    FusionClassifier,
    FusionRegressor,
    GreedyClassifier,
    GreedyRegressor,
)
from ._networks import KerasClassifier, KerasRegressor
from ._oof import OutOfFold, out_of_fold
from ._oof.prediction_columns import ColumnsMixin
from ._search import GridSearchCV, RandomizedSearchCV, cross_val_predict, cross_validate
from ._stacking import DateParts, Flatten, Pick, StackingClassifier, StackingRegressor

__version__: str
__all__ = [
    "BestClassifier",
    "BestRegressor",
    "ColumnsMixin",
    "ConvexClassifier",
    "ConvexRegressor",
    "DateParts",
    "ExportReport",
    "Flatten",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "GridSearchCV",
    "KerasClassifier",
    "KerasRegressor",
    "MultiInput",
    "NotConvertible",
    "OutOfFold",
    "ParityError",
    "Pick",
    "RandomizedSearchCV",
    "StackingClassifier",
    "StackingRegressor",
    "compiled",
    "convert",
    "converter_for",
    "cross_val_predict",
    "cross_validate",
    "engines",
    "export",
    "formats",
    "fuse",
    "models",
    "out_of_fold",
    "testing",
    "to_keras",
]
