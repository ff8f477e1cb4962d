"""Checks of numeric settings."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise unless a parameter is a whole number of at least this size."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")


def rows_per_batch(batch_size: Any, n_samples: int, name: str = "batch_size") -> int:
    """Return the size of a batch: that of Keras for None, all rows for -1, as in scikeras."""
    if batch_size is None:
        return 32
    if isinstance(batch_size, int | np.integer) and batch_size == -1:
        return n_samples
    check_count(name, batch_size)
    return int(batch_size)


def seed_of(random_state: Any) -> int:
    """Return a `random_state` as a seed: the number itself, or one that it draws."""
    if isinstance(random_state, int | np.integer):
        if 0 <= random_state < 2**32:
            return int(random_state)
    elif random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31 - 1))
    raise ValueError(
        "random_state must be an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None, "
        f"got {random_state!r}."
    )
