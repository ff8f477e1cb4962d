"""Which installed package a module belongs to, and its release; the rest is the user's own code."""

import hashlib
import importlib.machinery
import importlib.metadata
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stackfuse._oof.memory.fingerprint import looking

#: Folders that packages are installed in.
_INSTALLED = {"site-packages", "dist-packages"}

#: Python's own modules lie here, or nowhere.
_PYTHON = tuple(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def release_of(module: str | None) -> str | None:
    """Return the release of the package that a module belongs to, None for the user's own.

    It is the same whether the module is loaded or not; nothing is imported.
    """
    top = (module or "").partition(".")[0]
    if top in ("", "__main__", "__mp_main__"):
        return None
    return _release(top, _place_of(top))


def is_own_class(kind: type) -> bool:
    """Whether a class is the user's, or made by a function of a library."""
    local = "<locals>" in looking.qualname_of(kind)
    return local or release_of(looking.module_of(kind)) is None


def is_installable(name: str) -> bool:
    """Whether a module that is not loaded could be: it is looked for, and not imported."""
    top, *rest = name.split(".")
    if not rest:
        return _place_of(top) is not None
    parent = sys.modules.get(name.rpartition(".")[0])
    known = isinstance(parent, types.ModuleType)
    path = looking.scope_of(parent).get("__path__") if known else None
    if path is None:
        return parent is None and is_installable(top)
    return importlib.machinery.PathFinder.find_spec(name, list(path)) is not None


def _place_of(top: str) -> str | None:
    """Return where a top-level module lies: a file, a folder, or "python" for built-in ones."""
    loaded = sys.modules.get(top)
    scope = looking.scope_of(loaded) if isinstance(loaded, types.ModuleType) else {}
    place = scope.get("__file__")
    if isinstance(place, str):
        return place
    if loaded is not None:
        folders = [folder for folder in _paths(scope) if isinstance(folder, str)]
        return folders[0] if folders else "python" if _is_built_in(top) else ""
    return "python" if _is_built_in(top) else _found(top)


def _paths(scope: Mapping[str, Any]) -> Iterable[Any]:
    path = scope.get("__path__")
    return [] if path is None else list(path)


def _is_built_in(top: str) -> bool:
    frozen = importlib.machinery.FrozenImporter.find_spec(top) is not None
    return top in sys.builtin_module_names or frozen


def _found(top: str) -> str | None:
    spec = importlib.machinery.PathFinder.find_spec(top)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or [])
    return spec.origin or next(iter(folders), "")


@cache
def _release(top: str, place: str | None) -> str | None:
    if place is None:
        return None
    if top == "stackfuse":
        return importlib.metadata.version(top)
    if _INSTALLED.intersection(Path(place).parts):
        return _version(top) or _content(place)
    real = os.path.realpath(place)
    if place == "python" or (top in sys.stdlib_module_names and real.startswith(_PYTHON)):
        return "python {}.{}.{}".format(*sys.version_info)
    return None


def _version(top: str) -> str | None:
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:  # it is installed by another name
        names = sorted(set(_distributions().get(top, [])))
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names) or None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _content(place: str) -> str:
    """Return the digest of an installed file that belongs to no distribution."""
    file = Path(place)
    if not file.is_file():
        return "installed"
    return hashlib.blake2b(file.read_bytes(), digest_size=20).hexdigest()
