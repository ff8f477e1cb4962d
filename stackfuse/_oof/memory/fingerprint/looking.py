"""Look at objects without running any code of theirs: no property, no ``__getattr__``, no repr."""

import struct
import types
from collections.abc import Iterator
from typing import Any

#: Bytes of a reference, and of an object that holds nothing.
_REFERENCE, _BARE = struct.calcsize("P"), object.__basicsize__

#: A class says of itself what it wants through a metaclass; these ask ``type`` instead.
_MRO = type.__dict__["__mro__"]
_BASES = type.__dict__["__bases__"]
_NAMESPACE = type.__dict__["__dict__"]
_MODULE = type.__dict__["__module__"]
_QUALNAME = type.__dict__["__qualname__"]

#: How a class tells pickle what it consists of.
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")


def mro_of(kind: type) -> tuple[type, ...]:
    """Return a class and all its bases."""
    return _MRO.__get__(kind)


def bases_of(kind: type) -> tuple[type, ...]:
    """Return the bases that a class names."""
    return _BASES.__get__(kind)


def namespace_of(kind: type) -> types.MappingProxyType:
    """Return the names that a class itself defines, with their values."""
    return _NAMESPACE.__get__(kind)


def module_of(kind: type) -> str:
    """Return the name of the module that a class is of."""
    module = _MODULE.__get__(kind)
    return module if isinstance(module, str) else "?"


def qualname_of(kind: type) -> str:
    """Return the qualified name of a class."""
    return _QUALNAME.__get__(kind)


def is_a(thing: Any, *kinds: type) -> bool:
    """Whether an object is an instance; ``isinstance`` would also ask the object."""
    return any(base in kinds for base in mro_of(type(thing)))


def defines(kind: type, *names: str) -> type | None:
    """Return the first class of the bases that defines one of the names, ``object`` aside."""
    for base in mro_of(kind):
        if base is not object and any(name in namespace_of(base) for name in names):
            return base
    return None


def pickles_itself(kind: type) -> type | None:
    """Return the class that says how instances are pickled, None if none of the bases does."""
    return defines(kind, *_PICKLING)


def attributes_of(thing: Any) -> dict[str, Any]:
    """Return the attributes that an object itself has, in its ``__dict__`` and its slots."""
    found: dict[str, Any] = {}
    for base in reversed(mro_of(type(thing))):
        for name, slot in _slots_of(base):
            try:
                found[name] = slot.__get__(thing)
            except AttributeError:  # it is not set
                continue
    return found | _dict_of(thing)


def _dict_of(thing: Any) -> dict[str, Any]:
    for base in mro_of(type(thing)):
        holder = namespace_of(base).get("__dict__")
        if isinstance(holder, types.GetSetDescriptorType):
            return dict.copy(holder.__get__(thing))
    if isinstance(thing, types.FunctionType | types.ModuleType):
        return dict.copy(object.__getattribute__(thing, "__dict__"))
    return {}


def _slots_of(kind: type) -> Iterator[tuple[str, types.MemberDescriptorType]]:
    """Yield the slots that a class of Python code defines."""
    if "__slots__" not in namespace_of(kind):
        return
    for name, value in namespace_of(kind).items():
        if isinstance(value, types.MemberDescriptorType):
            yield name, value


def has_hidden_parts(kind: type) -> bool:
    """Whether instances hold more than attributes: something that only C code sees."""
    slots = sum(1 for base in mro_of(kind) for _ in _slots_of(base))
    offsets = [_size(kind, name) for name in ("__dictoffset__", "__weakrefoffset__")]
    references = slots + sum(offset > 0 for offset in offsets)
    bare = _BARE + _REFERENCE * references
    return bool(_size(kind, "__itemsize__")) or _size(kind, "__basicsize__") > bare


def _size(kind: type, name: str) -> int:
    return type.__dict__[name].__get__(kind)


def scope_of(module: types.ModuleType) -> dict[str, Any]:
    """Return the names in a module."""
    return vars(types.ModuleType)["__dict__"].__get__(module)
