"""Transformers side by side: each sees some columns or all, and their outputs are joined."""

import numpy as np
from keras import ops
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import FunctionTransformer

from stackfuse._core import NotConvertible, targets
from stackfuse._export.converters.shared import numpy_functions
from stackfuse._export.graph.arithmetic import exact_constants
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)
from stackfuse._export.graph.frame import (
    Frame,
    columns_of,
    take_columns,
)
from stackfuse._export.graph.masks import refuse_as


@converter_for(ColumnTransformer, frames=True)
def _column_transformer(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    names = getattr(estimator, "feature_names_in_", None)
    if isinstance(x, Frame) and names is not None:
        places = {name: k for k, name in enumerate(x.names)}
        x = x.take([places[name] for name in names])
    blocks = []
    for name, transformer, _ in estimator.transformers_:
        places = estimator._transformer_to_input_indices[name]
        if targets.is_dropped(transformer) or not len(places):
            continue
        part = take_columns(x, [int(k) for k in places])
        weight = (estimator.transformer_weights or {}).get(name)
        blocks.append(_times_weight(_transform(estimator, transformer, part), weight))
    return _side_by_side(estimator, blocks)


@converter_for(FeatureUnion, frames=True)
def _feature_union(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    parts = [
        _times_weight(_transform(estimator, transformer, x), weight)
        for _, transformer, weight in estimator._iter()
    ]
    return _side_by_side(estimator, parts)


@converter_for(FunctionTransformer, frames=True)
def _function(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    function = estimator.func
    if function is None and not estimator.validate:
        return x
    x = x.numbers(wanted_by="FunctionTransformer") if isinstance(x, Frame) else x
    refuse_as(estimator, x, method)
    if function is None:
        return x
    return numpy_functions.apply(function, x, estimator.kw_args, used_by="FunctionTransformer")


@converter_for(SelectorMixin, frames=True)
def _selector(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    places = np.flatnonzero(estimator.get_support()).tolist()
    if not places:
        raise NotConvertible(
            f"{type(estimator).__name__} selects no column. Change its settings so that it "
            "selects one."
        )
    if not isinstance(x, Frame):
        refuse_as(estimator, x, method)
    elif all(column.dtype != "string" for column in columns_of(x)):
        refuse_as(estimator, x.numbers(wanted_by=type(estimator).__name__), method)
    return take_columns(x, places)


def _transform(owner, transformer, x):
    """Return the output of a part of an estimator for x: numbers, or a frame that holds strings."""
    if not (isinstance(transformer, str) and transformer == "passthrough"):
        x = convert(transformer, x, "transform")
    if isinstance(x, Frame) and any(column.dtype == "string" for column in columns_of(x)):
        return x
    return x.numbers(wanted_by=type(owner).__name__) if isinstance(x, Frame) else x


def _times_weight(x, weight: float | None):
    if weight is None:
        return x
    if isinstance(x, Frame):
        raise NotConvertible(
            "transformer_weights multiply numbers, but a column holds strings. Encode it, or "
            "leave the weights out."
        )
    return x * exact_constants(x, np.full(x.shape[1], weight))[0]


def _side_by_side(estimator, blocks: list):
    if not blocks:
        raise NotConvertible(
            f"{type(estimator).__name__} returns no columns. Add a transformer that returns some."
        )
    if len(blocks) == 1:
        return blocks[0]
    if not any(isinstance(block, Frame) for block in blocks):
        return ops.concatenate(blocks, axis=1)
    columns = [column for block in blocks for column in columns_of(block)]
    return Frame(dict(zip(_names_of_outputs(estimator, len(columns)), columns, strict=True)))


def _names_of_outputs(estimator, n_columns: int) -> list:
    """Return the names that columns have after an estimator, or their numbers if it has none."""
    try:
        names = list(estimator.get_feature_names_out())
    except (AttributeError, ValueError):  # a part of it cannot tell
        names = []
    return names if len({*names}) == n_columns else list(range(n_columns))
