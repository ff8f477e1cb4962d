"""Categories and words that fitted estimators hold, as an encoder holds its categories.

Rows that are made up need them, because an encoder may refuse an unknown category. Keeping them
once more gives nothing away: they are in the estimators anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from stackfuse._keras import private
from stackfuse._stacking.sketch.parts import parts_of

#: How bytes that are no UTF-8 become strings, and bytes again.
ANY_BYTES = "surrogateescape"


@dataclass(frozen=True)
class Held:
    """Categories and words that estimators hold.

    Attributes
    ----------
    categories : list of frozenset
        The categories of one column each, missing ones left out.
    values : frozenset
        All categories, and the words of vocabularies.
    """

    categories: list[frozenset]
    values: frozenset

    def contains_all(self, values: set) -> bool:
        """Whether the values are categories of one column."""
        return any(values <= categories for categories in self.categories)

    def decoded(self) -> "Held":
        """Return the same with strings in place of bytes, as UTF-8."""

        def text(value: Any) -> Any:
            return value.decode("utf-8", ANY_BYTES) if isinstance(value, bytes) else value

        categories = [frozenset(map(text, of_column)) for of_column in self.categories]
        return Held(categories, frozenset(map(text, self.values)))


def held_by(estimator) -> Held:
    """Return what a fitted estimator, and all estimators and networks in it, hold.

    Parameters
    ----------
    estimator : fitted estimator or keras.Model
    """
    categories: list[frozenset] = []
    words: set = set()
    for part in (estimator, *parts_of(estimator)):
        of_columns = getattr(part, "categories_", None)
        if isinstance(of_columns, list | tuple):
            categories += map(_without_missing, of_columns)
        vocabulary = getattr(part, "vocabulary_", None)
        if isinstance(vocabulary, dict):
            words |= vocabulary.keys()
        words = words.union(*getattr(part, "vocabularies_", ()))
        for model in _networks_of(part):
            categories += map(_without_missing, _vocabularies(model))
    return Held(categories, frozenset(words).union(*categories))


def _without_missing(values: Iterable[Any]) -> frozenset:
    return frozenset(v for v in np.asarray(values, object).ravel() if v is not None and v == v)


def _networks_of(part) -> list[Any]:
    models = [part, *(vars(part).values() if hasattr(part, "__dict__") else ())]
    return [model for model in models if isinstance(model, keras.Model)]


def _vocabularies(model) -> list[list]:
    layers = (layer for layer in private.flatten_layers(model) if hasattr(layer, "get_vocabulary"))
    return [layer.get_vocabulary() for layer in layers]
