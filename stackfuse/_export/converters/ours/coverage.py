"""Intervals and sets, made from the same numbers as by ``predict_interval`` and ``predict_set``."""

from keras import ops

from stackfuse._export.graph.arithmetic import constant
from stackfuse._export.graph.convert import convert, once, unsupported
from stackfuse._stacking import IntervalMaker, SetMaker


def coverage_output(stack, table, name: str):
    """Return an output of a stack that was asked for a coverage.

    Parameters
    ----------
    stack : fitted stack
    table : KerasTensor of shape (batch, n_columns)
        The table of the meta-learner.
    name : {"lower", "upper", "set"}
    """
    maker = getattr(stack, "_coverage", None)
    if maker is None or name not in maker.names:
        raise unsupported(stack, name)
    if isinstance(maker, SetMaker):
        return _members(maker, convert(stack.final_estimator_, table, "predict_proba"))
    return _ends(stack, table)[maker.names.index(name)]


@once
def _ends(stack, table):
    """Return the lower and the upper ends, each (batch,) or (batch, n_outputs)."""
    maker: IntervalMaker = stack._coverage
    if maker.asks_final:
        middle = ops.reshape(
            convert(stack.final_estimator_, table, "predict"), (-1, maker.n_outputs)
        )
        low = high = middle
    else:
        first, second = _columns(maker, table)
        low, high = ops.minimum(first, second), ops.maximum(first, second)
    margin = constant(maker.margin, low)
    width = ops.ones_like(low) * margin
    if maker.floor is not None:
        width = (_spread(maker, table) + constant(maker.floor, low)) * margin
    low, high = low - width, high + width
    if not maker.asks_final:  # quantiles that are moved inwards may cross
        middle = (low + high) / constant(2.0, low)
        crossed = ops.greater(low, high)
        low, high = ops.where(crossed, middle, low), ops.where(crossed, middle, high)
    return (low[:, 0], high[:, 0]) if maker.is_flat else (low, high)


def _columns(maker: IntervalMaker, table) -> list:
    """Return the columns of each base that is asked; those of a base lie side by side."""
    return [table[:, places[0] : places[-1] + 1] for places in maker.places]


def _spread(maker: IntervalMaker, table):
    """Return the standard deviation of the bases' predictions, of shape (batch, n_outputs)."""
    said = _columns(maker, table)
    count = constant(float(len(said)), table)
    mean = sum(said[1:], said[0]) / count
    squares = [ops.square(column - mean) for column in said]
    return ops.sqrt(sum(squares[1:], squares[0]) / count)


def _members(maker: SetMaker, chances):
    """Return 1 for each class that is in the set of a row, else 0, as int64."""
    limit = constant(maker.limit, chances)
    if maker.method == "lac":
        return ops.cast(ops.less_equal(1 - chances, limit), "int64")
    others = ops.expand_dims(chances, 1)
    is_likelier = ops.greater(others, ops.expand_dims(chances, 2) + constant(maker.slack, chances))
    scores = ops.sum(ops.where(is_likelier, others, constant(0.0, chances)), axis=2)
    return ops.cast(ops.less_equal(scores, limit), "int64")
