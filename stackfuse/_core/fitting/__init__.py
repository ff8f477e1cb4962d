"""What fits have in common: numeric settings, limits of time, answers that come from one fit."""

from stackfuse._core.fitting import time_limit
from stackfuse._core.fitting.one_fit import as_it_is, of_one_fit
from stackfuse._core.fitting.settings import check_count, rows_per_batch, seed_of

__all__ = ["as_it_is", "check_count", "of_one_fit", "rows_per_batch", "seed_of", "time_limit"]
