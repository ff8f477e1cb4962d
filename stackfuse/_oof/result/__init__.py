"""The out-of-fold predictions: put together from those of the folds, in memory or in a file."""

from stackfuse._oof.result.assembly import assemble
from stackfuse._oof.result.in_files import file_for, in_memory, set_aside
from stackfuse._oof.result.predictions import OutOfFold

__all__ = ["OutOfFold", "assemble", "file_for", "in_memory", "set_aside"]
