"""Folds, fits, and out-of-fold predictions."""

from stackfuse._oof import bases, contributions, engines, jobs, prediction_columns, routing
from stackfuse._oof.alignment import Aligned
from stackfuse._oof.fitting import FitOptions
from stackfuse._oof.function import out_of_fold, run
from stackfuse._oof.plan import Plan
from stackfuse._oof.result import OutOfFold

__all__ = [
    "Aligned",
    "FitOptions",
    "OutOfFold",
    "Plan",
    "bases",
    "contributions",
    "engines",
    "jobs",
    "out_of_fold",
    "prediction_columns",
    "routing",
    "run",
]
