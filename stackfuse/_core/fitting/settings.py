"""Checks of settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from stackfuse._core.messages import in_short


@dataclass(frozen=True)
class Wanted:
    """The values that a setting may have.

    Attributes
    ----------
    allows : callable
        Whether it may be this value.
    words : str
        Say so in a message.
    """

    allows: Callable[[Any], bool]
    words: str


def is_flag(value: Any) -> bool:
    """Whether a value is True or False; 0, 1 and "no" are neither."""
    return isinstance(value, bool | np.bool_)


def is_whole(value: Any, least: float = -np.inf, most: float = np.inf) -> bool:
    """Whether a value is a whole number in a range; True and False are none."""
    whole = isinstance(value, int | np.integer) and not is_flag(value)
    return whole and bool(least <= value <= most)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return (is_whole(value) or isinstance(value, float | np.floating)) and bool(np.isfinite(value))


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above 0."""
    return is_number(value) and value > 0


def is_limit(value: Any) -> bool:
    """Whether a value is a number above 0, or infinity, which stands for no limit."""
    return is_positive(value) or (isinstance(value, float | np.floating) and bool(value == np.inf))


FLAG = Wanted(is_flag, "True or False")
FRACTION = Wanted(
    lambda value: is_number(value) and 0 <= value < 1, "a number of at least 0 and below 1"
)
JOBS = Wanted(
    lambda value: value is None or (is_whole(value) and value != 0),
    "None or an integer other than 0 (-1 means all cores)",
)
VERBOSE = Wanted(
    lambda value: is_flag(value) or is_whole(value, 0), "True, False or an integer of at least 0"
)


def check_settings(settings: Mapping[str, Any], wanted: Mapping[str, Wanted]) -> None:
    """Raise unless settings are what they may be.

    Parameters
    ----------
    settings : mapping of str to object
        By the names of the parameters; others are not looked at.
    wanted : mapping of str to Wanted

    Raises
    ------
    ValueError
        Naming the first that is not.

    Examples
    --------
    >>> check_settings({"refit": "no"}, {"refit": FLAG})
    Traceback (most recent call last):
        ...
    ValueError: refit must be True or False, got 'no'.
    """
    for name, one in wanted.items():
        if not one.allows(settings[name]):
            raise ValueError(f"{name} must be {one.words}, got {in_short(settings[name])}.")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise unless a parameter is a whole number of at least this size."""
    whole = Wanted(lambda given: is_whole(given, least), f"an integer of at least {least}")
    check_settings({name: value}, {name: whole})


#: More rows than any batch has; TensorFlow counts them in 64 bits.
_MOST_ROWS = 2**62


def rows_per_batch(batch_size: Any, n_samples: int, name: str = "batch_size") -> int:
    """Return the size of a batch: that of Keras for None, all rows for -1, as in scikeras."""
    if batch_size is None:
        return 32
    if isinstance(batch_size, int | np.integer) and batch_size == -1:
        return n_samples
    check_count(name, batch_size)
    return min(int(batch_size), _MOST_ROWS)


def seed_of(random_state: Any) -> int:
    """Return a `random_state` as a seed: the number itself, or one that it draws."""
    if isinstance(random_state, int | np.integer):
        if is_whole(random_state, 0, 2**32 - 1):
            return int(random_state)
    elif random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31 - 1))
    raise ValueError(
        "random_state must be an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None, "
        f"got {random_state!r}."
    )
