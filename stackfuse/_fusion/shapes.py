"""Bring the outputs of joined models to one dtype and one shape."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from keras import layers, ops

from stackfuse._core import messages
from stackfuse._fusion.meaning import MemberOutput

#: Strategies that put columns side by side: only the axes before the last have to agree.
SIDE_BY_SIDE = ("concat", "bilinear")


def cast_to_one_dtype(parts: list[MemberOutput]) -> list[MemberOutput]:
    """Return the outputs as float64 if one of them is float64, else as float32.

    Half precision is for the inside of a network: sums and logarithms of outputs need more digits.
    An output of shape (batch,) becomes a column.
    """
    for part in parts:
        if part.tensor.dtype == "string":
            raise ValueError(
                f"{part.label} gives strings, which cannot be joined. Choose an earlier layer "
                "with layer=."
            )
    dtype = "float64" if any(part.tensor.dtype == "float64" for part in parts) else "float32"
    result = []
    for part in parts:
        tensor = part.tensor if part.tensor.dtype == dtype else ops.cast(part.tensor, dtype)
        if len(tensor.shape) == 1:
            tensor = ops.expand_dims(tensor, axis=-1)
        result.append(replace(part, tensor=tensor))
    return result


def align_shapes(
    parts: list[MemberOutput], align: str | Sequence[str] | None
) -> list[MemberOutput]:
    """Return the outputs after the steps of `align`, which give them one shape.

    Raises
    ------
    ValueError
        If a step is not known, or an output has an axis of unknown length that the step needs.
    """
    if align is None:
        return parts
    if not isinstance(align, str | list | tuple):
        raise TypeError(
            f"align must be {messages.listed(list(_ALIGNMENTS))}, or a list, got {align!r}."
        )
    for step in [align] if isinstance(align, str) else align:
        if step not in _ALIGNMENTS:
            raise ValueError(
                f"align must be {messages.listed(list(_ALIGNMENTS))}, or a list, got {step!r}."
            )
        parts = _ALIGNMENTS[step](parts)
    return parts


def check_shapes(parts: list[MemberOutput], how: str) -> None:
    """Raise if a strategy would have to broadcast.

    Raises
    ------
    ValueError
        The message names both shapes and the remedies.
    """
    first = parts[0]
    for part in parts[1:]:
        ranks = len(first.shape), len(part.shape)
        if how in SIDE_BY_SIDE:
            agree, needs = first.shape[:-1] == part.shape[:-1], "one shape up to the last axis"
        else:
            agree, needs = first.shape == part.shape, "one shape"
        if agree:
            continue
        remedies = []
        if max(ranks) > 2:
            remedies += [
                "align='pool' averages over space or time",
                "align='flatten' makes rows of it",
            ]
        if ranks[0] == ranks[1] and how not in SIDE_BY_SIDE:
            remedies += ["align='project' adds a Dense layer to one width"]
            remedies += ["how='concat' puts them side by side"] * (ranks[0] == 2)
        remedies += ["layer= chooses other layers"]
        raise ValueError(
            f"{first.label} gives shape {first.shape} and {part.label} {part.shape}, but "
            f"how={how!r} needs {needs}. Shapes are not broadcast: {'; '.join(remedies)}."
        )


def _projected(parts: list[MemberOutput]) -> list[MemberOutput]:
    """Return features of the largest width; narrower outputs pass a Dense layer of that width."""
    width = max(part.shape[-1] for part in parts)
    if all(part.shape[-1] == width for part in parts):
        return parts
    return [
        replace(
            part,
            kind="features",
            link=None,
            tensor=part.tensor
            if part.shape[-1] == width
            else layers.Dense(width, dtype=part.tensor.dtype)(part.tensor),
        )
        for part in parts
    ]


def _pooled(parts: list[MemberOutput]) -> list[MemberOutput]:
    """Return each output's mean over the axes between the first and the last."""
    pools = {
        3: layers.GlobalAveragePooling1D,
        4: layers.GlobalAveragePooling2D,
        5: layers.GlobalAveragePooling3D,
    }
    return [
        replace(part, tensor=pools[len(part.shape)](dtype=part.tensor.dtype)(part.tensor))
        if len(part.shape) in pools
        else part
        for part in parts
    ]


def _flattened(parts: list[MemberOutput]) -> list[MemberOutput]:
    """Return each output as one row of features."""
    result = []
    for part in parts:
        if len(part.shape) == 2:
            result.append(part)
            continue
        if None in part.shape[1:]:
            raise ValueError(
                f"{part.label} gives shape {part.shape}, which has no fixed length, so it cannot "
                "be flattened: use align='pool'."
            )
        flat = layers.Flatten(dtype=part.tensor.dtype)(part.tensor)
        result.append(replace(part, tensor=flat, kind="features", link=None))
    return result


_ALIGNMENTS: dict[str, Callable[[list[MemberOutput]], list[MemberOutput]]] = {
    "project": _projected,
    "pool": _pooled,
    "flatten": _flattened,
}
