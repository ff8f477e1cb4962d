from . import engines, formats, models, testing
from ._core import MultiInput, NotConvertible
from ._core.errors import ParityError
from ._core.multi_input import StoredRows
from ._display import (
    CalibrationDisplay,
    ErrorCorrelationDisplay,
    FoldHistoryDisplay,
    LeaderboardDisplay,
    ResidualsDisplay,
    StackGraphDisplay,
    WeightsDisplay,
)
from ._export import ExportReport, compiled, convert, converter_for, export, select, to_keras
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
    PoolClassifier,
    PoolRegressor,
)
from ._networks import KerasClassifier, KerasRegressor
from ._oof import OutOfFold, out_of_fold
from ._oof.prediction_columns import ColumnsMixin
from ._search import GridSearchCV, RandomizedSearchCV, cross_val_predict, cross_validate
from ._stacking import StackingClassifier, StackingRegressor, distill
from ._steps import DateParts, Flatten, Pick, TextVectorizer

__version__: str
__all__ = [
    "BestClassifier",
    "BestRegressor",
    "CalibrationDisplay",
    "ColumnsMixin",
    "ConvexClassifier",
    "ConvexRegressor",
    "DateParts",
    "ErrorCorrelationDisplay",
    "ExportReport",
    "Flatten",
    "FoldHistoryDisplay",
    "FusionClassifier",
    "FusionRegressor",
    "GreedyClassifier",
    "GreedyRegressor",
    "GridSearchCV",
    "KerasClassifier",
    "KerasRegressor",
    "LeaderboardDisplay",
    "MultiInput",
    "NotConvertible",
    "OutOfFold",
    "ParityError",
    "Pick",
    "PoolClassifier",
    "PoolRegressor",
    "RandomizedSearchCV",
    "ResidualsDisplay",
    "StackGraphDisplay",
    "StackingClassifier",
    "StackingRegressor",
    "StoredRows",
    "TextVectorizer",
    "WeightsDisplay",
    "compiled",
    "convert",
    "converter_for",
    "cross_val_predict",
    "cross_validate",
    "distill",
    "engines",
    "export",
    "formats",
    "fuse",
    "models",
    "out_of_fold",
    "select",
    "testing",
    "to_keras",
]
