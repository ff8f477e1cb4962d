"""Rows made up from rows of a table, near to them: MUNGE without its noise.

A row takes half of its values from one of its nearest neighbours. So every value is one of its
column, of any kind, and values that belong together mostly stay together. Ten neighbours take
turns, where the paper has the nearest alone: `benchmarks/ten_sets/distill.md` tells the difference.

References
----------
Bucila, C., Caruana, R. and Niculescu-Mizil, A. "Model compression." KDD (2006).
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from stackfuse._core import messages

#: The chance of each value to come from the neighbour.
_SWAPPED = 0.5

#: The nearest neighbours that take turns.
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
    neighbours = near[sources, generator.integers(near.shape[1], size=len(sources))]
    swapped = generator.random((len(sources), n_columns)) < _SWAPPED
    places = np.where(swapped, neighbours[:, None], sources[:, None])
    if isinstance(X, np.ndarray):
        return X[places, np.arange(n_columns)], sources
    columns = {k: X.iloc[:, k].array.take(places[:, k]) for k in range(n_columns)}
    rows = pd.DataFrame(columns)
    rows.columns = X.columns
    return rows, sources


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
        missing = column.isna().to_numpy()
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if not pd.api.types.is_numeric_dtype(column) and np.isnan(numbers[~missing]).any():
            codes, values = pd.factorize(column)
            if len(values) <= _LEVELS:
                columns.append((codes[:, None] == np.arange(len(values))) / np.sqrt(2))
            continue
        # A missing date would be a number.
        numbers = np.where(np.isfinite(numbers) & ~missing, numbers, np.nan)
        spread = np.nanstd(numbers) if np.isfinite(numbers).any() else 0.0
        if spread > 0:
            columns.append(np.nan_to_num((numbers - np.nanmean(numbers)) / spread)[:, None])
    return np.hstack(columns) if columns else np.zeros((len(frame), 1))
