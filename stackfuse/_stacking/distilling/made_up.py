"""Rows made up from rows of a table, near to them.

There are two ways, and chance takes one for each row. By swaps, a row takes half of its values from
one of its nearest neighbours. By differences, a random part of the difference of two of these
neighbours, or up to 1.5 times the difference, is added to the row, and each value becomes the
nearest one of its column. Columns that move together still do; the rows lie near to real ones, and
also a little further away. Differences of words do not exist: there the row takes the word of one
neighbour if it has that of the other, and if at least half of the difference is added.

`benchmarks/ten_sets/distill.md` compares the two, and other ways.

References
----------
Storn, R. and Price, K. "Differential evolution: a simple and efficient heuristic for global
optimization over continuous spaces." Journal of Global Optimization 11 (1997): their mutation, here
among neighbours. Bucila, C., Caruana, R. and Niculescu-Mizil, A. "Model compression." KDD (2006):
swaps, of numbers with noise.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from stackfuse._core import messages

#: The chance of a row to be made by swaps, and in it of each value to come from the neighbour.
_BY_SWAPS, _SWAPPED = 0.5, 0.5

#: The largest factor of a difference.
_LONGEST = 1.5

#: The nearest neighbours among which two are drawn.
_NEAR = 10

#: Rows among which neighbours are looked for; of more rows so many are drawn.
_MOST = 10_000

#: The most values of a column of text or categories that are compared; of more, none is.
_LEVELS = 20


def can_be_mixed(X: Any) -> bool:
    """Whether rows can be made up from rows of X: an array of two axes, or a frame of pandas."""
    return isinstance(X, pd.DataFrame) or (isinstance(X, np.ndarray) and X.ndim == 2)


def mixed(X: Any, n_times: int, generator: np.random.Generator) -> tuple[Any, np.ndarray]:
    """Return made-up rows, and the number of the row that each was made from.

    Parameters
    ----------
    X : ndarray or DataFrame of shape (n_samples, n_features)
    n_times : int
        Made-up rows for each row of X.
    generator : Generator

    Returns
    -------
    rows : ndarray or DataFrame of shape (n_times * n_samples, n_features)
    sources : ndarray of int of shape (n_times * n_samples,)

    Raises
    ------
    ValueError
        If X is no table.
    """
    if not can_be_mixed(X):
        raise ValueError(
            "augment makes up rows for an array with two axes or a pandas frame, got "
            f"{messages.in_short(type(X).__name__)}. Use augment=0."
        )
    n_rows, n_columns = X.shape
    sources = np.tile(np.arange(n_rows), n_times)
    near = _nearest(X, generator)
    n_near = near.shape[1]
    one = generator.integers(n_near, size=len(sources))
    another = (one + 1 + generator.integers(max(n_near - 1, 1), size=len(sources))) % n_near
    start, to = near[sources, one], near[sources, another]
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X)
    by_swaps = generator.random(len(sources)) < _BY_SWAPS
    length = _LONGEST * generator.random(len(sources))
    places = []
    for k in range(n_columns):
        swapped = np.where(generator.random(len(sources)) < _SWAPPED, to, sources)
        moved = _moved(frame.iloc[:, k], sources, start, to, length)
        places.append(np.where(by_swaps, swapped, moved))
    if isinstance(X, np.ndarray):
        return X[np.stack(places, axis=1), np.arange(n_columns)], sources
    rows = pd.DataFrame({k: X.iloc[:, k].array.take(places[k]) for k in range(n_columns)})
    rows.columns = X.columns
    return rows, sources


def _moved(
    column: pd.Series, sources: np.ndarray, start: np.ndarray, to: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """Return for each made-up row the number of the row whose value it takes.

    Parameters
    ----------
    column : Series of length n_samples
    sources, start, to : ndarray of int of shape (n_made_up,)
        Numbers of rows: the value of `sources` moves in the direction from `start` to `to`.
    length : ndarray of shape (n_made_up,)
        How far, in units of that way.
    """
    codes, _ = pd.factorize(column)
    places = np.where((codes[start] == codes[sources]) & (length > 0.5), to, sources)
    numbers = _numbers(column)
    if numbers is None or not np.isfinite(numbers).any():
        return places
    known, holders = np.unique(numbers, return_index=True)
    known, holders = known[np.isfinite(known)], holders[np.isfinite(known)]
    with np.errstate(over="ignore", invalid="ignore"):
        moved = numbers[sources] + length * (numbers[to] - numbers[start])
    there = np.isfinite(moved)
    borders = known[:-1] / 2 + known[1:] / 2
    places[there] = holders[np.searchsorted(borders, moved[there])]
    return places


def _nearest(X: Any, generator: np.random.Generator) -> np.ndarray:
    """Return for each row the numbers of the nearest other rows, of shape (n_samples, n_near)."""
    table = _measured(X)
    known = np.arange(len(table))
    if len(table) > _MOST:
        known = np.sort(generator.choice(len(table), _MOST, replace=False))
    n_near = min(_NEAR + 1, len(known))
    near = NearestNeighbors(n_neighbors=n_near).fit(table[known])
    found = known[near.kneighbors(table, return_distance=False)]
    itself = found == np.arange(len(table))[:, None]
    others = np.argsort(itself, axis=1, kind="stable")[:, : max(n_near - 1, 1)]
    return np.take_along_axis(found, others, axis=1)


def _measured(X: Any) -> np.ndarray:
    """Return rows as numbers whose distances mean something.

    Numbers have the deviation 1; of text and categories each value is a column of its own.
    """
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X)
    columns = []
    for k in range(frame.shape[1]):
        column = frame.iloc[:, k]
        numbers = _numbers(column)
        if numbers is None:
            codes, values = pd.factorize(column)
            if len(values) <= _LEVELS:
                columns.append((codes[:, None] == np.arange(len(values))) / np.sqrt(2))
            continue
        spread = np.nanstd(numbers) if np.isfinite(numbers).any() else 0.0
        if spread > 0:
            columns.append(np.nan_to_num((numbers - np.nanmean(numbers)) / spread)[:, None])
    return np.hstack(columns) if columns else np.zeros((len(frame), 1))


def _numbers(column: pd.Series) -> np.ndarray | None:
    """Return a column as numbers, NaN where it holds none; None for words and categories."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    missing = column.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not pd.api.types.is_numeric_dtype(column) and np.isnan(numbers[~missing]).any():
        return None
    # A missing date would be a number.
    return np.where(np.isfinite(numbers) & ~missing, numbers, np.nan)
