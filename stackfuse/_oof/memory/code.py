"""What a function or class is made of: what it refers to, and what it only counts."""

import ast
import dis
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any


@cache
def release_of(module: str | None) -> str | None:
    """Return the version of the installed package a module belongs to, None for the user's own."""
    top = (module or "").partition(".")[0]
    if top == "__main__":
        return None
    if top in sys.stdlib_module_names:
        return "python {}.{}".format(*sys.version_info)
    if top == "stackfuse":
        return importlib.metadata.version(top)
    path = getattr(sys.modules.get(top), "__file__", None) or ""
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if not any(path.startswith(folder) for folder in installed) and "-packages" not in path:
        return None
    return str(getattr(sys.modules[top], "__version__", "installed"))


def used_by(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function looks up outside itself: globals, parts of modules, imports.

    Parameters
    ----------
    function : function

    Returns
    -------
    used : dict of str to object
        By dotted name, sorted; what is missing is left out. Of the user's own modules it holds what
        the function takes from them, or the whole module where that cannot be told.
    """
    scope = function.__globals__
    found = {}
    for root, *attributes in sorted(set(_chains(function.__code__))):
        if root in scope:
            found |= _along(root, scope[root], attributes)
    for name, level, wanted in sorted(set(_imports(function.__code__))):
        package = scope.get("__package__") or ""
        name = importlib.util.resolve_name("." * level + name, package) if level else name
        if release_of(name) is not None:
            continue
        module = importlib.import_module(name)
        for part in wanted or [None]:
            found |= _along(name, module, [part] if part else [])
    return found


def _along(name: str, thing: Any, attributes: Iterable[str]) -> dict[str, Any]:
    """Return what attributes lead to from one of the user's modules; anything else as it is."""
    for attribute in attributes:
        if not isinstance(thing, types.ModuleType) or release_of(thing.__name__) is not None:
            break
        if not hasattr(thing, attribute):
            return {}
        name, thing = f"{name}.{attribute}", getattr(thing, attribute)
    return {name: thing}


def _chains(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """Yield the global names that code looks up, each with the attributes that it takes of it."""
    chain: list[str] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if chain:
                yield tuple(chain)
            chain = [instruction.argval]
        elif chain and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain.append(instruction.argval)
        elif chain and instruction.opname not in ("CACHE", "PUSH_NULL", "EXTENDED_ARG"):
            yield tuple(chain)
            chain = []
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _chains(const)


def _imports(code: types.CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield the modules that code imports, with the level and the names it takes from them."""
    level, name, wanted = 0, None, []
    last_constant: Any = 0
    before_last: Any = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_FROM":
            wanted.append(instruction.argval)
            continue
        if name is not None and instruction.opname not in ("STORE_FAST", "STORE_NAME", "CACHE"):
            yield name, level, tuple(wanted)
            name = None
        if instruction.opname == "LOAD_CONST":
            before_last, last_constant = last_constant, instruction.argval
        elif instruction.opname == "IMPORT_NAME":
            level = before_last if isinstance(before_last, int) else 0
            name, wanted = instruction.argval, []
    if name is not None:
        yield name, level, tuple(wanted)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _imports(const)


def counted_by(function: Any) -> tuple[set[str], set[str]]:
    """Return the variables, and the attributes, that a function changes and does not read.

    A counter that every fit raises says nothing of what the fit computes.

    Parameters
    ----------
    function : object
        Of what is no function, or has no source, nothing is known.

    Examples
    --------
    >>> calls, widths = [], [3]
    >>> def build():
    ...     calls.append(1)
    ...     return widths[0]
    >>> counted_by(build)[0]
    {'calls'}
    """
    function = getattr(function, "__func__", function)  # of class and static methods
    if not isinstance(function, types.FunctionType):
        return set(), set()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, TypeError, SyntaxError):  # made by exec; a lambda amid an expression
        return set(), set()
    declared = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Global | ast.Nonlocal)
        for name in node.names
    }
    changed, inside = _Names(), _Names()
    for node in ast.walk(tree):
        for target in _targets(node, declared):
            one, there = _Names.along(target), _Names.all(node)
            # ``self.width = width`` makes no counter of a class's attribute, ``+=`` does.
            if isinstance(node, ast.Assign) and not one.within(node.value):
                one.attributes = []
            changed.variables += one.variables
            changed.attributes += one.attributes
            inside.variables += [name for name in there.variables if name in one.variables]
            inside.attributes += [name for name in there.attributes if name in one.attributes]
    everywhere = _Names.all(tree)
    return (
        {n for n in changed.variables if _only(n, everywhere.variables, inside.variables)},
        {n for n in changed.attributes if _only(n, everywhere.attributes, inside.attributes)},
    )


def _only(name: str, everywhere: list[str], inside: list[str]) -> bool:
    """Whether a name occurs nowhere but in the statements that change it."""
    return everywhere.count(name) <= inside.count(name)


class _Names:
    """The variables and attributes in a piece of code, as often as they occur."""

    def __init__(self):
        self.variables: list[str] = []
        self.attributes: list[str] = []

    @classmethod
    def all(cls, tree: ast.AST) -> "_Names":
        names = cls()
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                names.variables.append(node.id)
            elif isinstance(node, ast.Attribute):
                names.attributes.append(node.attr)
        return names

    @classmethod
    def along(cls, target: ast.AST) -> "_Names":
        """Return the names along ``root.attribute[item]``."""
        names = cls()
        while isinstance(target, ast.Attribute | ast.Subscript | ast.Call):
            if isinstance(target, ast.Attribute):
                names.attributes.append(target.attr)
            target = target.func if isinstance(target, ast.Call) else target.value
        if isinstance(target, ast.Name):
            names.variables.append(target.id)
        return names

    def within(self, value: ast.AST) -> bool:
        """Whether a value is computed from these attributes themselves."""
        there = _Names.all(value)
        return bool(self.attributes) and set(self.attributes) <= set(there.attributes)


def _targets(node: ast.AST, declared: set[str]) -> Iterator[ast.AST]:
    """Yield what a statement changes, or calls a method of for nothing but its effect."""
    targets: list[ast.AST] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets = [node.value.func] if isinstance(node.value.func, ast.Attribute) else []
    for target in targets:
        local = isinstance(target, ast.Name) and target.id not in declared
        if not local:
            yield target
