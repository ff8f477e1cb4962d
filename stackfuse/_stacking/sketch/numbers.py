"""Columns of numbers: rounded ranges in place of values, and numbers drawn from them.

The smallest and the largest number of a column are values of the data. So a range of measurements
is widened, to two digits of its width. A range of whole numbers, which may be indices, is narrowed
instead, and is exact only where the numbers are small. 0, 1 and -1 stay, since a column that is
never negative must not become so. Mean and deviation are kept in sixteenths of the range: rows far
from all others would tell little about neighbours and kernels.
"""

from dataclasses import dataclass

import numpy as np

from stackfuse._stacking.sketch.held import Held

#: Up to here whole numbers are codes or counts, and their range is kept as it is.
_SMALL = 255

#: Bounds that stay as they are.
_NATURAL = (-1.0, 0.0, 1.0)

#: The most categories of a column that are kept.
_MAX_LEVELS = 256

#: How many of the numbers that are made up are missing, where some were.
_MISSING = 0.2

#: In what parts of a range the mean and the deviation are kept.
_PARTS = 16

#: The largest bound; the width of a range must be finite.
_LARGEST = 8e307


@dataclass(frozen=True, eq=False)
class Numbers:
    """The sketch of columns of numbers.

    Attributes
    ----------
    low, high : ndarray of shape (n_columns,)
        Rounded bounds.
    mean, deviation : ndarray of shape (n_columns,)
        Between 0 and 1, the bounds.
    whole : ndarray of bool, shape (n_columns,)
        Whether all numbers are whole.
    missing : ndarray of shape (n_columns,)
        The share of missing numbers: none, some, or all.
    levels : dict of int to ndarray
        The categories of a column that an estimator holds.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    whole: np.ndarray
    missing: np.ndarray
    levels: dict[int, np.ndarray]

    @classmethod
    def of(cls, table: np.ndarray, held: Held) -> "Numbers":
        """Return what is kept of a table.

        Parameters
        ----------
        table : ndarray of shape (n_samples, n_columns), float64
            May hold NaN and infinity.
        held : Held
        """
        finite = np.isfinite(table)
        known = np.where(finite, table, 0.0)
        low = np.where(finite, table, np.inf).min(axis=0, initial=np.inf)
        high = np.where(finite, table, -np.inf).max(axis=0, initial=-np.inf)
        empty = ~finite.any(axis=0)
        low, high = (np.where(empty, 0.0, bound) for bound in (low, high))
        whole = (known == np.floor(known)).all(axis=0)
        missing = np.isnan(table)
        share = np.where(missing.all(axis=0), 1.0, np.where(missing.any(axis=0), _MISSING, 0.0))
        bounds = [
            _whole_bounds(known[finite[:, k], k]) if whole[k] else _widened(low[k], high[k])
            for k in range(table.shape[1])
        ]
        low, high = np.clip(np.array(bounds).reshape(-1, 2), -_LARGEST, _LARGEST).T
        mean, deviation = _mean_and_deviation(np.where(finite, table, np.nan), low, high)
        levels = {}
        for k in range(table.shape[1]) if held.categories else ():
            distinct = set(known[finite[:, k], k].tolist())
            if distinct and held.contains_all(distinct):
                levels[k] = np.array(sorted(distinct)[:_MAX_LEVELS])
        return cls(low, high, mean, deviation, whole, share, levels)

    def draw(self, n_rows: int, generator: np.random.Generator) -> np.ndarray:
        """Return numbers of shape (n_rows, n_columns), some of them missing.

        Every other row is near the means, the rest is anywhere. The first two rows hold both bounds
        of the columns of whole numbers.
        """
        shape = n_rows, len(self.low)
        near = np.abs(generator.normal(self.mean, self.deviation, shape))  # reflected at the bounds
        near = np.clip(1.0 - np.abs(1.0 - near), 0.0, 1.0)
        place = np.where(np.arange(n_rows)[:, None] % 2 == 0, near, generator.uniform(size=shape))
        width = self.high - self.low
        table = np.clip(self.low + place * width, self.low, self.high)
        steps = np.floor(place * (width + 1.0))
        table = np.where(self.whole, np.minimum(self.low + steps, self.high), table)
        table[:1] = np.where(self.whole, self.low, table[:1])
        table[1:2] = np.where(self.whole, self.high, table[1:2])
        for k, levels in self.levels.items():
            table[:, k] = generator.choice(levels, n_rows)
        return np.where(generator.uniform(size=shape) < self.missing, np.nan, table)


def _mean_and_deviation(
    table: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and deviations as rounded parts of the ranges; NaN is missing."""
    width = np.where(high > low, high - low, 1.0)
    known = np.isfinite(table)
    place = np.where(known, np.clip((table - low) / width, 0.0, 1.0), 0.0)
    n_known = np.maximum(known.sum(axis=0), 1)
    mean = place.sum(axis=0) / n_known
    squares = np.where(known, (place - mean) ** 2, 0.0)
    deviation = np.sqrt(squares.sum(axis=0) / n_known)
    return (
        np.round(mean * _PARTS) / _PARTS,
        np.maximum(np.round(deviation * _PARTS), 1.0) / _PARTS,
    )


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return bounds outside of a range, rounded to two digits of its width."""
    low, high = max(low, -_LARGEST), min(high, _LARGEST)
    step = _step(high - low or abs(low))
    below, above = np.floor(low / step) * step, np.ceil(high / step) * step
    below = below - step if below >= low else below
    above = above + step if above <= high else above
    below = low if low in _NATURAL else max(below, 0.0) if low > 0 else below
    above = high if high in _NATURAL else min(above, 0.0) if high < 0 else above
    return float(below), float(above)


def _whole_bounds(values: np.ndarray) -> tuple[float, float]:
    """Return bounds inside of the range of whole numbers; of small ones the range itself."""
    if not len(values):
        return 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    if max(abs(low), abs(high)) <= _SMALL:
        return low, high
    if low == high:
        return tuple(float(np.round(bound)) for bound in _widened(low, high))  # type: ignore[return-value]
    step = max(_step(high - low), 1.0)
    seen = set(values.tolist())
    inside = np.ceil(low / step) * step, np.floor(high / step) * step
    free = (
        low if low in _NATURAL else _first_unseen(inside[0], 1.0, seen),
        high if high in _NATURAL else _first_unseen(inside[1], -1.0, seen),
    )
    return free if free[0] <= free[1] else (low, high)


def _first_unseen(start: float, step: float, seen: set[float]) -> float:
    """Return the first number from a start on that is no value; the start if all near it are."""
    tries = (start + k * step for k in range(_SMALL))
    return next((number for number in tries if number not in seen), start)


def _step(width: float) -> float:
    """Return the value of a width's second digit."""
    return 10.0 ** (np.floor(np.log10(width)) - 1.0) if width > 1e-300 else 1e-300
