"""A column of strings: the words in it that estimators hold, and strings made up from them."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stackfuse._stacking.sketch.held import Held

#: The most values, and words of texts, that are kept.
_MAX_WORDS = 256

#: The words of texts for which no estimator holds any.
_INVENTED = tuple(f"word{k}" for k in range(1, 10))

#: How many of the strings that are made up are missing, where some were.
_MISSING = 0.2


@dataclass(frozen=True, eq=False)
class Words:
    """The sketch of a column of strings.

    Attributes
    ----------
    levels : tuple
        The values that an estimator holds.
    words : tuple of str
        The words that an estimator holds, of all other values.
    n_words : int
        About the most words of one of these; 0 if there are none.
    missing : tuple
        The objects that stand for missing values.
    is_empty : bool
        Whether all values are missing.
    """

    levels: tuple
    words: tuple[str, ...]
    n_words: int
    missing: tuple
    is_empty: bool

    @classmethod
    def of(cls, values: np.ndarray, held: Held) -> "Words":
        """Return what is kept of a column.

        Parameters
        ----------
        values : ndarray of object, shape (n_samples,)
        held : Held
        """
        is_missing = np.asarray(pd.isna(values))
        distinct = set(values[~is_missing].tolist())
        levels = sorted(distinct & held.values, key=str)
        texts = [_words_of(v) for v in distinct - held.values if isinstance(v, str)]
        words = sorted({word for text in texts for word in text} & held.values)
        longest = max(map(len, texts), default=0)
        return cls(
            tuple(_spread(levels)),
            tuple(_spread(words)),
            1 << max(longest - 1, 0).bit_length() if texts else 0,
            tuple({type(v): v for v in values[is_missing]}.values()),
            not distinct,
        )

    def draw(self, n_rows: int, generator: np.random.Generator) -> np.ndarray:
        """Return strings, some of them missing, as objects of shape (n_rows,); the first is not."""
        drawn = np.empty(n_rows, object)
        for k in range(n_rows):
            is_missing = self.missing and (self.is_empty or (k and generator.random() < _MISSING))
            drawn[k] = self._missing(generator) if is_missing else self._string(generator)
        return drawn

    def _missing(self, generator: np.random.Generator) -> Any:
        return self.missing[generator.integers(len(self.missing))]

    def _string(self, generator: np.random.Generator) -> Any:
        if self.levels and (not self.n_words or generator.random() < 0.5):
            return self.levels[generator.integers(len(self.levels))]
        known = self.words + _INVENTED
        n_words = generator.integers(1, max(self.n_words, 1) + 1)
        return " ".join(known[k] for k in generator.integers(len(known), size=n_words))


def _words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _spread(things: list) -> list:
    if len(things) <= _MAX_WORDS:
        return things
    return [things[k] for k in np.linspace(0, len(things) - 1, _MAX_WORDS).astype(int)]
