"""The contents of a table's columns, as far as preprocessing has to know them."""

import warnings
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import messages
from stackfuse._steps import dates

#: The most levels of a column that become a column each.
FEW_LEVELS = 32

#: The mean number of words from which on strings are text, and no categories.
_WORDS_OF_TEXT = 4.0

#: Rows whose words are counted.
_LOOKED_AT = 2000


@dataclass
class Columns:
    """The columns of a table by their contents.

    Attributes
    ----------
    numbers, few, many : list
        Names of the columns of numbers, and of categories with few and with many levels.
    dates : list
        Names of the columns of dates.
    texts : list
        Names of the columns of text.
    n_words : int
        The number of different words in them.
    constant, left_out : list
        Names of columns that no base can use, and of columns of text that none is to use.
    with_missing : list
        Names of the columns of numbers or dates in which some are missing.
    """

    numbers: list[Hashable] = field(default_factory=list)
    few: list[Hashable] = field(default_factory=list)
    many: list[Hashable] = field(default_factory=list)
    dates: list[Hashable] = field(default_factory=list)
    constant: list[Hashable] = field(default_factory=list)
    texts: list[Hashable] = field(default_factory=list)
    n_words: int = 0
    left_out: list[Hashable] = field(default_factory=list)
    with_missing: list[Hashable] = field(default_factory=list)

    @classmethod
    def of(cls, X, texts: bool = True) -> "Columns":
        """Look at all columns of an array or a data frame of pandas.

        Parameters
        ----------
        X : data frame or array of shape (n_samples, n_features)
        texts : bool, default=True
            Whether bases may read texts.

        Raises
        ------
        ValueError
            If a column holds something else than numbers, truth values, dates and strings, or all
            columns are constant.
        """
        if scipy.sparse.issparse(X):
            raise TypeError("X is a sparse matrix, and table_bases reads a table: X.toarray().")
        if not isinstance(X, pd.DataFrame) and np.ndim(X) != 2:
            raise ValueError(
                f"table_bases reads a table, X of shape (n_samples, n_features), but X has shape "
                f"{np.shape(X)}."
            )
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        if not len(frame):
            raise ValueError(
                "X has no rows. table_bases reads rows to learn what the columns hold."
            )
        columns = cls()
        for place, name in enumerate(frame.columns):
            column = frame.iloc[:, place]
            name = name if isinstance(X, pd.DataFrame) else place
            if _n_different(column, name) < 2:
                columns.constant.append(name)
            elif pd.api.types.is_complex_dtype(column):
                raise ValueError(
                    f"Complex data not supported: the column {name!r} holds complex numbers. "
                    "Split it into a real and an imaginary column."
                )
            elif dates.is_dates(column) or pd.api.types.is_numeric_dtype(column):
                (columns.dates if dates.is_dates(column) else columns.numbers).append(name)
                if column.isna().any():
                    columns.with_missing.append(name)
            else:
                columns._list_of(column, name).append(name)
        if columns.texts and not texts:
            columns.left_out, columns.texts = columns.texts, []
        columns.n_words = _count_words(frame, columns.texts)
        used = (columns.numbers, columns.few, columns.many, columns.dates, columns.texts)
        if not any(used):
            raise ValueError(
                "X has no column that a base can use: all are constant, or text that is left out. "
                "Pass columns of numbers, dates or categories."
            )
        return columns

    def _list_of(self, column: pd.Series, name: Hashable) -> list[Hashable]:
        present = column.dropna()
        if not all(isinstance(value, str) for value in present):
            raise ValueError(
                f"The column {name!r} holds {column.dtype} values, for example "
                f"{present.iloc[0]!r}. table_bases takes numbers, truth values, strings and "
                "dates. Convert objects to dates with pd.to_datetime(X[column])."
            )
        if present.nunique() <= FEW_LEVELS:
            return self.few
        n_words = present.astype(str).str.count(r"\s+").mean() + 1
        return self.texts if n_words >= _WORDS_OF_TEXT else self.many

    def warn_of_unused(self) -> None:
        """Warn of the columns that no base uses."""
        text = "text, which only .keras and SavedModel files can hold"
        for names, what in ((self.constant, "the same in all rows"), (self.left_out, text)):
            if names:
                warnings.warn(
                    f"No base uses {', '.join(map(repr, names))}: "
                    f"{'these columns are' if len(names) > 1 else 'this column is'} {what}.",
                    stacklevel=3,
                )


def _n_different(column: pd.Series, name: Hashable) -> int:
    """Return the number of different values in a column, one that is missing among them."""
    try:
        return column.nunique(dropna=False)
    except TypeError:  # lists, arrays and dicts cannot be told apart
        kind = type(column.iloc[0]).__name__
        raise ValueError(
            f"The column {name!r} holds {messages.with_article(kind)} in each row. table_bases "
            "takes numbers, truth values, strings and dates."
        ) from None


def _count_words(frame: pd.DataFrame, texts: list[Hashable]) -> int:
    """Return the number of different words in some columns of the first rows."""
    found = [frame[name].iloc[:_LOOKED_AT].dropna().str.lower().str.split() for name in texts]
    return len({word for column in found for words in column for word in words})
