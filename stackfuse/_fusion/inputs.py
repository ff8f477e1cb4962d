"""The inputs of the joined model, and the members' inputs that each of them feeds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from stackfuse._core import messages
from stackfuse._fusion.members import (
    Member,
    Port,
)

#: The number of a member, and the number of one of its ports.
PortKey = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """An input of the joined model.

    Attributes
    ----------
    name : str
    tensor : KerasTensor
    places : list of (int, int)
        The ports that it feeds, see ``PortKey``.
    """

    name: str
    tensor: Any
    places: list[PortKey]


def sources_of(members: list[Member], inputs: Any) -> list[Source]:
    """Return the inputs of the joined model, in the order of the members.

    Parameters
    ----------
    members : list of Member
    inputs : {"auto", "shared", "separate"} or dict
        See :func:`stackfuse.fuse`.

    Raises
    ------
    ValueError
        If shared inputs differ, or a port is fed twice or not at all.
    """
    ports = {(m, p): port for m, one in enumerate(members) for p, port in enumerate(one.ports)}
    if isinstance(inputs, dict):
        named = list(_groups_from_dict(inputs, members))
    elif isinstance(inputs, str) and inputs in _GROUPINGS:
        groups = _GROUPINGS[inputs](members, ports)
        named = list(zip(_input_names(groups, ports, {m.model.name for m in members}), groups))
    else:
        raise ValueError(
            f"inputs must be 'auto', 'shared', 'separate' or a dict such as "
            f"{{'x': [0, 1], 'image': [2]}}, got {inputs!r}."
        )
    sources = []
    for name, places in named:
        first = ports[places[0]]
        for place in places[1:]:
            _check_can_share(first, ports[place])
        dtype = _common_dtype([ports[place] for place in places])
        tensor = keras.Input(first.shape, dtype=dtype, sparse=first.sparse, name=name)
        sources.append(Source(name, tensor, places))
    return sources


def outputs_of(members: list[Member], sources: list[Source]) -> list:
    """Return the symbolic output of each member."""
    fed = {place: source.tensor for source in sources for place in source.places}
    outputs = []
    for m, member in enumerate(members):
        tensors = [
            fed[m, p] if fed[m, p].dtype == port.dtype else keras.ops.cast(fed[m, p], port.dtype)
            for p, port in enumerate(member.ports)
        ]
        output = member(tensors)
        if not isinstance(output, keras.KerasTensor):
            raise ValueError(
                f"{member.label} must return one tensor, got {output!r}. Choose an output with "
                "layer=."
            )
        outputs.append(output)
    return outputs


def _group_separate(members: list[Member], ports: dict[PortKey, Port]) -> list[list[PortKey]]:
    return [[place] for place in ports]


def _group_shared(members: list[Member], ports: dict[PortKey, Port]) -> list[list[PortKey]]:
    """Share one input among all models; match several inputs by name, or else by order."""
    counts = {len(member.ports) for member in members}
    if len(counts) > 1:
        listing = ", ".join(f"{member.label} {len(member.ports)}" for member in members)
        raise ValueError(
            f"inputs='shared' needs models with equally many inputs, but they have: {listing}. "
            "Say which model reads which input: inputs={'x': [0, 1], 'image': [(2, 'pixels')]}."
        )
    names = [[port.name for port in member.ports] for member in members]
    by_name = all(sorted(found) == sorted(names[0]) for found in names)
    return [
        [(m, names[m].index(names[0][p]) if by_name else p) for m in range(len(members))]
        for p in range(counts.pop())
    ]


def _group_auto(members: list[Member], ports: dict[PortKey, Port]) -> list[list[PortKey]]:
    """Share inputs of equal name, shape and dtype, unless a model has two of them."""
    groups: dict[tuple, list[PortKey]] = {}
    for place, port in ports.items():
        name = port.name if port.named else None
        groups.setdefault((name, port.shape, port.dtype, port.sparse), []).append(place)
    result: list[list[PortKey]] = []
    for places in groups.values():
        ambiguous = len({m for m, _ in places}) < len(places)
        result += [[place] for place in places] if ambiguous else [places]
    return sorted(result)


_GROUPINGS: dict[str, Callable[[list[Member], dict[PortKey, Port]], list[list[PortKey]]]] = {
    "auto": _group_auto,
    "shared": _group_shared,
    "separate": _group_separate,
}


def _groups_from_dict(inputs: dict, members: list[Member]) -> Iterator[tuple[str, list[PortKey]]]:
    """Yield the inputs, grouped as the caller's dict says."""
    fed: dict[PortKey, str] = {}
    for name, readers in inputs.items():
        readers = readers if isinstance(readers, list) else [readers]
        if not isinstance(name, str) or not readers:
            raise ValueError(
                "inputs must map names to lists of models, such as {'x': [0, 1]}, got "
                f"{name!r}: {readers!r}."
            )
        if not name or "/" in name:
            raise ValueError(f"The names of inputs must be text without '/', got {name!r}.")
        places = [_find_port(name, reader, members) for reader in readers]
        for place in places:
            if place in fed:
                label = members[place[0]].ports[place[1]].label
                raise ValueError(
                    f"inputs feeds {label} twice, by {fed[place]!r} and {name!r}. Take it out of "
                    "one of them."
                )
            fed[place] = name
        yield name, places
    for m, member in enumerate(members):
        for p, port in enumerate(member.ports):
            if (m, p) not in fed:
                reader = m if len(member.ports) == 1 else (m, port.name)
                raise ValueError(f"inputs leaves out {port.label}: add {reader!r} to one of them.")


def _find_port(name: str, reader: Any, members: list[Member]) -> PortKey:
    m, port_name = reader if isinstance(reader, tuple) and len(reader) == 2 else (reader, None)
    if isinstance(m, bool) or not isinstance(m, int) or not 0 <= m < len(members):
        raise ValueError(
            f"inputs[{name!r}] lists {reader!r}, but a reader is the number of a model, 0 to "
            f"{len(members) - 1}, or a pair (number, name of its input)."
        )
    names = [port.name for port in members[m].ports]
    if port_name is None and len(names) == 1:
        return m, 0
    if port_name not in names:
        raise ValueError(
            f"inputs[{name!r}] lists {reader!r}, but the inputs of {members[m].label} are {names}: "
            f"write ({m}, {names[0]!r}).{messages.did_you_mean(str(port_name), names)}"
        )
    return m, names.index(port_name)


def _input_names(
    groups: list[list[PortKey]], ports: dict[PortKey, Port], taken: set[str]
) -> list[str]:
    """Return a name for each input: the models' own, or x, x_0, x_1, ..."""
    stems = []
    for places in groups:
        found = {ports[place].name if ports[place].named else "x" for place in places}
        stems.append(found.pop() if len(found) == 1 else "x")
    names: list[str] = []
    for places, stem in zip(groups, stems):
        m, p = places[0]
        candidates = [stem] if stems.count(stem) == 1 else []
        candidates += [f"{stem}_{m}", f"{stem}_{m}_{p}", f"{stem}_{m}_{p}_input"]
        names.append(next(name for name in candidates if name not in taken and name not in names))
    return names


def _check_can_share(one: Port, other: Port) -> None:
    """Raise if two ports cannot be fed the same rows."""
    if (one.shape, one.sparse) != (other.shape, other.sparse) or (
        one.dtype != other.dtype and not _both_float(one.dtype, other.dtype)
    ):
        raise ValueError(
            f"{_capitalized(one.label)} takes rows of shape {one.shape} and dtype {one.dtype}, "
            f"{other.label} {other.shape} and {other.dtype}, so they cannot share an input. Use "
            "inputs='separate', or a dict that says which models share an input."
        )


def _both_float(*dtypes: str) -> bool:
    return all("float" in dtype for dtype in dtypes)


def _common_dtype(ports: list[Port]) -> str:
    """Return the widest dtype of some ports; members with a narrower one get rounded rows."""
    dtypes = {port.dtype for port in ports}
    if len(dtypes) == 1:
        return dtypes.pop()
    return "float64" if "float64" in dtypes else "float32"


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]
