"""A digest of anything that a fit depends on: data, parameters, functions with all they refer to.

Equal things have equal digests in every process; different things have different ones. What cannot
be told apart for certain, such as an open file, raises :class:`NotComparable`.
"""

import hashlib
import struct
import sys
import threading
import types
from collections.abc import Iterable
from functools import cached_property, singledispatch
from pathlib import PurePath
from typing import Any

import keras
import numpy as np
import pandas as pd
import scipy.sparse
import scipy.special
from sklearn.base import BaseEstimator

from stackfuse._keras import (
    architecture,
)
from stackfuse._oof.memory.code import (
    counted_by,
    release_of,
    used_by,
)

#: Bytes of an array that are hashed at a time, so that no array is copied whole.
_BLOCK = 1 << 24

#: What in a class's namespace says nothing of what it does.
_NOT_CODE = {
    "__abstractmethods__",
    "__annotate_func__",
    "__annotations__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__module__",
    "__slotnames__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}


class NotComparable(TypeError):
    """Something of which cannot be told whether another is equal to it."""


def fingerprint(*things: Any) -> str:
    """Return the digest of things, 40 hexadecimal digits.

    Parameters
    ----------
    *things : object
        Arrays, frames, estimators, functions, Keras objects, and containers of these. An object
        may have a method ``_fit_depends_on()`` that returns what to look at instead.

    Raises
    ------
    NotComparable
        Naming the type that cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.arange(6.0).reshape(2, 3)
    >>> fingerprint(table) == fingerprint(np.asfortranarray(table))
    True
    >>> fingerprint(table) == fingerprint(table.astype(np.float32))
    False
    """
    try:
        return _Digester().of(things).hex()
    except RecursionError as error:  # a mock, for example, has parts without end
        raise NotComparable("an object has parts without end") from error


class _Digester:
    """One walk through things that may refer to each other."""

    def __init__(self):
        self._depths: dict[int, int] = {}
        self._done: dict[int, bytes] = {}
        self._alive: list = []  # as long as an object lives, no other has its id

    def of(self, thing: Any) -> bytes:
        if id(thing) in self._done:
            return self._done[id(thing)]
        if id(thing) in self._depths:  # it refers to itself
            name = getattr(thing, "__qualname__", None)  # whoever asks first
            return self.tokens("cycle", name or len(self._depths) - self._depths[id(thing)])
        self._depths[id(thing)] = len(self._depths)
        try:
            digest = _digest(thing, self)
        finally:
            del self._depths[id(thing)]
        self._alive.append(thing)
        self._done[id(thing)] = digest
        return digest

    def tokens(self, kind: str, *tokens: Any) -> bytes:
        """Return the digest of a kind and its tokens; every token ends where its length says."""
        total = hashlib.blake2b(digest_size=20)
        for token in (kind, *tokens):
            if not isinstance(token, bytes):
                token = str(token).encode("utf-8", "surrogatepass")
            total.update(struct.pack("<q", len(token)))
            total.update(token)
        return total.digest()

    def all(self, kind: str, things: Iterable) -> bytes:
        return self.tokens(kind, *[self.of(thing) for thing in things])


@singledispatch
def _digest(thing: Any, walk: _Digester) -> bytes:
    special = _from_keras(thing, walk) if "keras" in sys.modules else None
    if special is not None:
        return special
    if type(thing).__module__.startswith("polars."):
        columns = [(c.name, str(c.dtype), c.to_numpy()) for c in thing.iter_columns()]
        return walk.all("polars", columns)
    return _by_parts(thing, walk)


def _by_parts(thing: Any, walk: _Digester) -> bytes:
    """Return the digest of what an object is pickled as: how it is made, and its state."""
    try:
        reduced = thing.__reduce_ex__(4)
    except Exception as error:
        raise NotComparable(f"a {type(thing).__qualname__} cannot be compared: {error}") from error
    if isinstance(reduced, str):
        return walk.tokens("global", type(thing).__module__, reduced)
    make, args, *rest = reduced
    state, items, pairs = (*rest, None, None, None)[:3]
    parts = [make, args, state, None if items is None else list(items)]
    return walk.all("object", [*parts, None if pairs is None else list(pairs)])


@_digest.register(type(None))
@_digest.register(type(...))
@_digest.register(type(NotImplemented))
@_digest.register(bool)
@_digest.register(int)
@_digest.register(complex)
@_digest.register(str)
@_digest.register(range)
@_digest.register(slice)
def _plain(thing, walk):
    if type(thing).__module__ != "builtins":  # a class of the user's that extends it
        return _by_parts(thing, walk)
    return walk.tokens(type(thing).__name__, repr(thing) if not isinstance(thing, str) else thing)


@_digest.register
def _float(thing: float, walk):
    return walk.tokens("float", struct.pack("<d", thing))


@_digest.register
def _bytes(thing: bytes, walk):
    return walk.tokens("bytes", thing)


@_digest.register(PurePath)
def _path(thing, walk):
    return walk.tokens("path", str(thing))


@_digest.register(list)
@_digest.register(tuple)
def _sequence(thing, walk):
    if type(thing) not in (list, tuple):
        return _by_parts(thing, walk)
    return walk.all(type(thing).__qualname__, thing)


@_digest.register(dict)
def _mapping(thing, walk):
    if type(thing) is not dict:
        return _by_parts(thing, walk)
    pairs = sorted(walk.of(key) + walk.of(value) for key, value in thing.items())
    return walk.tokens(type(thing).__qualname__, *pairs)


@_digest.register(set)
@_digest.register(frozenset)
def _set(thing, walk):
    return walk.tokens(type(thing).__name__, *sorted(walk.of(item) for item in thing))


@_digest.register
def _scalar(thing: np.generic, walk):
    return walk.tokens("scalar", thing.dtype.str, thing.tobytes())


@_digest.register
def _array(thing: np.ndarray, walk):
    thing = np.asarray(thing)  # memory maps are what they hold
    if thing.dtype.hasobject:
        return walk.tokens("objects", thing.shape, *map(walk.of, thing.ravel().tolist()))
    total = hashlib.blake2b(digest_size=20)
    if thing.ndim:
        step = max(1, _BLOCK // max(1, thing[:1].nbytes))
        for start in range(0, len(thing), step):
            total.update(np.ascontiguousarray(thing[start : start + step]).tobytes())
    else:
        total.update(thing.tobytes())
    return walk.tokens("array", thing.dtype.descr, thing.shape, total.digest())


@_digest.register
def _frame(thing: pd.DataFrame, walk):
    columns = [thing.iloc[:, k] for k in range(thing.shape[1])]
    return walk.all("frame", [thing.index, *[_column_parts(column) for column in columns]])


@_digest.register
def _series(thing: pd.Series, walk):
    return walk.all("series", [thing.index, _column_parts(thing)])


@_digest.register
def _index(thing: pd.Index, walk):
    if isinstance(thing, pd.RangeIndex):
        return walk.tokens("index", thing.start, thing.stop, thing.step, thing.name)
    return walk.all("index", [list(thing.names), str(thing.dtype), thing.to_numpy()])


def _column_parts(column: pd.Series) -> tuple:
    """Return name, dtype and values of a column; of text as codes into the values."""
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.name, str(column.dtype), column.to_numpy()
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = list(column.cat.categories)
        return column.name, "category", column.cat.ordered, categories, column.cat.codes.to_numpy()
    values = column.tolist()
    if all(type(value) is str for value in values):
        codes, words = pd.factorize(column)
        return column.name, str(column.dtype), codes, list(words)
    return column.name, str(column.dtype), values


@_digest.register(scipy.sparse.spmatrix)
@_digest.register(scipy.sparse.sparray)
def _sparse(thing, walk):
    rows = scipy.sparse.csr_array(thing)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    places = [rows.indptr.astype(np.int64), rows.indices.astype(np.int64)]
    return walk.all("sparse", [thing.format, rows.shape, *places, rows.data])


@_digest.register
def _estimator(thing: BaseEstimator, walk):
    if hasattr(thing, "_fit_depends_on"):
        state = thing._fit_depends_on()
    else:  # parameters, and what a frozen one has learnt
        state = {name: v for name, v in vars(thing).items() if not name.startswith("_skl_")}
    return walk.all("estimator", [type(thing), state])


# ---------------------------------------------------------------------------- code


@_digest.register
def _function(thing: types.FunctionType, walk):
    home = thing.__globals__.get("__name__")  # ``functools.wraps`` changes ``__module__``
    if release_of(home) is not None and "<locals>" not in thing.__code__.co_qualname:
        return walk.tokens("library", home, thing.__code__.co_qualname, release_of(home))
    variables, attributes = counted_by(thing)
    cells = dict(zip(thing.__code__.co_freevars, thing.__closure__ or ()))
    closure = {k: _content(cell) for k, cell in cells.items()}
    own = {k: v for k, v in vars(thing).items() if k not in attributes}
    # A library's version stands for what its functions refer to.
    used = used_by(thing) if release_of(home) is None else {}
    around = [_without(names, variables) for names in (closure, used)]
    given = [thing.__defaults__, thing.__kwdefaults__]
    return walk.all("function", [thing.__code__, *given, own, *around])


def _without(names: dict[str, Any], counted: set[str]) -> dict[str, Any]:
    """Leave out what is only counted up, unless it is code."""
    code = (type, types.FunctionType, types.ModuleType)
    return {k: v for k, v in names.items() if k not in counted or isinstance(v, code)}


@_digest.register
def _code(thing: types.CodeType, walk):
    numbers = (thing.co_argcount, thing.co_kwonlyargcount, thing.co_posonlyargcount)
    names = (thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_cellvars)
    return walk.all("code", [thing.co_code, thing.co_consts, names, numbers, thing.co_flags])


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is filled later
        return "empty cell"


@_digest.register(types.MethodType)
def _method(thing, walk):
    return walk.all("method", [thing.__func__, thing.__self__])


@_digest.register(types.BuiltinFunctionType)
def _builtin(thing, walk):
    owner = thing.__self__
    owner = None if owner is None or isinstance(owner, types.ModuleType) else owner
    return walk.all("builtin", [thing.__module__, thing.__qualname__, owner])


@_digest.register(types.MethodDescriptorType)
@_digest.register(types.WrapperDescriptorType)
@_digest.register(types.GetSetDescriptorType)
@_digest.register(types.MemberDescriptorType)
def _named(thing, walk):
    return walk.tokens(type(thing).__name__, thing.__qualname__)


@_digest.register
def _ufunc(thing: np.ufunc, walk):
    for module in (np, scipy.special):
        if getattr(module, thing.__name__, None) is thing:
            return walk.tokens("ufunc", module.__name__, thing.__name__)
    raise NotComparable(f"the universal function {thing.__name__!r} cannot be compared")


@_digest.register(staticmethod)
@_digest.register(classmethod)
def _wrapped(thing, walk):
    return walk.all(type(thing).__name__, [thing.__func__])


@_digest.register
def _property(thing: property, walk):
    return walk.all("property", [thing.fget, thing.fset, thing.fdel])


@_digest.register(cached_property)
def _cached_property(thing, walk):
    return walk.all("cached_property", [thing.func])


@_digest.register(types.ModuleType)
def _module(thing, walk):
    if release_of(thing.__name__) is not None:
        return walk.tokens("library", thing.__name__, release_of(thing.__name__))
    names = {k: v for k, v in vars(thing).items() if not k.startswith("__")}
    return walk.all("module", [thing.__name__, names])


@_digest.register
def _class(thing: type, walk):
    release = release_of(thing.__module__)
    name = f"{thing.__module__}.{thing.__qualname__}"
    if release is not None and "<locals>" not in thing.__qualname__:
        return walk.tokens("library", name, release)
    body = {name: value for name, value in vars(thing).items() if name not in _NOT_CODE}
    bases = [base for base in thing.__mro__ if release_of(base.__module__) is None]
    methods = [value for base in bases for value in vars(base).values()]
    counted: set[str] = set().union(*[counted_by(method)[1] for method in methods])
    body = {k: v for k, v in body.items() if k not in counted or callable(v)}
    return walk.all("class", [thing.__qualname__, body, list(thing.__bases__)])


@_digest.register(type(threading.Lock()))
@_digest.register(type(threading.RLock()))
def _lock(thing, walk):
    return walk.tokens("lock")  # nothing is computed from it


# ---------------------------------------------------------------------------- Keras


def _from_keras(thing: Any, walk: _Digester) -> bytes | None:
    """Return the digest of an object of Keras or TensorFlow, None for any other."""
    if isinstance(thing, keras.Model):
        state = [_config(thing), _values(thing.variables)]
        if thing.compiled:
            state += [
                architecture.plain_names(thing.get_compile_config()),
                _values(thing.optimizer.variables),
            ]
        return walk.all("model", [type(thing), *map(_listed, state)])
    if isinstance(thing, keras.layers.Layer):
        return walk.all("layer", [type(thing), _config(thing), _values(thing.variables)])
    if isinstance(thing, keras.optimizers.Optimizer):
        config = {k: v for k, v in thing.get_config().items() if k != "name"}
        return walk.all("optimizer", [type(thing), config, _values(thing.variables)])
    if isinstance(thing, keras.callbacks.Callback):
        state = {k: v for k, v in vars(thing).items() if k not in ("_model", "params")}
        return walk.all("callback", [type(thing), state])
    if isinstance(thing, keras.Variable) or type(thing).__module__.startswith("tensorflow."):
        if hasattr(thing, "numpy"):
            return walk.all("tensor", [np.asarray(thing)])
    if type(thing).__module__.startswith("keras.") and hasattr(thing, "get_config"):
        return walk.all("keras", [type(thing), _config(thing)])
    return None


def _config(thing) -> Any:
    """Return the configuration of a layer or model, without the names that Keras counts up."""
    try:
        return _listed(architecture.anonymous(thing.get_config()))
    except (TypeError, NotImplementedError) as error:
        raise NotComparable(
            f"a {type(thing).__qualname__} has no configuration to compare: {error}"
        ) from error


def _listed(config):
    """Replace tuples by lists, as a copy of a model through its file has them."""
    if isinstance(config, dict):
        return {key: _listed(value) for key, value in config.items()}
    return [_listed(item) for item in config] if isinstance(config, list | tuple) else config


def _values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]
