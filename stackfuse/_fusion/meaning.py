"""The meaning of members' outputs (logits, probabilities, numbers), and their common scale."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from keras import layers, ops

from stackfuse._core import messages
from stackfuse._fusion.members import Member
from stackfuse._keras import (
    losses,
)

Link = Literal["sigmoid", "softmax"]

#: The words for `kinds`, each with its kind and, where the word implies one, its link.
KINDS: dict[str, tuple[str, Link | None]] = {
    "probability": ("probability", None),
    "sigmoid": ("probability", "sigmoid"),
    "softmax": ("probability", "softmax"),
    "logits": ("logits", None),
    "regression": ("regression", None),
    "features": ("features", None),
}

_REGRESSION = {
    "huber",
    "logcosh",
    "meanabsoluteerror",
    "meanabsolutepercentageerror",
    "meansquarederror",
    "meansquaredlogarithmicerror",
    "poisson",
}


#: Names of the last layer of a joined model, which tell what its outputs are, and their meanings.
_MARKS: dict[str, tuple[str, Link | None]] = {
    "joined_softmax": ("probability", "softmax"),
    "joined_sigmoid": ("probability", "sigmoid"),
    "joined_softmax_logits": ("logits", "softmax"),
    "joined_sigmoid_logits": ("logits", "sigmoid"),
    "joined_regression": ("regression", None),
}


@dataclass(frozen=True)
class MemberOutput:
    """The output of a member, with its meaning.

    Attributes
    ----------
    label : str
        Names the member in messages.
    tensor : KerasTensor of shape (batch, ..., width)
    kind : {"logits", "probability", "regression", "features"} or None
        None if it is not known.
    link : {"sigmoid", "softmax"} or None
        The function from logits to probabilities: "sigmoid" for separate labels, or for one unit
        and two classes; "softmax" for classes of which one is true.
    reason : str
        Why the kind is not known.
    """

    label: str
    tensor: Any
    kind: str | None
    link: Link | None = None
    reason: str = ""

    @property
    def shape(self) -> tuple:
        """The shape of the tensor, (None, ..., width)."""
        return tuple(self.tensor.shape)

    @property
    def is_of_classes(self) -> bool:
        """Whether the output holds probabilities or logits of classes."""
        return self.kind in ("logits", "probability")

    def summary(self) -> str:
        """Describe the output, for a message."""
        what = f"{self.kind} ({self.link})" if self.link else f"{self.kind}"
        return f"{self.label} gives {what} of shape {self.shape}"


def member_output(member: Member, tensor: Any, declared: str | None) -> MemberOutput:
    """Return a member's output with its declared meaning, or read it from activation and loss.

    Raises
    ------
    ValueError
        If the declared meaning contradicts the last activation or the loss.
    """
    part = MemberOutput(member.label, tensor, None)
    family = _loss_family(member.loss)
    if declared is None:
        return replace(part, **_read_meaning(member, tensor, family))
    if declared not in KINDS:
        raise ValueError(f"kinds must name {messages.listed(list(KINDS))}, got {declared!r}.")
    kind, link = KINDS[declared]
    last = member.activation if member.activation in ("sigmoid", "softmax") else None
    if not member.inner and (
        (kind == "logits" and last)
        or (link and last and link != last)
        or (kind == "probability" and from_logits_of(member.loss) and not last)
    ):
        seen = f"ends in a {last}" if last else f"was trained with {_describe_loss(member.loss)}"
        raise ValueError(
            f"kinds says {declared!r} for the output of {member.label}, but it {seen}. Correct "
            "kinds."
        )
    if kind in ("probability", "logits"):
        link = link or _link_named(last) or _link_of_loss(family, tensor.shape[-1])
    return replace(part, kind=kind, link=link)


def from_logits_of(loss: Any) -> bool | None:
    """Whether a loss takes logits; None without a loss, or if that is not known."""
    return None if loss is None else losses.from_logits(loss)


def _link_named(name: str | None) -> Link | None:
    return "sigmoid" if name == "sigmoid" else "softmax" if name == "softmax" else None


def _loss_family(loss: Any) -> str | None:
    """Return "sigmoid" for a loss over labels, "softmax" over classes, "regression" or "other"."""
    if loss is None:
        return None
    name = losses.stock_name(loss)
    if name.startswith("binary"):
        return "sigmoid"
    if "categorical" in name and "hinge" not in name:
        return "softmax"
    return "regression" if name in _REGRESSION else "other"


def _link_of_loss(family: str | None, width: int | None) -> Link:
    if family in ("sigmoid", "softmax") and width != 1:
        return "sigmoid" if family == "sigmoid" else "softmax"
    return "sigmoid" if width == 1 else "softmax"


def _describe_loss(loss: Any) -> str:
    logits = ", from_logits=True" if from_logits_of(loss) else ""
    return f"the loss {losses.loss_name(loss)!r}{logits}"


def _read_meaning(member: Member, tensor: Any, family: str | None) -> dict[str, Any]:
    """Return the kind and link that activation and loss imply, or the reason that none is known."""
    activation, loss, width = member.activation, member.loss, tensor.shape[-1]
    if member.inner:
        return {"kind": "features"}
    if member.last_layer in _MARKS:
        kind, link = _MARKS[member.last_layer]
        return {"kind": kind, "link": link}
    if "float" not in tensor.dtype:
        return {"reason": f"it is of dtype {tensor.dtype}"}
    ends = {None: "its last activation cannot be read", "linear": "it ends without an activation"}
    ending = ends.get(activation, f"it ends in {activation!r}")
    reason = {
        "reason": f"{ending} and was trained with {_describe_loss(loss)}"
        if loss
        else f"{ending}, without a loss"
    }
    if activation in ("sigmoid", "softmax"):
        is_constant = activation == "softmax" and width == 1  # which is always 1
        is_consistent = family in (None, activation) or (
            activation == "softmax" and family == "sigmoid"
        )
        if is_constant or not is_consistent or from_logits_of(loss):
            return reason
        return {"kind": "probability", "link": activation}
    if family == "regression":
        return {"kind": "regression"}
    if family in ("sigmoid", "softmax"):
        if from_logits_of(loss) and activation in ("linear", None):
            return {"kind": "logits", "link": _link_of_loss(family, width)}
        if activation is None:
            return {"kind": "probability", "link": _link_of_loss(family, width)}
        return reason
    if loss is None and activation not in ("linear", None):
        return {"kind": "features"}
    return reason


def marked(tensor, kind: str | None, link: Link | None):
    """Return a tensor after a layer whose name says what it means, for who joins it again."""
    names = [name for name, meaning in _MARKS.items() if meaning == (kind, link)]
    return layers.Identity(name=names[0], dtype=tensor.dtype)(tensor) if names else tensor


def bring_to_one_scale(parts: list[MemberOutput], how: str) -> list[MemberOutput]:
    """Return outputs of one kind and on one scale, ready to be averaged or multiplied.

    Logits stay logits if all outputs are logits and nothing is multiplied. Otherwise outputs of
    classes become probabilities; if one unit with a sigmoid meets two with a softmax, it becomes
    two columns.

    Raises
    ------
    ValueError
        If a kind is not known, kinds cannot be combined, or the numbers of classes differ.
    """
    for part in parts:
        if part.kind is None:
            raise ValueError(
                f"how={how!r} needs to know whether the output of {part.label} is logits, "
                f"probabilities or a regression, but this is not known: {part.reason}. Declare it "
                "with one word per model, for example "
                f"kinds={[_example_kind(other) for other in parts]}. The words are "
                f"{messages.listed(list(KINDS), 'and')}."
            )
    first = parts[0]
    for part in parts[1:]:
        if part.is_of_classes != first.is_of_classes or (
            not part.is_of_classes and part.kind != first.kind
        ):
            raise ValueError(
                f"{first.summary()}, but {part.summary()}: how={how!r} cannot combine them. Use "
                "how='concat' with a head, or declare what they are with kinds=."
            )
    if not first.is_of_classes:
        if how in ("geometric", "vote"):
            what = "is a mean of probabilities" if how == "geometric" else "is a choice of classes"
            raise ValueError(
                f"how={how!r} {what}, but {first.summary()}. Use how='average' or 'median'."
            )
        return parts
    given = parts
    if how in ("multiply", "geometric", "vote") or len({(p.kind, p.link) for p in parts}) > 1:
        parts = [_as_probability(part) for part in parts]
    if len({part.link for part in parts}) > 1:
        parts = [_as_two_classes(part) for part in parts]
    for k, part in enumerate(parts):
        if part.link != parts[0].link or part.shape[-1] != parts[0].shape[-1]:
            raise ValueError(
                f"{given[0].summary()}, but {given[k].summary()}: these are not the same classes, "
                f"so how={how!r} cannot combine them. Use how='concat' with a head, or layer=-2 "
                "for the features before them."
            )
    return parts


def _example_kind(part: MemberOutput) -> str:
    return part.kind or ("logits" if part.shape[-1] != 1 else "regression")


def _as_probability(part: MemberOutput) -> MemberOutput:
    if part.kind == "probability":
        return part
    if part.link == "sigmoid":
        return replace(part, kind="probability", tensor=ops.sigmoid(part.tensor))
    return replace(part, kind="probability", tensor=ops.softmax(part.tensor, axis=-1))


def _as_two_classes(part: MemberOutput) -> MemberOutput:
    """Return the probabilities of two classes, made from that of the second."""
    if part.link == "softmax" or part.shape[-1] != 1:
        return part
    both = ops.concatenate([1 - part.tensor, part.tensor], axis=-1)
    return replace(part, link="softmax", tensor=both)
