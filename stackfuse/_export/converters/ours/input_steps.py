"""Steps that lead from dates, texts, images or several inputs to estimators that take a table."""

import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import constant
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.convert import convert_transformer
from stackfuse._export.graph.frame import MISSING, Frame
from stackfuse._steps import DateParts, Flatten, Pick, TextVectorizer, dates


@convert_transformer(Flatten, frames=True)
def _flatten(estimator, x):
    if isinstance(x, Frame):  # a table already
        return x
    parts = list(x.values()) if isinstance(x, dict) else [x]
    if len({part.dtype for part in parts}) > 1:
        raise NotConvertible(
            "Flatten joins strings and numbers, which a graph cannot do. Pick the inputs of one "
            f"kind first: sf.Pick({list(x)[:1]})."
        )
    tables = [ops.reshape(part, (-1, int(np.prod(part.shape[1:], dtype=int)))) for part in parts]
    return tables[0] if len(tables) == 1 else ops.concatenate(tables, axis=1)


@convert_transformer(Pick, frames=True)
def _pick(estimator, x):
    if isinstance(estimator.name, str):
        return x[estimator.name]
    return {name: x[name] for name in estimator.name}


@convert_transformer(DateParts)
def _date_parts(estimator, x):
    """Repeat :meth:`DateParts.transform`; x holds days since 1970."""
    parts = [x]
    for length, before in dates.CYCLES.values():
        place = x + before
        place = place - ops.floor(place / length) * length
        # A runtime may divide by multiplying, and so be one beside the quotient.
        place = ops.where(place < 0.0, place + length, place)
        place = ops.where(place >= length, place - length, place)
        if estimator.cyclic:
            angle = place * constant(np.full(x.shape[1], 2.0 * np.pi / length), x)
            parts += [ops.sin(angle), ops.cos(angle)]
        else:
            parts.append(place)
    return ops.concatenate(parts, axis=1)


@convert_transformer(TextVectorizer, frames=True)
def _text_vectorizer(estimator, x):
    texts = x.strings(wanted_by="TextVectorizer") if isinstance(x, Frame) else x
    texts = ops.where(ops.equal(texts, MISSING), "", texts)
    parts = [layer(texts[:, k]) for k, layer in enumerate(estimator.layers())]
    numbers = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    return ops.cast(numbers, current_build().precision)
