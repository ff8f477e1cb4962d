"""The names that a function's code reads outside itself, from its bytecode; nothing is run."""

import dis
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

#: Instructions without an effect on the next ones.
_SILENT = {
    "CACHE",
    "COPY_FREE_VARS",
    "EXTENDED_ARG",
    "KW_NAMES",
    "MAKE_CELL",
    "NOP",
    "NOT_TAKEN",
    "PRECALL",
    "PUSH_NULL",
    "RESUME",
}

#: Modes in which ``open`` reads nothing.
_WRITING = {mode + kind for mode in "wax" for kind in ("", "b", "t")}


@dataclass(frozen=True)
class Read:
    """A variable that code looks up, and what it takes of it.

    Attributes
    ----------
    where : {"global", "closure", "module", "unknown"}
        The kind of the root: a global name, a variable of the enclosing function, a module that the
        code imports itself, anything else.
    root : str
        Its name; of a module the dotted one.
    attributes : tuple of str
        The attributes taken of it, one of the other.
    key : str or None
        The constant by which an item or a first argument is asked for, such as ``"HOME"`` in
        ``os.environ["HOME"]``.
    key_name : str or None
        The global variable that holds the key instead.
    stores : bool
        Whether an item is set and not read.
    mode : str or None
        The mode of a call of ``open``, if it is a constant.
    """

    where: str
    root: str
    attributes: tuple[str, ...] = ()
    key: str | None = None
    key_name: str | None = None
    stores: bool = False
    mode: str | None = None

    @property
    def writes_only(self) -> bool:
        """Whether it is a call of ``open`` that does not read."""
        return self.mode in _WRITING


@dataclass(frozen=True)
class Import:
    """A module that code imports by itself: ``level`` dots, its name, the names taken from it."""

    level: int
    name: str
    wanted: tuple[str, ...] = ()


@dataclass
class Code:
    """The names that a piece of code, with the functions in it, looks up.

    Attributes
    ----------
    reads : set of Read
    imports : set of Import
    tallies : set of str
        Variables from outside that it only counts up or appends to, and never reads.
    counted : set of str
        Attributes that it counts up: ``kind.n_fits += 1``.
    words : set of str
        All other names of attributes, variables and arguments in it.
    texts : set of str
        The strings in it.
    """

    reads: set[Read] = field(default_factory=set)
    imports: set[Import] = field(default_factory=set)
    tallies: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


@lru_cache(maxsize=4096)
def scanned(code: types.CodeType) -> Code:
    """Return the names that code, with all functions in it, looks up."""
    found, mentions = Code(), dict[str, list[bool]]()
    _scan(code, {}, found, mentions)
    found.tallies = {name for name, counts in mentions.items() if all(counts)}
    return found


def _scan(
    code: types.CodeType,
    imported: dict[str, tuple[str, tuple[str, ...]]],
    found: Code,
    mentions: dict[str, list[bool]],
) -> None:
    """Add what a piece of code looks up; `imported` are the modules that local names stand for."""
    lines = [i for i in dis.get_instructions(code) if i.opname not in _SILENT]
    imported = {**imported, **_local_imports(lines, found)}
    found.words |= {*code.co_varnames, *code.co_cellvars}
    found.texts |= set(_texts(code.co_consts))
    for place, line in enumerate(lines):
        name = _loaded(line)
        if name is not None:
            if _is_outside(line):
                mentions.setdefault(name, []).append(_is_tally(lines, place))
                found.words.add(name)
            read = _read_at(lines, place, name, imported)
            if read is not None:
                found.reads.add(read)
        elif _takes_attribute(line):
            if _counts_attribute(lines, place):
                found.counted.add(line.argval)
            else:
                found.words.add(line.argval)
            if not _takes_attribute(lines[place - 1]) and _loaded(lines[place - 1]) is None:
                found.reads.add(Read("unknown", "", *_chain(lines, place - 1)))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            _scan(inner, imported, found, mentions)


def _texts(constants: Sequence[Any]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from _texts(tuple(constant))


# ---------------------------------------------------------------------------- instructions


def _loaded(line: dis.Instruction) -> str | None:
    """Return the name of the variable that an instruction leaves on the stack."""
    if line.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF")):
        return line.argval
    if line.opname.startswith(("LOAD_FROM_DICT_OR", "LOAD_FAST", "STORE_FAST_LOAD_FAST")):
        return line.argval[-1] if isinstance(line.argval, tuple) else line.argval
    return None


def _is_outside(line: dis.Instruction) -> bool:
    return "_FAST" not in line.opname


def _is_constant(line: dis.Instruction) -> bool:
    return line.opname in ("LOAD_CONST", "LOAD_SMALL_INT", "LOAD_CONST_IMMORTAL")


def _takes_attribute(line: dis.Instruction) -> bool:
    return line.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")


def _takes_item(line: dis.Instruction) -> bool:
    return line.opname == "BINARY_SUBSCR" or (
        line.opname == "BINARY_OP" and line.argrepr.startswith("[")
    )


def _adds(line: dis.Instruction) -> bool:
    return line.opname == "BINARY_OP" and line.argrepr in ("+=", "-=", "+", "-")


def _ops(lines: list[dis.Instruction], start: int, n: int) -> list[dis.Instruction]:
    part = lines[start : start + n]
    return part if start >= 0 and len(part) == n else []


def _is(line: dis.Instruction, opname: str, argument: Any = None) -> bool:
    return line.opname == opname and argument in (None, line.argval)


# ---------------------------------------------------------------------------- what is read


def _read_at(
    lines: list[dis.Instruction],
    place: int,
    name: str,
    imported: dict[str, tuple[str, tuple[str, ...]]],
) -> Read | None:
    """Return the read that begins with the variable at a place, None if it is a local one."""
    line = lines[place]
    chain = _chain(lines, place)
    if name in imported and not line.opname.startswith("LOAD_GLOBAL"):
        module, attributes = imported[name]
        read = Read("module", module, (*attributes, *chain[0]), *chain[1:])
    elif not _is_outside(line):
        return Read("unknown", name, *chain)
    else:
        where = "closure" if "DEREF" in line.opname else "global"
        read = Read(where, name, *chain)
    if name == "open" or "open" in read.attributes[-1:]:
        return replace(read, mode=_mode_of(lines, place))
    return read


def _chain(
    lines: list[dis.Instruction], place: int
) -> tuple[tuple[str, ...], str | None, str | None, bool]:
    """Return the attributes after a place, the key asked for, its variable, if it is stored to."""
    before, attributes, place = place - 1, [], place + 1
    while place < len(lines) and _takes_attribute(lines[place]):
        attributes.append(lines[place].argval)
        place += 1
    follows = _ops(lines, place, 2)
    key: Any = None
    if follows and _is_constant(follows[0]):
        key = follows[0].argval
    key_name = follows[0].argval if follows and _is(follows[0], "LOAD_GLOBAL") else None
    stores = bool(follows) and follows[1].opname in ("STORE_SUBSCR", "DELETE_SUBSCR")
    if lines[place : place + 1] and _is(lines[place], "CONTAINS_OP") and before >= 0:
        key = lines[before].argval if _is_constant(lines[before]) else None
    return tuple(attributes), key if isinstance(key, str) else None, key_name, stores


def _mode_of(lines: list[dis.Instruction], place: int) -> str | None:
    """Return the mode in the call that begins at a place, if it is a constant."""
    for line in lines[place + 1 : place + 12]:
        if line.opname.startswith("CALL"):
            return None
        if _is_constant(line) and line.argval in _WRITING:
            return line.argval
    return None


def _local_imports(
    lines: list[dis.Instruction], found: Code
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return by local name the module it stands for, with the attributes taken of it."""
    local: dict[str, tuple[str, tuple[str, ...]]] = {}
    for place, line in enumerate(lines):
        if line.opname != "IMPORT_NAME":
            continue
        level, wanted = (one.argval for one in lines[place - 2 : place])
        level = level if isinstance(level, int) else 0
        found.imports.add(Import(level, line.argval, tuple(wanted or ())))
        dotted = "." * level + line.argval
        place += 1
        if not wanted and lines[place].opname.startswith("STORE"):
            local[_stored(lines[place])] = (dotted.partition(".")[0] if not level else dotted, ())
        attributes: tuple[str, ...] = ()
        while place < len(lines) and lines[place].opname in ("IMPORT_FROM", "SWAP", "POP_TOP"):
            if lines[place].opname == "IMPORT_FROM":
                attributes = (lines[place].argval,) if wanted else ()
                if lines[place + 1].opname.startswith("STORE"):
                    local[_stored(lines[place + 1])] = (dotted, attributes)
                    place += 1
            elif lines[place + 1].opname.startswith("STORE"):  # import a.b as c
                local[_stored(lines[place + 1])] = (dotted, attributes)
                break
            place += 1
    return local


def _stored(line: dis.Instruction) -> str:
    return line.argval[0] if isinstance(line.argval, tuple) else line.argval


# ---------------------------------------------------------------------------- what is counted


def _is_tally(lines: list[dis.Instruction], place: int) -> bool:
    """Whether the variable at a place is changed in a way that does not depend on its value."""
    name = lines[place].argval
    item = _ops(lines, place + 1, 9)
    number = _ops(lines, place + 1, 3)
    return (
        _appends(lines, place)
        or _sets_item(lines, place)
        or bool(
            number  # n += 1
            and _is_constant(number[0])
            and _adds(number[1])
            and number[2].opname.startswith("STORE_")
            and number[2].argval == name
        )
        or bool(
            item  # calls["n"] += 1
            and (_is_constant(item[0]) or _loaded(item[0]))
            and all(_is(one, "COPY", 2) for one in item[1:3])
            and _takes_item(item[3])
            and _is_constant(item[4])
            and _adds(item[5])
            and all(_is(one, "SWAP") for one in item[6:8])
            and item[8].opname == "STORE_SUBSCR"
        )
    )


def _appends(lines: list[dis.Instruction], place: int) -> bool:
    """Whether something simple is appended to the variable at a place, and that is all."""
    method = _ops(lines, place + 1, 1)
    if not method or not _takes_attribute(method[0]) or method[0].argval not in ("append", "add"):
        return False
    call = _ops(lines, place + 2, 3)
    return bool(
        call
        and (_is_constant(call[0]) or _loaded(call[0]) not in (None, lines[place].argval))
        and call[1].opname.startswith("CALL")
        and _is(call[2], "POP_TOP")
    )


def _sets_item(lines: list[dis.Instruction], place: int) -> bool:
    """Whether an item of the variable at a place is set to a value from elsewhere."""
    store = _ops(lines, place + 1, 2)
    return bool(store and _is_constant(store[0]) and store[1].opname == "STORE_SUBSCR")


def _counts_attribute(lines: list[dis.Instruction], place: int) -> bool:
    """Whether the attribute at a place is read only to be counted up."""
    name = lines[place].argval
    around = _ops(lines, place - 1, 6)
    if not around or not (_is_constant(around[2]) and _adds(around[3])):
        return False
    first, _, _, _, after, last = around
    copied = _is(first, "COPY", 1) and _is(after, "SWAP", 2)
    same = _loaded(first) is not None and _loaded(first) == _loaded(after)
    return (copied or same) and _is(last, "STORE_ATTR", name)
