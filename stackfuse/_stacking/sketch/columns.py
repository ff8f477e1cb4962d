"""One column of any dtype: what is kept of it, and a column made up from that."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stackfuse._core import NotConvertible
from stackfuse._stacking.sketch.held import ANY_BYTES, Held
from stackfuse._stacking.sketch.numbers import Numbers
from stackfuse._stacking.sketch.words import Words
from stackfuse._steps import dates


@dataclass(frozen=True, eq=False)
class Unknown:
    """The sketch of a column that no graph takes, of durations for example: its content.

    Attributes
    ----------
    kind : str
    """

    kind: str


@dataclass(frozen=True, eq=False)
class Column:
    """The sketch of one column.

    Attributes
    ----------
    content : Numbers, Words or Unknown
    dtype : dtype
        numpy's or pandas'; the categories of a categorical one are those of the made-up column.
    of_bytes : bool
        Whether its words are bytes.
    """

    content: Numbers | Words | Unknown
    dtype: Any
    of_bytes: bool = False

    @classmethod
    def of(cls, values: pd.Series, held: Held) -> "Column":
        """Return what is kept of a column.

        Parameters
        ----------
        values : Series of shape (n_samples,)
        held : Held
        """
        dtype = values.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            return cls._of_categories(values, held)
        if dates.is_dates(values):
            return cls(Numbers.of(dates.days_of(values)[:, None], held), dtype)
        if dtype.kind in "iufb":
            table = values.to_numpy(np.float64, na_value=np.nan)[:, None]
            return cls(Numbers.of(table, held), dtype)
        objects = values.to_numpy(object, copy=True)
        present = ~np.asarray(pd.isna(objects))
        if present.any() and all(isinstance(value, bytes) for value in objects[present]):
            objects[present] = [value.decode("utf-8", ANY_BYTES) for value in objects[present]]
            return cls(Words.of(objects, held.decoded()), dtype, True)
        return cls(_content_of(objects, held), dtype)

    @classmethod
    def _of_categories(cls, values: pd.Series, held: Held) -> "Column":
        categories = values.cat.categories
        kept = [c for c in categories if c in held.values]
        if categories.dtype.kind in "iufb" and not held.contains_all(set(values.dropna())):
            kept = []
        if not kept:
            of_words = any(isinstance(c, str) for c in categories)
            kept = [f"word{k}" if of_words else k for k in range(min(len(categories), 9))]
        levels = pd.Index(kept, dtype=categories.dtype)
        seen = (
            levels[levels.isin(values.dropna())] if levels.isin(values.dropna()).any() else levels
        )
        missing = (np.nan,) if values.isna().any() else ()
        content = Words(tuple(seen), (), 0, missing, not len(seen))
        return cls(content, pd.CategoricalDtype(levels, values.cat.ordered))

    def draw(self, n_rows: int, generator: np.random.Generator, name: Any = None) -> pd.Series:
        """Return a made-up column.

        Raises
        ------
        NotConvertible
            If it is not known how its values are made.
        """
        if isinstance(self.content, Unknown):
            raise NotConvertible(
                f"{'X' if name is None else f'The column {name!r}'} holds {self.content.kind} "
                "values, which no graph takes: make numbers or strings of them before the stack is "
                "fitted."
            )
        if isinstance(self.content, Words):
            words = self.content.draw(n_rows, generator)
            if self.of_bytes:
                present = ~np.asarray(pd.isna(words))
                words[present] = [word.encode("utf-8", ANY_BYTES) for word in words[present]]
            return pd.Series(words, dtype=object).astype(self.dtype)
        numbers = self.content.draw(n_rows, generator)[:, 0]
        if self.dtype.kind == "M":
            return dates.dates_of(numbers, self.dtype)
        return _as_dtype(numbers, self.dtype, whole=bool(self.content.whole[0]))


def _content_of(values: np.ndarray, held: Held) -> Numbers | Words | Unknown:
    """Return what is kept of objects: numbers, strings, or a mixture of them."""
    present = values[~np.asarray(pd.isna(values))]
    numeric = [isinstance(v, bool | int | float | np.number | np.bool_) for v in present]
    if len(present) and all(numeric):
        numbers = pd.Series(values).astype(object).where(~pd.isna(values), np.nan)
        return Numbers.of(numbers.to_numpy(np.float64)[:, None], held)
    others = [v for v, is_number in zip(present, numeric) if not (is_number or isinstance(v, str))]
    if others:
        return Unknown(type(others[0]).__name__)
    return Words.of(values, held)


def _as_dtype(numbers: np.ndarray, dtype: Any, *, whole: bool) -> pd.Series:
    """Return numbers as a column of a dtype; NaN becomes its missing value."""
    if dtype.kind == "f":
        if isinstance(dtype, np.dtype):
            limits = np.finfo(dtype)
            numbers = np.clip(numbers, limits.min, limits.max)
        return pd.Series(numbers).astype(dtype)
    make = bool if dtype.kind == "b" else int if whole else float
    missing = None if dtype.kind == "O" else pd.NA
    objects = [missing if np.isnan(v) else make(v) for v in numbers]
    return pd.Series(objects, dtype=object).astype(dtype)
