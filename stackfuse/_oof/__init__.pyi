from . import bases, contributions, engines, jobs, prediction_columns
from .alignment import Aligned
from .fitting import FitOptions
from .folds import are_in_time_order
from .function import out_of_fold, run
from .plan import Plan
from .result import OutOfFold

__all__ = [
    "Aligned",
    "FitOptions",
    "OutOfFold",
    "Plan",
    "are_in_time_order",
    "bases",
    "contributions",
    "engines",
    "jobs",
    "out_of_fold",
    "prediction_columns",
    "run",
]
