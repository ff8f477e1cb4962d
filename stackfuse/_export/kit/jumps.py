"""Find the values of columns at which an estimator's answer jumps, without being told.

Between two rows that differ in one column, the half in which the answer changes more is halved
again, until two neighbouring floats are left. If the answers to them still differ, the estimator
jumps there. It compares that column with that value if it jumps there in another row too; a border
that depends on other columns, between two clusters say, is up to rounding.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from stackfuse._core import sampling

#: The most columns that are tried, the most intervals in all, the rows for each of them, and the
#: most halvings of one.
_MAX_COLUMNS, _MAX_LINES, _ROWS_PER_INTERVAL, _MAX_STEPS = 16, 768, 4, 1100

#: A change of the answer that is no jump, relative to the largest answer.
_SMALL = 1e-6


def jumps_of(answers: Callable[[np.ndarray], np.ndarray | None], numbers: np.ndarray) -> np.ndarray:
    """Return the places of jumps.

    Parameters
    ----------
    answers : callable
        From rows of numbers to answers of shape (n_samples, n_outputs); None if it refuses them.
    numbers : ndarray of shape (n_samples, n_columns)
        Some rows.

    Returns
    -------
    edges : ndarray of shape (n_edges, 2)
        Pairs of a column's number and the last float before the jump.
    """
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    if numbers.shape[1] < 2 or len(numbers) < 3:
        return np.empty((0, 2))
    rows, columns, low, high = _lines(numbers)
    first = answers(_with_values(rows, columns, low))
    last = answers(_with_values(rows, columns, high))
    if first is None or last is None:
        return np.empty((0, 2))
    scale = max(float(np.abs(first).max(initial=0.0)), 1e-300)
    for _ in range(_MAX_STEPS):
        middle = low / 2 + high / 2
        going = _change(first, last) > _SMALL * scale
        rows, columns, low, high, first, last, middle = (
            array[going] for array in (rows, columns, low, high, first, last, middle)
        )
        open_ = (low < middle) & (middle < high)
        if not open_.any():
            break
        between = answers(_with_values(rows, columns, middle))
        if between is None:
            return np.empty((0, 2))
        left = _change(first, between) >= _change(between, last)
        high, last = _chosen(open_ & left, middle, high), _chosen(open_ & left, between, last)
        low, first = _chosen(open_ & ~left, middle, low), _chosen(open_ & ~left, between, first)
    edges = np.unique(np.column_stack([columns, low]), axis=0)
    return np.array([e for e in edges if _is_everywhere(answers, numbers, e, scale)]).reshape(-1, 2)


def _lines(numbers: np.ndarray):
    """Return rows, and for each a column and two values that it is changed to.

    The intervals of a column lie side by side, from below its values to above them.
    """
    columns = sampling.spread(numbers.shape[1], _MAX_COLUMNS)
    n_intervals = _MAX_LINES // (_ROWS_PER_INTERVAL * len(columns))
    found = []
    for column in columns:
        values = np.unique(numbers[:, column])
        ends = values[sampling.spread(len(values), n_intervals - 1)]
        found += [(column, *pair) for pair in pairwise([ends[0] - 1.0, *ends, ends[-1] + 1.0])]
    found *= _ROWS_PER_INTERVAL
    column, low, high = map(np.array, zip(*found))
    rows = np.random.default_rng(0).integers(len(numbers), size=len(found))
    return numbers[rows], column, low, high


def _with_values(rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    changed = rows.copy()
    changed[np.arange(len(rows)), columns] = values
    return changed


def _change(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return np.nan_to_num(np.abs(one - other)).max(axis=1, initial=0.0)


def _chosen(condition: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(condition.reshape(-1, *(1 for _ in one.shape[1:])), one, other)


def _is_everywhere(answers, numbers: np.ndarray, edge: np.ndarray, scale: float) -> bool:
    """Whether the answer jumps at a value of a column in two rows or more."""
    rows = numbers[sampling.spread(len(numbers), 16)]
    columns = np.full(len(rows), int(edge[0]))
    low = np.full(len(rows), edge[1])
    first = answers(_with_values(rows, columns, low))
    last = answers(_with_values(rows, columns, np.nextafter(low, np.inf)))
    if first is None or last is None:
        return False
    return int((_change(first, last) > _SMALL * scale).sum()) >= 2
