"""How the jobs of one base estimator are run, and what an engine of one's own needs."""

from stackfuse._oof.engines.base import Engine, SequentialEngine
from stackfuse._oof.engines.joblib import JoblibEngine
from stackfuse._oof.engines.many import Job, fit_many
from stackfuse._oof.engines.named import engine_named
from stackfuse._oof.engines.side_by_side import SideBySideEngine
from stackfuse._oof.fits import FoldFit
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, FoldJob

__all__ = [
    "Data",
    "Engine",
    "Fold",
    "FoldFit",
    "FoldJob",
    "Job",
    "JoblibEngine",
    "SequentialEngine",
    "SideBySideEngine",
    "engine_named",
    "fit_many",
]
