"""Steps that lead from images or several inputs to estimators that take a table."""

import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.graph.convert import convert_transformer
from stackfuse._export.graph.frame import Frame
from stackfuse._stacking import Flatten, Pick


@convert_transformer(Flatten, frames=True)
def _flatten(estimator, x):
    if isinstance(x, Frame):  # a table already
        return x
    parts = list(x.values()) if isinstance(x, dict) else [x]
    if len({part.dtype for part in parts}) > 1:
        raise NotConvertible(
            "Flatten joins inputs of strings and of numbers, which a graph cannot: pick the "
            f"inputs of one kind before, sf.Pick({list(x)[:1]})."
        )
    tables = [ops.reshape(part, (-1, int(np.prod(part.shape[1:], dtype=int)))) for part in parts]
    return tables[0] if len(tables) == 1 else ops.concatenate(tables, axis=1)


@convert_transformer(Pick, frames=True)
def _pick(estimator, x):
    if isinstance(estimator.name, str):
        return x[estimator.name]
    return {name: x[name] for name in estimator.name}
