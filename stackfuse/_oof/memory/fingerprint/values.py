"""Digests of values and containers, and of objects by their class and attributes."""

import array
import collections
import contextvars
import enum
import gc
import logging
import random
import re
import threading
import types
import typing
import weakref
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from stackfuse._oof.memory.fingerprint import looking
from stackfuse._oof.memory.fingerprint.releases import is_own_class, release_of
from stackfuse._oof.memory.fingerprint.walk import NotComparable, Walk, digests

#: Modules whose objects pickle by pure functions of their contents.
_PURE_MODULES = {
    "_collections",
    "_datetime",
    "_decimal",
    "_operator",
    "_random",
    "array",
    "collections",
    "datetime",
    "decimal",
    "fractions",
    "ipaddress",
    "operator",
    "random",
    "typing",
    "uuid",
    "zoneinfo",
}

#: Packages of which the same is known.
_PURE_PACKAGES = {
    "catboost",
    "lightgbm",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sklearn",
    "xgboost",
}


def extended(thing: Any, walk: Walk, base: type, content: bytes) -> bytes:
    """Return a digest of content; where the class extends the base, with all that it adds."""
    if type(thing) is base:
        return content
    refuse_own_pickling(thing)
    return walk.tokens(
        "extended", content, walk.of(type(thing)), walk.named("own", looking.attributes_of(thing))
    )


def refuse_own_pickling(thing: Any) -> None:
    """Raise if a class of the user's says how it is pickled: it holds more than can be seen."""
    found = looking.defines(type(thing), "__reduce__", "__reduce_ex__")
    if found is not None and is_own_class(found):
        raise NotComparable.of(thing, "its class defines its own pickling")


@digests(object)
def _object(thing, walk):
    kind = type(thing)
    if looking.qualname_of(kind) == "cython_function_or_method":
        return _compiled_function(thing, walk)
    refuse_own_pickling(thing)
    top = looking.module_of(kind).partition(".")[0]
    pure = top in _PURE_PACKAGES or looking.module_of(kind) in _PURE_MODULES
    if pure and looking.pickles_itself(kind):
        return by_pickling(thing, walk)
    if not looking.has_hidden_parts(kind):
        return walk.tokens(
            "object", walk.of(kind), walk.named("state", looking.attributes_of(thing))
        )
    if pure:
        return by_pickling(thing, walk)
    raise NotComparable.of(thing)


def _compiled_function(thing: Any, walk: Walk) -> bytes:
    """Return the digest of a function that Cython compiled: of a library its release."""
    release = release_of(thing.__module__)
    if release is None:
        raise NotComparable.of(thing)
    return walk.tokens("library", thing.__module__, thing.__qualname__, release)


def by_pickling(thing: Any, walk: Walk) -> bytes:
    """Return the digest of a library's object as it is pickled."""
    try:
        reduced = thing.__reduce_ex__(4)
    except (TypeError, ValueError) as error:
        raise NotComparable.of(thing, str(error)) from error
    if isinstance(reduced, str):
        return walk.tokens("global", looking.module_of(type(thing)), reduced)
    make, args, *rest = reduced
    state, items, pairs = (*rest, None, None, None)[:3]
    parts = [make, args, state, None if items is None else list(items)]
    return walk.all("object", [*parts, None if pairs is None else list(pairs)])


# ---------------------------------------------------------------------------- plain values


#: Base classes of values, with the function that returns an instance's plain value.
_VALUES: dict[type, Callable[[Any], Any]] = {
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: lambda text: str.__getitem__(text, slice(None)),
    bytes: lambda data: bytes.__getitem__(data, slice(None)),
}


@digests(*_VALUES)
def _extended_value(thing, walk):
    base = next(kind for kind in looking.mro_of(type(thing)) if kind in _VALUES)
    return extended(thing, walk, base, walk.of(_VALUES[base](thing)))


@digests(bytearray)
def _bytearray(thing, walk):
    return extended(thing, walk, bytearray, walk.tokens("bytearray", bytes(memoryview(thing))))


@digests(range, slice)
def _range(thing, walk):
    return walk.all(type(thing).__name__, [thing.start, thing.stop, thing.step])


@digests(array.array)
def _numbers(thing, walk):
    content = walk.tokens("numbers", thing.typecode, bytes(memoryview(thing)))
    return extended(thing, walk, array.array, content)


@digests(PurePath)
def _path(thing, walk):
    if is_own_class(type(thing)):
        raise NotComparable.of(thing)
    return walk.tokens("path", type(thing).__name__, str(thing))


@digests(re.Pattern)
def _pattern(thing, walk):
    return walk.all("pattern", [thing.pattern, thing.flags])


@digests(enum.Enum)
def _member(thing, walk):
    attributes = looking.attributes_of(thing)
    own = {name: v for name, v in attributes.items() if name != "__objclass__"}
    return walk.tokens("member", walk.of(type(thing)), walk.named("own", own))


@digests(random.Random)
def _random(thing, walk):
    if type(thing) is not random.Random:
        raise NotComparable.of(thing)
    return walk.all("random", [thing.getstate()])


# ---------------------------------------------------------------------------- containers


@digests(list, tuple)
def _sequence(thing, walk):
    base: Any = list if looking.is_a(thing, list) else tuple
    return extended(
        thing, walk, base, walk.all(base.__name__, base.__getitem__(thing, slice(None)))
    )


@digests(collections.deque)
def _deque(thing, walk):
    items = list(collections.deque.__iter__(thing))
    content = walk.all("deque", [items, thing.maxlen])
    return extended(thing, walk, collections.deque, content)


@digests(dict)
def _mapping(thing, walk):
    items = dict.items(thing)
    if looking.is_a(thing, collections.OrderedDict):
        items = collections.OrderedDict.items(thing)
    made_by = None
    if looking.is_a(thing, collections.defaultdict):
        made_by = _FACTORY.__get__(thing)
    return extended(thing, walk, dict, _pairs(items, walk, made_by))


_FACTORY = collections.defaultdict.__dict__["default_factory"]


def _pairs(pairs, walk, *more: Any) -> bytes:
    """Return the digest of the pairs of a dict, in their order: who goes through it sees that."""
    digests = [walk.of(one) for one in more if one is not None]
    for key, value in list(pairs):
        try:
            digests += [walk.of(key), walk.of(value)]
        except NotComparable as error:
            error.found_as(repr(key) if type(key) in (str, int) else "a value")
            raise
    return walk.tokens("dict", *digests)


@digests(set)
def _set(thing, walk):
    items = sorted(walk.of(item) for item in set.copy(thing))
    return extended(thing, walk, set, walk.tokens("set", *items))


@digests(frozenset)
def _frozenset(thing, walk):
    items = sorted(walk.of(item) for item in frozenset.__iter__(thing))
    return extended(thing, walk, frozenset, walk.tokens("frozenset", *items))


@digests(types.MappingProxyType)
def _proxy(thing, walk):
    return walk.all("proxy", gc.get_referents(thing))


@digests(types.SimpleNamespace)
def _namespace(thing, walk):
    names = object.__getattribute__(thing, "__dict__")
    content = walk.named("namespace", names)
    return extended(thing, walk, types.SimpleNamespace, content)


# ---------------------------------------------------------------------------- what is around


@digests(BaseException)
def _exception(thing, walk):
    refuse_own_pickling(thing)
    args = BaseException.__dict__["args"].__get__(thing)
    own = BaseException.__dict__["__dict__"].__get__(thing)
    return walk.all("exception", [type(thing), args, own])


@digests(type(threading.Lock()), type(threading.RLock()))
def _lock(thing, walk):
    return walk.tokens("lock")  # nothing is computed from it


@digests(logging.Logger)
def _logger(thing, walk):
    return walk.tokens("logger")  # nor from this


@digests(weakref.ref)
def _weak_reference(thing, walk):
    return walk.all("weak reference", [weakref.ref.__call__(thing)])


@digests(contextvars.ContextVar)
def _context_variable(thing, walk):
    return walk.all("context variable", [thing.name, thing.get("no value")])


@digests(type(int | str))
def _union(thing, walk):
    return walk.all("union", thing.__args__)


@digests(types.GenericAlias)
def _alias(thing, walk):
    return walk.all("alias", [thing.__origin__, thing.__args__])


@digests(typing.TypeVar)
def _type_variable(thing, walk):
    return walk.tokens("type variable", thing.__name__)
