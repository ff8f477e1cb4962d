"""Parts of every fit: settings, limits of time and memory, answers of one fit."""

from stackfuse._core.fitting import averaging, memory_use, time_limit
from stackfuse._core.fitting.availability import available_if
from stackfuse._core.fitting.one_fit import as_it_is, of_one_fit
from stackfuse._core.fitting.settings import (
    FLAG,
    FRACTION,
    JOBS,
    VERBOSE,
    Wanted,
    check_count,
    check_settings,
    is_flag,
    is_limit,
    is_number,
    is_positive,
    is_whole,
    rows_per_batch,
    seed_of,
)

__all__ = [
    "FLAG",
    "FRACTION",
    "JOBS",
    "VERBOSE",
    "Wanted",
    "as_it_is",
    "available_if",
    "averaging",
    "check_count",
    "check_settings",
    "is_flag",
    "is_limit",
    "is_number",
    "is_positive",
    "is_whole",
    "memory_use",
    "of_one_fit",
    "rows_per_batch",
    "seed_of",
    "time_limit",
]
