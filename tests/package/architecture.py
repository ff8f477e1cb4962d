"""The rules of the house that import-linter and ruff cannot check.

``python -m tests.package.architecture`` prints every breach; ``make check`` runs it, and
``test_package.py`` asks for the breaches of each rule.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "stackfuse"
FOLDERS = ["stackfuse", "tests", "benchmarks", "examples"]

LINES, PARAMETERS, ENTRIES, NAMES = 60, 7, 15, 12

#: Their parameters are options that people know by name, and that the public interface fixes:
#: the constructors of networks, stacks and meta-learners, and three functions; and scikit-learn's
#: searches and functions, which have their parameters from there; and options of a command.
MANY_PARAMETERS = {
    "KerasClassifier.__init__",  # KerasRegressor's too
    "Stack.__init__",  # StackingClassifier, StackingRegressor
    "_HeadParameters.__init__",  # FusionClassifier, FusionRegressor
    "GreedyClassifier.__init__",
    "fuse",
    "out_of_fold",
    "export",
    "GridSearchCV.__init__",
    "RandomizedSearchCV.__init__",
    "cross_validate",
    "cross_val_predict",
    "distill",
    "fit",
}

#: Files that may lie in the package beside its rooms.
LOOSE = {
    *("__init__.py", "__init__.pyi", "py.typed"),
    *("engines.py", "formats.py", "models.py", "testing.py"),
}

#: The files that may use private names of a library.
PRIVATE_HOMES = {
    "stackfuse/_core/sklearn_private.py": {"sklearn"},
    "stackfuse/_keras/private.py": {"keras", "tensorflow"},
    "stackfuse/_export/formats/onnx.py": {"tf2onnx"},  # no other file imports it
}
#: Whole packages that are private, whatever they are called.
PRIVATE_PACKAGES = ["keras.src", "tensorflow.python"]
#: Methods of NamedTuple that its documentation names.
DOCUMENTED = {"_asdict", "_fields", "_make", "_replace"}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of every module in folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py*")):
            if path.suffix in {".py", ".pyi"}:
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the functions of a module with their names, ``Class.method`` for methods."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield owner + node.name, node
        inside = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        yield from functions(node, inside)


def lines_of_code(function: Function, lines: list[str]) -> int:
    """Return how many lines a function's body has, without docstring, blanks and comments."""
    body = function.body[ast.get_docstring(function) is not None :]
    numbers = {n for node in body for n in range(node.lineno, (node.end_lineno or 0) + 1)}
    return sum(lines[n - 1].strip()[:1] not in {"", "#"} for n in numbers)


def long_functions() -> Iterator[str]:
    """A function has at most 60 lines of code."""
    for path, tree in sources(*FOLDERS):
        lines = (ROOT / path).read_text().splitlines()
        for name, function in functions(tree):
            count = lines_of_code(function, lines)
            if count > LINES:
                yield f"{path}: {name} has {count} lines of code; {LINES} is the limit"


def parameters(function: Function) -> int:
    """Return how many parameters a function has, without ``self`` or ``cls``."""
    a = function.args
    named = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len(named) + bool(a.vararg) + bool(a.kwarg) - (named[:1] in (["self"], ["cls"]))


def many_parameters() -> Iterator[str]:
    """A function has at most 7 parameters; public options that people know by name aside."""
    unused = set(MANY_PARAMETERS)
    for path, tree in sources(*FOLDERS):
        for name, function in functions(tree):
            count = parameters(function)
            if count > PARAMETERS and name not in MANY_PARAMETERS:
                yield f"{path}: {name} takes {count} parameters; {PARAMETERS} is the limit"
            elif count > PARAMETERS and path.startswith("stackfuse"):
                unused.discard(name)
    yield from (f"{name} needs no exemption" for name in sorted(unused))


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, without what Python and its tools leave there."""
    return [p for p in folder.iterdir() if p.name[:1] != "." and p.name != "__pycache__"]


def crowded_folders() -> Iterator[str]:
    """A folder has at most 15 entries; the package's own 15 rooms, and few loose files.

    That of the tests mirrors the rooms, and has one loose file.
    """
    loose_files = {PACKAGE: LOOSE, ROOT / "tests": {"conftest.py"}}
    for top in FOLDERS:
        folders = {path.parent for path in (ROOT / top).rglob("*.py")}
        for folder in sorted(folders):
            loose = loose_files.get(folder, ())
            count = sum(path.name not in loose for path in entries(folder))
            if count > ENTRIES:
                yield f"{folder.relative_to(ROOT)}: {count} entries; {ENTRIES} is the limit"
    for path in entries(PACKAGE):
        if path.is_file() and path.name not in LOOSE:
            yield f"stackfuse/{path.name}: a module belongs into a room"


def door_names(room: str) -> list[str]:
    """Return ``__all__`` of a room's door; that of a lazy one is in its stub."""
    door = PACKAGE / room / "__init__.py"
    lazy = door.with_suffix(".pyi")
    tree = ast.parse((lazy if lazy.exists() else door).read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def rooms() -> list[str]:
    """Return the names of the rooms."""
    return sorted(p.name for p in PACKAGE.glob("_*") if p.is_dir() and p.name != "__pycache__")


def imports(tree: ast.Module) -> Iterator[tuple[str, list[str], int]]:
    """Yield module, names and level of every import; no names for ``import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, [], 0) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", [name.name for name in node.names], node.level


def wide_doors() -> Iterator[str]:
    """A door hands out at most a dozen names."""
    for room in rooms():
        if len(door_names(room)) > NAMES:
            yield f"stackfuse/{room}: its door has {len(door_names(room))} names; {NAMES} at most"


def past_doors() -> Iterator[str]:
    """Another room's names come from its door: ``from stackfuse._room import name``.

    The root and the public namespaces also take names of shelves that a door hands out.
    """
    for path, tree in sources("stackfuse"):
        own = path.split("/")[1].split(".")[0]
        for module, names, level in imports(tree):
            folder = path.split("/")[:-1]
            inside = folder[: len(folder) + 1 - level] if level else []
            parts = [*inside, *filter(None, module.split("."))]
            if parts[0] != "stackfuse" or parts[1:2] == [own]:
                continue
            here = f"{path}: from {'.'.join(parts)} import {', '.join(names)}"
            thin = path.count("/") == 1  # the root and the public namespaces
            if len(parts) == 1:
                public = {name.removesuffix(".py") for name in LOOSE} if thin else set()
                if not {*names} <= {"__version__", *rooms(), *public}:
                    yield f"{here}: the package's own modules import from rooms"
            elif thin and len(parts) == 3 and parts[2] in door_names(parts[1]):
                continue  # from a shelf that the door hands out
            elif len(parts) > 2 or not names:
                yield f"{here}: import from the door, stackfuse.{parts[1]}"
            elif unknown := sorted({*names} - {*door_names(parts[1])}):
                yield f"{here}: {', '.join(unknown)} is not in __all__ of that door"


def is_private(name: str) -> bool:
    """Return whether a name starts with one underscore."""
    return name[:1] == "_" and name[:2] != "__" and name != "_"


def private_imports() -> Iterator[str]:
    """Private modules and names of other libraries are imported in one file for each library."""
    for path, tree in sources("stackfuse"):
        for module, names, level in imports(tree):
            library = module.split(".")[0]
            private = any(map(is_private, [*module.split("."), *names])) or any(
                f"{whole}.".startswith(f"{package}.")
                for package in PRIVATE_PACKAGES
                for whole in [module, *(f"{module}.{name}" for name in names)]
            )
            ours = level or library == "stackfuse" or library in PRIVATE_HOMES.get(path, ())
            if private and not ours:
                yield f"{path}: {module} {', '.join(names)}".rstrip()


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines: functions, classes, attributes that are set."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.attr if isinstance(node, ast.Attribute) else node.id


def used_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the attributes that a module asks for, by ``.name`` and by ``getattr``."""
    by_string = {"getattr", "hasattr", "attrgetter", "methodcaller"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in by_string:
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno


def fitted_names() -> set[str]:
    """Return the private fitted attributes that ``sklearn_private.FITTED`` lists."""
    from stackfuse._core import sklearn_private

    listed = getattr(sklearn_private, "FITTED", {})
    return {part for names in listed.values() for name in names for part in name.split(".")}


def private_attributes() -> Iterator[str]:
    """Private attributes are ours, or listed in ``sklearn_private.FITTED``."""
    modules = list(sources("stackfuse"))
    ours = {name for _, tree in modules for name in defined_names(tree)}
    allowed = ours | DOCUMENTED | fitted_names()
    for path, tree in modules:
        if path in PRIVATE_HOMES:
            continue
        for name, line in used_names(tree):
            if is_private(name) and name not in allowed:
                yield f"{path}:{line}: {name} is private to another library"


RULES: dict[str, Callable[[], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        long_functions,
        many_parameters,
        crowded_folders,
        wide_doors,
        past_doors,
        private_imports,
        private_attributes,
    )
}


def main() -> int:
    """Print every breach of every rule; return whether there are any."""
    found = False
    for rule in RULES.values():
        if breaches := list(rule()):
            found = True
            sys.stdout.write("\n  ".join([rule.__doc__ or rule.__name__, *breaches]) + "\n")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
