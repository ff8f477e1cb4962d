"""Folds, fits, and out-of-fold predictions."""

from stackfuse._oof.function import out_of_fold
from stackfuse._oof.result import OutOfFold

__all__ = ["OutOfFold", "out_of_fold"]
