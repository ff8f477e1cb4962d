"""What a function or class is made of: its source, what it refers to, and what it only counts."""

import ast
import dis
import importlib.metadata
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

#: Methods that change what they are called on.
_MUTATORS = {
    "add",
    "append",
    "appendleft",
    "clear",
    "extend",
    "insert",
    "pop",
    "popleft",
    "remove",
    "setdefault",
    "update",
}


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


def loaded_globals(code: types.CodeType) -> set[str]:
    """Return the names that code, and the code inside it, looks up in the module's namespace."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return names.union(*map(loaded_globals, inner))


class OwnState(NamedTuple):
    """What a function changes: names of variables, and of attributes."""

    variables: set[str]
    attributes: set[str]


def own_state(function: Any) -> OwnState:
    """Return what a function changes outside itself: it is a source of that, not its reader.

    A counter that every fit raises says nothing of what the fit computes. Meant is what is assigned
    to as ``global``, ``nonlocal``, an attribute or an item, whose mutating methods are called, or
    that some method is called on without regard to what it returns.

    Examples
    --------
    >>> calls, widths = [], [3]
    >>> def build():
    ...     calls.append(1)
    ...     return widths[0]
    >>> own_state(build).variables
    {'calls'}
    """
    state = OwnState(set(), set())
    if not isinstance(function, types.FunctionType):
        return state
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # made by exec; a lambda amid an expression
        return state
    for node in ast.walk(tree):
        if isinstance(node, ast.Global | ast.Nonlocal):
            state.variables.update(node.names)
        for target in _changed(node):
            attributes, root = _chain(target)
            if root is not None:
                state.variables.add(root)
            # ``self.width = width`` makes no counter of a class's attribute, ``+=`` does.
            if not isinstance(node, ast.Assign):
                state.attributes.update(attributes)
    return state


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions that a piece of code changes the value of."""
    if isinstance(node, ast.Assign | ast.Delete):
        yield from node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        yield node.target
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node.value.func
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in _MUTATORS:
            yield node.func


def _chain(target: ast.AST) -> tuple[set[str], str | None]:
    """Return the attributes and the root of ``root.attribute[item]``; of a plain name nothing."""
    attributes: set[str] = set()
    if isinstance(target, ast.Name):
        return attributes, None
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(target, ast.Attribute):
            attributes.add(target.attr)
        target = target.func if isinstance(target, ast.Call) else target.value
    return attributes, target.id if isinstance(target, ast.Name) else None
