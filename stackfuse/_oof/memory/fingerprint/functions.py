"""Digests of functions, classes and modules, with all that they read and inherit."""

import builtins
import functools
import importlib.util
import os
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from stackfuse._oof.memory.fingerprint import looking
from stackfuse._oof.memory.fingerprint.code import Code, Import, Read, scanned
from stackfuse._oof.memory.fingerprint.releases import is_installable, is_own_class, release_of
from stackfuse._oof.memory.fingerprint.values import extended
from stackfuse._oof.memory.fingerprint.walk import NotComparable, Walk, digests

#: Names in a class's namespace that do not change its behaviour.
_NOT_CODE = {
    "__abstractmethods__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__classcell__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__module__",
    "__slotnames__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
    "_value2member_map_",  # of flags it grows with use
}

#: Built-in functions, and attributes, by which code reads what nobody can foresee.
_UNFORESEEABLE_BUILTINS = {"eval", "exec", "globals", "__import__", "input"}
_UNFORESEEABLE = {
    "__globals__",
    "_getframe",
    "currentframe",
    "expandvars",
    "f_globals",
    "f_locals",
    "import_module",
    "run_path",
}

#: Functions and methods that read files.
_FILE_READERS = {
    "from_file",
    "fromfile",
    "genfromtxt",
    "load_model",
    "load_weights",
    "loadtxt",
    "memmap",
    "open_memmap",
    "read_bytes",
    "read_csv",
    "read_excel",
    "read_feather",
    "read_hdf",
    "read_json",
    "read_parquet",
    "read_pickle",
    "read_sql",
    "read_text",
    "urlopen",
}

#: Values that a library's module may hold under a name, as settings.
_SETTINGS = (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)

#: For each cached function, the digest of all that it read when its cache was empty.
_FILLED_FROM: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class _Missing(NamedTuple):
    """Stands for a name that is not there (yet)."""

    name: str


# ---------------------------------------------------------------------------- functions


@digests(types.FunctionType)
def _function(thing, walk):
    home = thing.__globals__.get("__name__")  # ``functools.wraps`` changes ``__module__``
    code, is_library = thing.__code__, release_of(home) is not None
    if is_library and "<locals>" not in code.co_qualname:
        return walk.tokens("library", home, code.co_qualname, release_of(home))
    if code is _SINGLE_DISPATCH:
        return walk.all("single dispatch", looking.attributes_of(thing)["registry"].items())
    known = scanned(code)
    name = f"the function `{thing.__qualname__}`"
    around = []
    for variable, cell in zip(code.co_freevars, thing.__closure__ or ()):
        content = _content(cell)
        walk.reads_data |= not _is_fixed(content)
        if not (variable in known.tallies and type(content) in (int, float, list, dict, set)):
            words = f"{name} reads `{variable}` of the function around it"
            around += [variable, walk.read(words, content)]
    given = [
        walk.named("defaults", _defaults(thing), f"{name} has it as the default of `{{}}`"),
        walk.named("own", vars(thing), f"{name} has it as its attribute `{{}}`"),
    ]
    used = [] if is_library else _digests_of_reads(thing, known, walk, name)
    return walk.tokens("function", walk.of(code), *given, *around, *used)


#: The code of all single-dispatch functions: what differs is the registry.
_SINGLE_DISPATCH: types.CodeType = getattr(functools.singledispatch(len), "__code__")  # noqa: B009


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    """Return the defaults of arguments by name."""
    values = function.__defaults__ or ()
    code = function.__code__
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values)), **(function.__kwdefaults__ or {})}


def _digests_of_reads(thing: types.FunctionType, known: Code, walk: Walk, name: str) -> list[bytes]:
    """Return the digests of the globals and modules that a function of the user's reads."""
    walk.codes.append(known)
    walk.texts |= known.texts
    digests = []
    for imported in sorted(known.imports, key=repr):
        digests.append(_import(imported, thing, walk, name))
    done = set()
    for read in sorted(known.reads, key=repr):
        _refuse_unforeseeable(read, thing, name)
        if _reads_environment(read, thing):
            digests += _environment(read, thing, walk, name)
            continue
        for words, dotted, value in _found(read, thing, known, name):
            if dotted in done:
                continue
            done.add(dotted)
            walk.reads_data |= not _is_fixed(value)
            digests += [walk.tokens("name", dotted), walk.read(words, value)]
    return digests


@digests(types.CodeType)
def _code(thing, walk):
    numbers = (thing.co_argcount, thing.co_kwonlyargcount, thing.co_posonlyargcount)
    names = (thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_cellvars)
    traps = (thing.co_flags, thing.co_exceptiontable)
    constants = walk.of(thing.co_consts)
    return walk.tokens("code", thing.co_code, constants, names, numbers, *traps)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is filled later
        return _Missing("cell")


# ---------------------------------------------------------------------------- names


def _found(
    read: Read, function: types.FunctionType, known: Code, name: str
) -> Iterator[tuple[str, str, Any]]:
    """Yield in words, by dotted name and as it is what a read leads to in the user's code."""
    if read.where in ("closure", "unknown"):
        return  # closures are read whole
    if read.where == "module":
        root = _resolved(read.root, function)
        value = sys.modules.get(root, _Missing(root))
        if not isinstance(value, types.ModuleType):
            return  # of one that is missing the import says so
        dotted, kind = root, "module"
    else:
        dotted, kind = read.root, "global"
        value = _global(read.root, function)
        if read.root in known.tallies and type(value) in (int, float, list, dict, set):
            return
    library = None
    for attribute in read.attributes:
        if not isinstance(value, types.ModuleType):
            break
        scope, library = (
            looking.scope_of(value),
            release_of(looking.scope_of(value).get("__name__")),
        )
        dotted = f"{dotted}.{attribute}"
        if attribute not in scope:
            if library is not None:
                return  # made when it is asked for, from the release
            if "__getattr__" in scope:
                yield f"{name} reads `{dotted}`", dotted, scope["__getattr__"]
                return
            value = sys.modules.get(f"{scope.get('__name__')}.{attribute}", _Missing(dotted))
        else:
            value = scope[attribute]
    if library is None or _is_set_by_user(value):
        yield f"{name} reads the {kind} `{dotted}`", dotted, value


def _is_fixed(value: Any) -> bool:
    """Whether something is code that holds no settings itself."""
    if isinstance(value, types.ModuleType):
        return release_of(looking.scope_of(value).get("__name__")) is not None
    if isinstance(value, type):
        return not is_own_class(value)
    return isinstance(value, types.FunctionType | types.BuiltinFunctionType)


def _is_set_by_user(value: Any) -> bool:
    """Whether something in a library's module is not what the release says, or may be set."""
    if isinstance(value, types.ModuleType):
        return False
    if isinstance(value, types.FunctionType):
        return release_of(value.__globals__.get("__name__")) is None
    if isinstance(value, type):
        return is_own_class(value)
    return type(value) in _SETTINGS or is_own_class(type(value))


def _global(name: str, function: types.FunctionType) -> Any:
    if name in function.__globals__:
        return function.__globals__[name]
    return function.__builtins__.get(name, _Missing(name))


def _resolved(module: str, function: types.FunctionType) -> str:
    """Return the absolute name of a module."""
    level = len(module) - len(module.lstrip("."))
    if not level:
        return module
    package = function.__globals__.get("__package__") or ""
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:  # beyond the top: the import fails
        return module


def _import(imported: Import, function: types.FunctionType, walk: Walk, name: str) -> bytes:
    """Return the digest of the module or attribute that a function imports.

    Raises
    ------
    NotComparable
        If it is a module of the user's that is not loaded: it would have to be run.
    """
    module = _resolved("." * imported.level + imported.name, function)
    release = release_of(module)
    if release is not None:
        return walk.tokens("library", module, release)
    if module in sys.modules:
        for part in imported.wanted:
            inner = f"{module}.{part}"
            has_part = part in looking.scope_of(sys.modules[module])
            if not has_part and inner not in sys.modules and is_installable(inner):
                raise _not_loaded(inner, name)
        return walk.tokens("own module", module)
    if is_installable(module):
        raise _not_loaded(module, name)
    return walk.tokens("no module", module)


def _not_loaded(module: str, name: str) -> NotComparable:
    return NotComparable(
        f"{name} imports `{module}`, which is not loaded yet: import it at the top of the file"
    )


def _refuse_unforeseeable(read: Read, function: types.FunctionType, name: str) -> None:
    """Raise if a function reads what its code does not name: files, computed names."""
    last = read.attributes[-1] if read.attributes else read.root
    bare = read.where == "global" and not read.attributes
    is_builtin = bare and _global(read.root, function) is getattr(builtins, read.root, "none")
    if (is_builtin and read.root in _UNFORESEEABLE_BUILTINS) or last in _UNFORESEEABLE:
        raise NotComparable(f"{name} uses `{last}`, so it may read anything")
    if "modules" in read.attributes and _module_of(read, function) is sys:
        raise NotComparable(f"{name} uses `sys.modules`, so it may read anything")
    opens = (last == "open" and (is_builtin or read.attributes)) and not read.writes_only
    loads = last == "load" and isinstance(_module_of(read, function), types.ModuleType)
    if opens or loads or (last in _FILE_READERS and (read.attributes or not is_builtin)):
        raise NotComparable(
            f"{name} reads a file with `{last}`, which may change: pass its content as a parameter"
        )


def _module_of(read: Read, function: types.FunctionType) -> Any:
    """Return the module that a read begins with, None if it begins with anything else."""
    if read.where == "module":
        return sys.modules.get(_resolved(read.root, function))
    value = _global(read.root, function) if read.where == "global" else None
    return value if isinstance(value, types.ModuleType) else None


# ---------------------------------------------------------------------------- the environment


def _reads_environment(read: Read, function: types.FunctionType) -> bool:
    """Whether a read asks for environment variables of the process."""
    names = {"environ", "environb", "getenv", "getenvb"}
    if names.intersection(read.attributes):
        return True
    if read.where != "global":
        return read.root in names
    value = _global(read.root, function)
    return value is os.environ or value is os.getenv


def _environment(read: Read, function: types.FunctionType, walk: Walk, name: str) -> list[bytes]:
    """Return the digest of an environment variable that is read.

    Raises
    ------
    NotComparable
        If its name is computed.
    """
    if read.stores:
        return []
    key = read.key
    if key is None and read.key_name is not None:
        key = _global(read.key_name, function)
    if not isinstance(key, str):
        raise NotComparable(
            f"{name} computes the names of the environment variables that it reads: read them "
            "outside, and pass the values as parameters"
        )
    walk.reads_data = True
    digest = walk.read(f"{name} reads the environment variable `{key}`", os.environ.get(key))
    return [walk.tokens("environment", key, digest)]


@digests(type(os.environ))
def _environ(thing, walk):
    raise NotComparable("all environment variables together cannot be compared")


# ---------------------------------------------------------------------------- callables


@digests(types.MethodType)
def _method(thing, walk):
    return walk.all("method", [thing.__func__, thing.__self__])


@digests(types.BuiltinFunctionType)
def _builtin(thing, walk):
    owner = thing.__self__
    owner = None if owner is None or isinstance(owner, types.ModuleType) else owner
    return walk.all("builtin", [thing.__module__, thing.__qualname__, owner])


@digests(
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
def _named(thing, walk):
    return walk.tokens(type(thing).__name__, thing.__qualname__)


@digests(types.MethodWrapperType)
def _bound_wrapper(thing, walk):
    return walk.all("method wrapper", [thing.__qualname__, thing.__self__])


@digests(staticmethod, classmethod)
def _wrapped(thing, walk):
    return walk.all(type(thing).__name__, [thing.__func__])


@digests(property)
def _property(thing, walk):
    content = walk.all("property", [thing.fget, thing.fset, thing.fdel])
    return extended(thing, walk, property, content)


@digests(functools.cached_property)
def _cached_property(thing, walk):
    return walk.all("cached_property", [thing.func])


@digests(functools.partial)
def _partial(thing, walk):
    parts = [functools.partial.__dict__[name].__get__(thing) for name in ("func", "args")]
    keywords = functools.partial.__dict__["keywords"].__get__(thing)
    given = walk.named("keywords", keywords, "a partial function has it as `{}`")
    content = walk.tokens("partial", walk.all("call", parts), given)
    return extended(thing, walk, functools.partial, content)


@digests(type(functools.lru_cache(len)))
def _cached(thing, walk):
    """Digest a function with a cache: what it remembers may be older than what it would read."""
    function = looking.attributes_of(thing)["__wrapped__"]
    digest, reads_data = walk.apart(function)
    if not reads_data:
        return walk.tokens("cached", digest)
    if not thing.cache_info().currsize:
        _FILLED_FROM[thing] = digest
    elif _FILLED_FROM.get(thing) != digest:
        name = getattr(function, "__qualname__", "?")
        raise NotComparable(
            f"the cached function `{name}` may return what it computed from other values: call its "
            "`cache_clear()` before fit"
        )
    return walk.tokens("cached", digest)


# ---------------------------------------------------------------------------- classes, modules


@digests(type)
def _class(thing, walk):
    module, qualname = looking.module_of(thing), looking.qualname_of(thing)
    if not is_own_class(thing):
        return walk.tokens("library", module, qualname, release_of(module))
    body = {k: v for k, v in looking.namespace_of(thing).items() if k not in _NOT_CODE}
    numbers = {k for k, v in body.items() if type(v) in (int, float)}
    if numbers:
        walk.numbers |= numbers
        for base in looking.mro_of(thing):
            walk.library_words |= set() if is_own_class(base) else _words_of(base)
    body = {k: v for k, v in body.items() if not (k in numbers and k in walk.uncounted)}
    holds = f"the class `{qualname}` holds it as `{{}}`"
    kinds = walk.all("kinds", [*looking.bases_of(thing), type(thing)])
    return walk.tokens("class", qualname, walk.named("body", body, holds), kinds)


@functools.cache
def _words_of(kind: type) -> set[str]:
    """Return the names that a class of a library defines and uses."""
    words = set(looking.namespace_of(kind))
    for value in looking.namespace_of(kind).values():
        for part in (value, getattr(value, "fget", None), getattr(value, "__func__", None)):
            if isinstance(part, types.FunctionType):
                words |= {*part.__code__.co_names, *part.__code__.co_varnames}
    return words


@digests(types.ModuleType)
def _module(thing, walk):
    scope = looking.scope_of(thing)
    name = scope.get("__name__", "?")
    if release_of(name) is not None:
        return walk.tokens("library", name, release_of(name))
    names = {k: v for k, v in scope.items() if not k.startswith("__") or k == "__getattr__"}
    content = walk.named("module", names, f"the module `{name}` holds it as `{{}}`")
    return walk.tokens("module", name, content)
