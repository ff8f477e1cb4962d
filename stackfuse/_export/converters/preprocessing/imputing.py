"""Imputers, and the columns that mark missing values."""

from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from sklearn.impute import MissingIndicator, SimpleImputer

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
)
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
    current_build,
)
from stackfuse._export.graph.frame import (
    Frame,
    StringColumn,
    columns_of,
    take_columns,
)
from stackfuse._export.graph.masks import (
    refuse_infinite,
    refuse_rows,
)
from stackfuse._export.graph.signature import MISSING


@convert_transformer(SimpleImputer, frames=True)
def _simple(estimator, x):
    fills = np.asarray(estimator.statistics_)
    kept = np.arange(len(fills))
    if not estimator.keep_empty_features:
        kept = kept[[not (isinstance(fill, float) and np.isnan(fill)) for fill in fills]]
    if not kept.size:
        raise NotConvertible(
            f"{type(estimator).__name__} returns no columns. Leave out the columns without any "
            "value."
        )
    fills = fills[kept].astype(estimator._fill_dtype)
    return with_indicator(estimator, x, _filled(estimator, take_columns(x, kept.tolist()), fills))


@convert_transformer(MissingIndicator, frames=True)
def _indicator(estimator, x):
    if not len(estimator.features_):
        raise NotConvertible(
            "MissingIndicator returns no columns, because no value was missing. Use features='all'."
        )
    _refuse_invalid(estimator, x)
    others = np.setdiff1d(np.arange(x.shape[1]), estimator.features_)
    if estimator.features == "missing-only" and estimator.error_on_new and len(others):
        new = _flags(estimator, x, others)  # in columns that had all values in training rows
        refuse_rows(ops.greater(new, constant(0, new)))
    return _flags(estimator, x, estimator.features_)


def with_indicator(estimator, x, filled):
    """Return an imputer's output: the filled columns, then the columns that mark missing values.

    Parameters
    ----------
    estimator : fitted imputer
    x, filled : KerasTensor of shape (batch, n_columns), or Frame
        Before and after.
    """
    _refuse_invalid(estimator, x)
    places = estimator.indicator_.features_ if estimator.add_indicator else ()
    if not len(places):
        return filled
    flags = _flags(estimator, x, places)
    if not isinstance(filled, Frame):
        return ops.concatenate([filled, flags], axis=1)
    names = [f"missingindicator_{x.names[k]}" for k in places]
    return Frame({**filled.columns, **dict(zip(names, columns_of(flags), strict=True))})


def _refuse_invalid(estimator, x) -> None:
    """Refuse infinite numbers; missing values too, unless these are what the estimator looks for.

    Where words and numbers are mixed, scikit-learn does not ask whether the numbers are infinite.
    """
    parts = columns_of(x) if isinstance(x, Frame) else [x]
    if not pd.isna(estimator.missing_values):
        for part in parts:
            refuse_rows(is_missing(part, np.nan))
    if all(part.dtype != "string" for part in parts):
        numbers = x.numbers(wanted_by=type(estimator).__name__) if isinstance(x, Frame) else x
        refuse_infinite(numbers)


def is_missing(x, value: Any):
    """Whether each entry of a tensor of numbers, or a column of strings, is the missing value."""
    if x.dtype != "string":
        if pd.isna(value):
            return ops.isnan(x)
        number = np.nan if isinstance(value, str) else value  # NaN equals nothing
        return ops.equal(x, exact_constants(x, np.full(x.shape[1], number))[0])
    words = StringColumn.of(x)
    vocabulary = words.spellings(MISSING if pd.isna(value) else str(value))
    if not vocabulary:  # all have been replaced before
        vocabulary = [MISSING + MISSING]
    free = next(f"<{k}>" for k in range(len(vocabulary) + 1) if f"<{k}>" not in vocabulary)
    lookup = keras.layers.StringLookup(vocabulary=vocabulary, num_oov_indices=1, oov_token=free)
    return ops.greater(ops.cast(lookup(words.tensor), "int32"), np.zeros(1, np.int32))


def _flags(estimator, x, places):
    """Return 1 where a value of some columns is missing, else 0, as numbers."""
    chosen = take_columns(x, [int(k) for k in places])
    parts = list(chosen.columns.values()) if isinstance(chosen, Frame) else [chosen]
    masks = [is_missing(part, estimator.missing_values) for part in parts]
    mask = masks[0] if len(masks) == 1 else ops.concatenate(masks, axis=1)
    return ops.cast(mask, current_build().precision)


def _filled(estimator, x, fills: np.ndarray):
    """Return columns with their fill values in place of missing values."""
    if not isinstance(x, Frame):
        return _filled_numbers(estimator, x, fills)
    columns = {}
    for name, column, fill in zip(x.names, columns_of(x), fills, strict=True):
        if column.dtype == "string":
            columns[name] = _filled_words(estimator, name, StringColumn.of(column), fill)
        else:
            columns[name] = _filled_numbers(estimator, column, np.array([fill]))
    return Frame(columns)


def _filled_numbers(estimator, x, fills: np.ndarray):
    words = [fill for fill in fills.tolist() if isinstance(fill, str)]
    if words:
        raise NotConvertible(
            f"{type(estimator).__name__} puts the word {words[0]!r} into a column of numbers. Use "
            "a number as fill_value, and another imputer for columns of words."
        )
    mask = is_missing(x, estimator.missing_values)
    return ops.where(mask, exact_constants(x, fills.astype(np.float64))[0], x)


def _filled_words(estimator, name: Hashable, column: StringColumn, fill) -> StringColumn:
    if not isinstance(fill, str):
        raise NotConvertible(
            f"{type(estimator).__name__} puts {fill!r} into {name!r}, a column of words. Use a "
            "word as fill_value, and another imputer for columns of numbers."
        )
    value = estimator.missing_values
    return column.with_replacement(MISSING if pd.isna(value) else str(value), by=fill)


# The iterative imputer: each column predicted from the others.


@convert_transformer(sklearn_private.IterativeImputer)
def _iterative(estimator, x):
    """Return the rows after the imputer's last round.

    If every value of all rows is missing, scikit-learn skips its rounds. The graph never skips
    them: scikit-learn does not skip them either if other rows are given too.
    """
    if estimator.sample_posterior:
        raise NotConvertible(
            "IterativeImputer(sample_posterior=True) draws random numbers for each row: use "
            "sample_posterior=False."
        )
    columns = columns_of(convert(estimator.initial_imputer_, x, "transform"))
    kept = np.arange(x.shape[1])
    if not estimator.keep_empty_features:
        kept = np.flatnonzero(~estimator._is_empty_feature)
    missing = is_missing(take_columns(x, kept.tolist()), estimator.missing_values)
    steps = estimator.imputation_sequence_ if estimator.n_iter_ else ()
    for step in steps:
        k = int(step.feat_idx)
        if estimator._is_empty_feature[kept[k]]:  # kept as it was filled at first
            continue
        others = ops.concatenate([columns[int(j)] for j in step.neighbor_feat_idx], axis=1)
        y = ops.reshape(convert(step.estimator, others, "predict"), (-1, 1))
        low, high = estimator._min_value[k], estimator._max_value[k]
        y = ops.maximum(y, constant(low, x)) if np.isfinite(low) else y
        y = ops.minimum(y, constant(high, x)) if np.isfinite(high) else y
        columns[k] = ops.where(missing[:, k : k + 1], y, columns[k])
    return with_indicator(estimator, x, ops.concatenate(columns, axis=1))
