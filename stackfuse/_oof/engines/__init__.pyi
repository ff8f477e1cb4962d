from .base import Engine, SequentialEngine
from .joblib import JoblibEngine
from .many import Job, fit_many
from .named import engine_named
from .side_by_side import SideBySideEngine

__all__ = [
    "Engine",
    "Job",
    "JoblibEngine",
    "SequentialEngine",
    "SideBySideEngine",
    "engine_named",
    "fit_many",
]
