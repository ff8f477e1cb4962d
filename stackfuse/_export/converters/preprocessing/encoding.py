"""Encoders of categories: the code of a category is the row of a table of outputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import (
    constant,
    table,
)
from stackfuse._export.graph.convert import (
    convert_transformer,
    current_build,
)
from stackfuse._export.graph.frame import (
    StringColumn,
    columns_of,
)
from stackfuse._export.graph.masks import (
    refuse_infinite,
    refuse_rows,
)
from stackfuse._export.graph.signature import MISSING

#: The place of a category without a column of indicators.
_NO_COLUMN = -1


@convert_transformer(OneHotEncoder, frames=True)
def _one_hot(estimator, x):
    places, widths = [], []
    for k, categories in enumerate(estimator.categories_):
        codes, unknown = _codes_of_categories(estimator, k, len(categories))
        dropped = estimator._drop_idx_after_grouping
        drop = None if dropped is None else dropped[k]
        other = _NO_COLUMN if unknown is None else _indicator_place(unknown, drop)
        known = [_indicator_place(int(code), drop) for code in codes]
        widths.append(int(estimator._n_features_outs[k]))
        places.append(np.array([[other], *([place] for place in known)], np.float64))
    return _look_up(estimator, x, places, lambda k, place: _indicators(place, widths[k]))


def _indicators(place, width: int):
    """Return a 1 in the column at a place, and zeros; nothing for a width of 0.

    By comparisons: a table of the rows would grow with the square of the number of categories.
    """
    if not width:
        return None
    hits = ops.equal(place, np.arange(width, dtype=place.dtype))
    return ops.cast(hits, place.dtype)


@convert_transformer(OrdinalEncoder, frames=True)
def _ordinal(estimator, x):
    rows = []
    for k, categories in enumerate(estimator.categories_):
        known = np.arange(len(categories), dtype=np.float64)
        missing = estimator._missing_indices.get(k)
        if estimator._infrequent_enabled:
            mapping = estimator._default_to_infrequent_mappings[k]
            present = np.arange(len(categories)) != missing
            known[present] = known[present] if mapping is None else mapping
        if missing is not None:
            known[missing] = estimator.encoded_missing_value
        use_value = estimator.handle_unknown == "use_encoded_value"
        other = estimator.unknown_value if use_value else np.nan
        rows.append(np.append(other, known)[:, None])
    return _look_up(estimator, x, rows)


@convert_transformer(TargetEncoder, frames=True)
def _target(estimator, x):
    mean = np.atleast_1d(estimator.target_mean_)
    starts = range(0, len(estimator.encodings_), len(mean))  # a column has one for each class
    rows = [np.column_stack(estimator.encodings_[k : k + len(mean)]) for k in starts]
    return _look_up(estimator, x, [np.vstack([mean, known]) for known in rows])


def _codes_of_categories(encoder, k: int, n_categories: int) -> tuple[np.ndarray, int | None]:
    """Return the codes of a column's categories, and the code of unknown ones or None."""
    codes = np.arange(n_categories)
    mapping = encoder._default_to_infrequent_mappings[k] if encoder._infrequent_enabled else None
    if mapping is None:
        return codes, None
    joined = encoder.handle_unknown in ("infrequent_if_exist", "warn")
    return mapping[codes], int(mapping.max()) if joined else None


def _indicator_place(code: int, drop: int | None) -> int:
    """Return the column of indicators that stands for a code."""
    if drop is None or code < drop:
        return code
    return _NO_COLUMN if code == drop else code - 1


def _look_up(encoder, x, rows: list[np.ndarray], finish: Callable = lambda k, y: y):
    """Look up each column's rows in its table, whose first row is for unknown categories.

    Parameters
    ----------
    encoder : fitted encoder
    x : Frame or KerasTensor of shape (batch, n_columns)
    rows : list of ndarray of shape (1 + n_categories, n_outputs)
    finish : callable
        From the number of a column and what was found to the column's part of the output, or None.
    """
    dtype = current_build().precision
    blocks = []
    for k, (column, categories) in enumerate(zip(columns_of(x), encoder.categories_, strict=True)):
        code = _code(encoder, column, categories)
        if getattr(encoder, "handle_unknown", None) == "error":  # infinite numbers are unknown too
            refuse_rows(ops.equal(code, np.zeros(1, np.int32)))
        elif column.dtype != "string":
            refuse_infinite(column)
        found = ops.reshape(table(rows[k], dtype)(code), (-1, rows[k].shape[1]))
        block = finish(k, found)
        if block is not None:
            blocks.append(block)
    if not blocks:
        raise NotConvertible(f"{type(encoder).__name__} returns no columns. Leave it out.")
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)


def _code(encoder, column, categories: np.ndarray):
    """Return 1 + the number of the category of each row, 0 for others; int32 (batch, 1)."""
    name = type(encoder).__name__
    missing = np.asarray(pd.isna(categories), bool)
    if missing.sum() > 1:
        raise NotConvertible(
            f"{name} has both None and NaN as categories, and a graph cannot tell them apart. "
            "Replace None by NaN before the fit."
        )
    if column.dtype == "string":
        return _code_of_strings(name, StringColumn.of(column), _as_words(name, categories, missing))
    if not all(
        isinstance(c, bool | int | float | np.number | np.bool_) for c in categories[~missing]
    ):
        raise NotConvertible(
            f"{name} has the categories {categories[:3].tolist()}, but the graph gives it "
            "numbers. Fit on a data frame, and pass rows of it as X= or verify=."
        )
    values = np.where(missing, np.nan, categories).astype(np.float64)
    typed = constant(values, column)
    if len(np.unique(typed)) < len(values) or np.any(np.abs(values[~missing]) > 2.0**53):
        raise NotConvertible(
            f"{name} has categories that become equal as {column.dtype} numbers. "
            "Convert them to strings before the fit."
        )
    hits = ops.equal(column, typed)
    if missing.any():
        hits = ops.logical_or(hits, ops.logical_and(ops.isnan(column), missing))
    numbers = np.arange(1, len(values) + 1, dtype=np.int32)
    hit = ops.where(hits, numbers, np.zeros(len(values), np.int32))
    return ops.cast(ops.sum(hit, axis=1, keepdims=True), "int32")


def _code_of_strings(name: str, column: StringColumn, words: list[str]):
    """Return 1 + the number of each row's word, 0 for others; int32 of shape (batch, 1)."""
    if MISSING in words and MISSING in column.read_as:
        raise NotConvertible(
            f"{name} has the category None after missing values were imputed, and a graph cannot "
            "tell None from NaN. Replace None by NaN before the fit."
        )
    vocabulary = words + [string for string in column.read_as if string not in words]
    free = next(f"<{k}>" for k in range(len(vocabulary) + 1) if f"<{k}>" not in vocabulary)
    lookup = keras.layers.StringLookup(vocabulary=vocabulary, num_oov_indices=1, oov_token=free)
    code = ops.cast(lookup(column.tensor), "int32")
    if not column.read_as:
        return code
    numbers = {word: k for k, word in enumerate(words, start=1)}
    codes = [numbers.get(column.read_as.get(string, string), 0) for string in vocabulary]
    return ops.take(np.array([0, *codes], np.int32), code)


def _as_words(name: str, categories: Any, missing: np.ndarray) -> list[str]:
    """Return categories as strings, with MISSING in place of a missing value."""
    known = categories[~missing].tolist()
    if not all(isinstance(word, str) for word in known) or MISSING in known:
        raise NotConvertible(
            f"{name} takes strings in the graph, but has the categories {known[:3]}. Convert them "
            f"to strings other than {MISSING!r}, the graph's word for a missing value."
        )
    return [MISSING if gone else str(word) for word, gone in zip(categories, missing)]
