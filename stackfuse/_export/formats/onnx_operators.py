"""Operations of TensorFlow that tf2onnx does not know, or writes with other numbers."""

from typing import Any

import numpy as np


class _Replacement:
    """The ONNX operators in the place of one operation of TensorFlow.

    Parameters
    ----------
    ctx : tf2onnx.graph.Graph
    node : tf2onnx.graph.Node
        The operation.
    name : str
        Its name.
    """

    def __init__(self, ctx, node, name: str):
        self.ctx, self.node, self.name = ctx, node, name

    def made(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Return the output of a new operator."""
        return self.ctx.make_node(operation, list(inputs), attr=attributes).output[0]

    def cast(self, x: str, dtype: int) -> str:
        """Return a tensor in a dtype of ONNX."""
        return self.made("Cast", x, to=dtype)

    def constant(self, name: str, value: np.ndarray) -> str:
        """Return a constant; other nodes may have the operation's name with a number."""
        from tf2onnx.utils import make_name

        return self.ctx.make_const(make_name(f"{self.name}/{name}"), value).output[0]

    def number(self, value: float) -> str:
        """Return a number in the dtype of the operation's input."""
        from tf2onnx.utils import ONNX_TO_NUMPY_DTYPE

        dtype = ONNX_TO_NUMPY_DTYPE[self.ctx.get_dtype(self.node.input[0])]
        return self.constant("number", np.array(value, dtype))

    def ends(self, operation: str, *inputs: str, **attributes: Any) -> None:
        """Put a last operator in the place of the operation."""
        ctx, outputs = self.ctx, self.node.output
        shapes, dtypes = [ctx.get_shape(outputs[0])], [ctx.get_dtype(outputs[0])]
        ctx.remove_node(self.node.name)
        ctx.make_node(
            operation,
            list(inputs),
            attr=attributes,
            name=self.name,
            outputs=outputs,
            shapes=shapes,
            dtypes=dtypes,
        )


def _keep_node(ctx, node, name, args) -> None:
    """Leave a node as it is but for its type.

    Without this, a choice between numbers becomes ``chosen * a + (1 - chosen) * b``, which is NaN
    where the one that is not chosen is NaN or infinite; and a logarithm is computed in float32.
    """


def _write_sigmoid(ctx, node, name, args) -> None:
    """Write a sigmoid, in float64 as ``1 / (1 + exp(-x))``.

    onnxruntime's own is 0 from -37 on, and has 8 digits at -15. Probabilities that are so small
    are divided by their sum where there is one model for each class.
    """
    from onnx import TensorProto

    if ctx.get_dtype(node.input[0]) != TensorProto.DOUBLE:
        return
    new = _Replacement(ctx, node, name)
    below = new.made("Exp", new.made("Neg", node.input[0]))
    new.ends("Reciprocal", new.made("Add", below, new.constant("one", np.ones(1))))


def _write_log1p(ctx, node, name, args) -> None:
    """Write ``log(1 + x)``, times x and divided by ``(1 + x) - 1`` where x is small.

    Both have the same rounding of ``1 + x`` (D. Goldberg, "What every computer scientist should
    know about floating-point arithmetic", 1991, theorem 4).
    """
    new, x = _Replacement(ctx, node, name), node.input[0]
    one = new.number(1)
    above = new.made("Add", x, one)
    rounded, log = new.made("Sub", above, one), new.made("Log", above)
    right = new.made("Div", new.made("Mul", log, x), rounded)
    right = new.made("Where", new.made("Equal", rounded, new.number(0)), x, right)
    new.ends("Where", new.made("Less", new.made("Abs", x), new.number(0.5)), right, log)


def _write_buckets(ctx, node, name, args) -> None:
    """Write the number of boundaries that are not above x, as ``digitize`` counts them."""
    from onnx import TensorProto

    new, x = _Replacement(ctx, node, name), node.input[0]
    boundaries = new.constant("boundaries", np.array(node.get_attr("boundaries").floats, "float32"))
    last = new.constant("last", np.array([-1]))
    each = new.made("Unsqueeze", new.cast(x, TensorProto.FLOAT), last)
    reached = new.cast(new.made("GreaterOrEqual", each, boundaries), TensorProto.INT32)
    new.ends("ReduceSum", reached, last, keepdims=0)


def _write_erfc(ctx, node, name, args) -> None:
    """Write what is left of the error function, by which TensorFlow computes GELU.

    In float64 onnxruntime has no error function: it refuses the operation by its name then.
    """
    from onnx import TensorProto

    if ctx.get_dtype(node.input[0]) == TensorProto.FLOAT:
        new = _Replacement(ctx, node, name)
        new.ends("Sub", new.number(1), new.made("Erf", node.input[0]))


def _write_expm1(ctx, node, name, args) -> None:
    """Write ``exp(x) - 1``, between -1 and 1 as ``2 t / (1 - t)`` with ``t = tanh(x / 2)``."""
    new, x = _Replacement(ctx, node, name), node.input[0]
    one, t = new.number(1), new.made("Tanh", new.made("Mul", x, new.number(0.5)))
    near = new.made("Div", new.made("Add", t, t), new.made("Sub", one, t))
    far = new.made("Sub", new.made("Exp", x), one)
    new.ends("Where", new.made("Less", new.made("Abs", x), one), near, far)


def _write_sign(ctx, node, name, args) -> None:
    """Write the bits of float32 numbers, of which only the sign is looked at.

    Keras' ``signbit``, and so its ``argmax``, looks at this bit. ONNX has an operator for bits from
    version 26 on. Here the sign comes from comparisons; that of a zero from its reciprocal.
    """
    sign = np.iinfo(np.int32).min
    for user in ctx.find_output_consumers(node.output[0]):
        masks = [each.get_tensor_value() for each in user.inputs if each.is_const()]
        if user.type != "BitwiseAnd" or masks != [sign]:
            raise NotImplementedError(f"ONNX has no operator for the bits of numbers, in {name}")

    new, x = _Replacement(ctx, node, name), node.input[0]
    zero = new.number(0)
    is_set = new.made(
        "Or", *(new.made("Less", y, zero) for y in (x, new.made("Div", new.number(1), x)))
    )
    flags = [new.constant(f"{value}", np.array(value, np.int32)) for value in (sign, 0)]
    new.ends("Where", is_set, *flags)


#: Functions that write operations, by these operations' names, and arguments for them.
HANDLERS: dict[str, tuple[Any, list[str]]] = {
    "Bitcast": (_write_sign, []),
    "Bucketize": (_write_buckets, []),
    "Erfc": (_write_erfc, []),
    "Expm1": (_write_expm1, []),
    "Log": (_keep_node, ["Log"]),
    "Log1p": (_write_log1p, []),
    "SelectV2": (_keep_node, ["Where"]),
    "Sigmoid": (_write_sigmoid, []),
}
