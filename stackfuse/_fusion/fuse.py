"""fuse: join trained Keras models into one."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from stackfuse._core import errors, fitting, messages
from stackfuse._fusion.inputs import (
    Source,
    outputs_of,
    sources_of,
)
from stackfuse._fusion.meaning import (
    MemberOutput,
    bring_to_one_scale,
    marked,
    member_output,
)
from stackfuse._fusion.members import (
    members_of,
    per_model,
)
from stackfuse._fusion.shapes import (
    SIDE_BY_SIDE,
    align_shapes,
    cast_to_one_dtype,
    check_shapes,
)
from stackfuse._fusion.strategies import FIXED, FUSIONS, Fusion
from stackfuse._keras import copies, private

#: The strategies for `how`; "dense" is missing, since it is concat with a head.
_STRATEGIES = {name: fusion for name, fusion in {**FUSIONS, **FIXED}.items() if name != "dense"}


def fuse(
    models: Sequence[Any],
    how: str | Fusion = "concat",
    *,
    layer: Any = None,
    head: Any = None,
    inputs: Any = "auto",
    kinds: Any = None,
    align: str | Sequence[str] | None = None,
    weights: Sequence[float] | str | None = None,
    context: str | None = None,
    trainable: bool = False,
    name: str | None = None,
) -> Any:
    """Join trained Keras models into one Keras model.

    The models are copied and never changed. The result holds stock layers only, as far as the
    models do: it saves, loads in safe mode, compiles and trains like any other.

    Parameters
    ----------
    models : sequence of keras.Model, str or PathLike
        At least two; a path is of a ``.keras`` or ``.h5`` file, which is loaded without the
        optimizer and the metrics that it was compiled with.
    how : str or callable, default="concat"
        How the models' outputs are combined:
        "concat" side by side; "add", "average", "median", "multiply", "maximum"; "vote" the share
        of the models that choose a class; "weighted" a convex combination; "geometric" the
        log-linear pool; "attention" and "gated" weigh the models row by row; "bilinear" the
        products of all pairs of columns. A strategy of your own is a function from the list of
        the outputs' tensors to one tensor, made of stock layers and ``keras.ops``; it has to know
        the meaning of the outputs itself.
    layer : int, str, None or list of these, default=None
        Which outputs are joined: the models', or those of a layer by its place in ``model.layers``
        (-2 is the last but one) or by its name. A list has one entry per model.
    head : keras layer, keras.Model, callable or list of these, default=None
        Applied to the joined outputs, which are one tensor, and returns a tensor; a list is
        applied in its order. The layers become part of the result. By default the joined outputs
        are the result.
    inputs : {"auto", "shared", "separate"} or dict, default="auto"
        "separate" gives every input of every model its own input of the joined model. "shared"
        makes one input for all models; several inputs are matched by name, or else by their order.
        "auto" shares inputs of equal shape, dtype and name (names that Keras made up, and "x",
        count as equal), unless one model has two of them. A dict names the inputs and lists their
        readers, ``{"x": [0, 1], "image": [(2, "pixels")]}``: a reader is the number of a model,
        or a pair of this number and the name of its input if the model has several.
    kinds : str or list of str, default=None
        The meaning of the outputs: "probability" ("sigmoid" of labels, "softmax" of classes),
        "logits", "regression" or "features". None reads it from the last activation and the loss.
    align : {"project", "pool", "flatten"} or list of these, default=None
        How to give outputs of different shapes one shape. "project": a Dense layer to the largest
        width; "pool": means over space or time; "flatten": one row of features per model.
    weights : sequence of float, "learned" or None, default=None
        The weights of the models, with "weighted" (by default learned) and "geometric" (by default
        equal). Given weights must not be negative, and must sum to one.
    context : str, default=None
        The source of the row weights of "attention" and "gated": None for the models' outputs,
        "inputs" for all inputs that are tables, or the name of one input.
    trainable : bool, default=False
        By default the models are frozen: their weights stay, batch normalisation uses its moving
        statistics, dropout and noise are off, also with ``training=True``. With True the models
        can be trained on; layers that were frozen stay frozen.
    name : str, default=None
        The name of the joined model; by default "joined", "joined_1" and so on, as Keras counts.

    Returns
    -------
    joined : keras.Model
        Not compiled. Its output is float32, or float64 if a model's is. Where the models' outputs
        have a meaning that the strategy keeps, the last layer's name tells it: the joined model
        can be joined again.

    Raises
    ------
    ValueError, TypeError
        If shapes differ (nothing is ever broadcast), the outputs' meanings cannot be combined, or
        a meaning that matters cannot be read.
    NotConvertible
        If a model cannot be loaded or copied safely.

    Notes
    -----
    Unless ``how`` is "concat" or "bilinear", probabilities are joined with probabilities of the
    same classes only, in the order of their columns. Logits mixed with probabilities, or
    multiplied, become probabilities first; one unit with a sigmoid next to two with a softmax
    becomes two columns. Products, geometric means, and maxima of a softmax, are normalised again.

    The features of models that were trained apart lie in different rotations: averaging them is
    as good as averaging random projections. A head on their concatenation loses nothing.

    Examples
    --------
    >>> import keras, numpy as np, stackfuse as sf
    >>> def regressor():
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     model.compile(loss="mean_squared_error")
    ...     return model
    >>> one, two = regressor(), regressor()
    >>> product = sf.fuse([one, two], "multiply")
    >>> x = np.ones((5, 3), "float32")
    >>> np.allclose(product(x), one(x) * two(x))
    True
    """
    _check_how(how, weights, context)
    _check_name(name)
    fitting.check_settings({"trainable": trainable}, {"trainable": fitting.FLAG})
    members = members_of(models, layer, trainable)
    sources = sources_of(members, inputs)
    outputs = outputs_of(members, sources)
    kinds = per_model("kinds", kinds, len(members))
    parts = [member_output(*one) for one in zip(members, outputs, kinds)]
    parts = align_shapes(cast_to_one_dtype(parts), align)
    options = _strategy_options(how, weights, context, sources, parts)
    y = _apply_head(_join_outputs(parts, how, options, has_head=head is not None), head)
    x = [source.tensor for source in sources]
    name = private.next_name("joined") if name is None else name
    joined = keras.Model(x[0] if len(x) == 1 else x, y, name=name)
    copies.refuse_unsafe(joined)
    return joined


def _check_how(how: str | Fusion, weights: Any, context: Any) -> None:
    known = [*_STRATEGIES]
    if how not in known and (not callable(how) or isinstance(how, type)):
        raise ValueError(
            f"how must be {messages.listed(known)}, or a function, got {how!r}."
            f"{messages.did_you_mean(str(how), known)}"
        )
    if weights is not None and how not in ("weighted", "geometric"):
        raise ValueError(
            f"weights work only with how='weighted' or 'geometric', got how={how!r}. Leave "
            "weights out."
        )
    if context is not None and how not in ("attention", "gated"):
        raise ValueError(
            f"context works only with how='attention' or 'gated', got how={how!r}. Leave context "
            "out."
        )


def _check_name(name: Any) -> None:
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise ValueError(f"name must be text without '/', or None, got {name!r}.")


def _strategy_options(
    how: str | Fusion,
    weights: Any,
    context: str | None,
    sources: list[Source],
    parts: list[MemberOutput],
) -> dict[str, Any]:
    """Return the strategy's arguments besides the tensors."""
    if weights is not None:
        return {"weights": weights}
    return (
        {}
        if context is None
        else {"context": _context_table(context, sources, parts[0].tensor.dtype)}
    )


def _context_table(name: str, sources: list[Source], dtype: str):
    """Return the inputs that the row weights are computed from, as one table."""
    names = [source.name for source in sources]
    tables = [s for s in sources if len(s.tensor.shape) == 2 and s.tensor.dtype != "string"]
    chosen = tables if name == "inputs" else [s for s in tables if s.name == name]
    if not chosen:
        shapes = {source.name: tuple(source.tensor.shape) for source in sources}
        raise ValueError(
            f"context must be None, 'inputs' or the name of an input that is a table of numbers, "
            f"got {name!r}; the inputs are {shapes}.{messages.did_you_mean(name, names)}"
        )
    tensors = [ops.cast(source.tensor, dtype) for source in chosen]
    return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=-1)


def _join_outputs(
    parts: list[MemberOutput], how: str | Fusion, options: dict[str, Any], *, has_head: bool
):
    """Join the outputs by a strategy, after bringing them to one scale if it combines values."""
    if not isinstance(how, str):
        tensors = [part.tensor for part in parts]
        return _check_tensors(_called(how, tensors, "how"), "how", single=True)
    strategy = _STRATEGIES[how]
    if how in SIDE_BY_SIDE:
        check_shapes(parts, how)
        return strategy([part.tensor for part in parts])
    parts = bring_to_one_scale(parts, how)
    check_shapes(parts, how)
    y = _combine(strategy, parts, how, options, has_head=has_head)
    return y if has_head else marked(y, parts[0].kind, parts[0].link)


def _combine(
    strategy: Callable, parts: list[MemberOutput], how: str, options: dict, *, has_head: bool
):
    """Join outputs of one kind and on one scale by a strategy that combines values."""
    tensors = [part.tensor for part in parts]
    if parts[0].kind != "probability":
        return strategy(tensors, **options)
    if how == "add" and not has_head:
        raise ValueError(
            f"how='add' of {len(parts)} probabilities sums to {len(parts)}, which is not a "
            "probability: use how='average'."
        )
    if how == "vote":
        return strategy(tensors, labels=parts[0].link == "sigmoid")
    if how in ("multiply", "geometric"):
        return _join_distributions(strategy, tensors, parts[0].link, {**options, "normalize": True})
    y = strategy(tensors, **options)
    if how in ("maximum", "median") and parts[0].link == "softmax":
        return y / ops.sum(y, axis=-1, keepdims=True)
    return y


def _join_distributions(
    strategy: Callable, tensors: list, link: str | None, options: dict[str, Any]
):
    """Apply a strategy over distributions to probabilities.

    A unit with a sigmoid is a distribution of its own, over no and yes.
    """
    if link == "softmax":
        return strategy(tensors, **options)
    both = [ops.stack([1 - tensor, tensor], axis=-1) for tensor in tensors]
    return strategy(both, **options)[..., 1]


def _apply_head(tensor, head: Any):
    """Return a tensor after the head."""
    if head is None:
        return tensor
    for part in head if isinstance(head, list | tuple) else [head]:
        if not callable(part) or isinstance(part, type):
            raise TypeError(
                "head must be a layer, a model, a function of a tensor, or a list of these, such "
                f"as [keras.layers.Dense(64, 'relu'), keras.layers.Dense(1)], got {part!r}."
            )
        tensor = _called(part, tensor, "head")
    return _check_tensors(tensor, "head")


def _called(function: Callable, tensors: Any, parameter: str) -> Any:
    """Return what a user's function makes of tensors; say what it was given if it fails."""
    try:
        return function(tensors)
    except Exception as error:
        shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(tensors)]
        given = (
            f"a list of tensors of shapes {shapes}"
            if parameter == "how"
            else (f"a tensor of shape {shapes[0]}")
        )
        raise ValueError(
            f"{parameter} failed on {given}: {errors.message_of(error).rstrip('.')}. It takes "
            "tensors of a graph: compute by keras.ops and layers."
        ) from error


def _check_tensors(outputs: Any, parameter: str, *, single: bool = False) -> Any:
    """Return the outputs of a user's function, or raise if they are no tensors of the graph."""
    if single and isinstance(outputs, list | tuple | dict):
        raise TypeError(
            f"{parameter} must return one tensor of the graph, got "
            f"{messages.with_article(type(outputs).__name__)} of {len(outputs)}."
        )
    for output in keras.tree.flatten(outputs):
        if not isinstance(output, keras.KerasTensor):
            raise TypeError(
                f"{parameter} must return a Keras tensor, computed from its arguments, got "
                f"{output!r}."
            )
    return outputs
