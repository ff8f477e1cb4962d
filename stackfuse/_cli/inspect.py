"""What an exported file is, told from the file alone."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from stackfuse._core import (
    NotConvertible,
    errors,
)
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.formats import table as _formats
from stackfuse._export.manifest import golden_rows

#: Things that are listed before the rest is counted.
_LISTED = 12


def outputs_of(path: Path, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of an exported file, computed by its runtime in another process.

    Parameters
    ----------
    path : Path
    rows : dict of str to array-like of shape (n_samples, ...)
        By the names of the inputs, or of the columns that they take; they are cast to the
        inputs' dtypes.
    """
    form = _formats.format_of(path)
    form.check_installed()
    inputs = read_manifest(path)["inputs"]
    fed = {}
    for name, told in inputs.items():
        dtype: Any = object if told["dtype"] == "string" else told["dtype"]
        fed[name] = np.asarray(rows[name if name in rows else told["column"]]).astype(dtype)
    return form.runtime.outputs_of(form.name, path, fed)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what travels with an exported file.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no file, or it is none that stackfuse has written.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}.")
    form = _formats.format_of(path)
    try:
        return json.loads(form.manifest(path))
    except KeyError:
        raise ValueError(f"{path} holds no manifest: it was not written by sf.export.") from None


def inspect(path: Path, console: Console, *, picture: Path | None = None) -> int:
    """Print what a file is and check it; return the exit status, 1 if it is not what it was.

    Parameters
    ----------
    path : Path
    console : rich.console.Console
    picture : Path, default=None
        Where to draw the structure too, as an SVG.
    """
    manifest = read_manifest(path)
    form = _formats.format_of(path)
    changed = _changed_parts(form, path, manifest)
    verdict, status = _golden_check(form, path, manifest)
    if changed:
        verdict, status = f"{verdict}; changed since it was written: {changed}", 1
    facts = Table("", "", show_header=False, title=escape(str(path)))
    for name, text in {
        "format": f"{form.title}, {manifest['precision']}, {form.size(path) / 1e3:,.0f} kB",
        "inputs": _tensors(manifest["inputs"]),
        "outputs": _tensors(manifest["outputs"]),
        "classes": _some(manifest["classes"]),
        "columns": _some(manifest["feature_names"]),
        "bases": "\n".join(_bases(manifest["estimator"])),
        "meta-learner": _meta_learner(manifest["estimator"]),
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
    }.items():
        if text:
            facts.add_row(name, escape(text))
    facts.add_row("check", f"[{'red' if status else 'green'}]{escape(verdict)}[/]")
    tree = _tree(manifest["estimator"])
    console.print(Group(facts, tree))
    if picture is not None:
        _draw(tree, picture)
    return status


def _golden_check(form, path: Path, manifest: dict[str, Any]) -> tuple[str, int]:
    """Compare the file with the rows that it carries; return what to say, and the status."""
    golden = golden_rows(manifest)
    if golden is None:
        return "exported with verify=False: there are no rows to check it on", 0
    form.check_installed()
    inputs, expected = golden
    try:
        outputs = form.runtime.outputs_of(form.name, path, inputs)
        difference = check_parity(expected, outputs, what="The file")
    except (NotConvertible, errors.ParityError) as error:
        return str(error), 1
    n_rows = len(next(iter(inputs.values())))
    return f"{n_rows} golden rows agree, largest difference {difference:.1e}", 0


def _changed_parts(form, path: Path, manifest: dict[str, Any]) -> str:
    """Return the parts that are not as they were written."""
    found, written = form.digests(path), manifest["sha256"]
    return ", ".join(sorted(k for k in {*found, *written} if found.get(k) != written.get(k)))


def _tensors(tensors: dict[str, Any]) -> str:
    lines = []
    for name, told in list(tensors.items())[:_LISTED]:
        shape = ", ".join("n" if side is None else str(side) for side in told["shape"])
        column = told.get("column")
        takes = "" if column in (None, name) else f" takes {column!r}"
        lines.append(f"{name}: {told['dtype']} ({shape}){takes}")
    return "\n".join([*lines, *_rest(len(tensors))])


def _some(things: list | None) -> str:
    things = things or []
    return ", ".join([*map(str, things[:_LISTED]), *_rest(len(things))])


def _rest(n_things: int) -> list[str]:
    return [f"and {n_things - _LISTED} more"] if n_things > _LISTED else []


def _stack_in(structure: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of the outermost stack, which may be searched for or end a pipeline."""
    parts = structure["parts"]
    if "final_estimator" in parts:
        return parts
    return _stack_in(list(parts.values())[-1]) if parts else {}


def _bases(structure: dict[str, Any]) -> list[str]:
    parts = _stack_in(structure)
    return [f"{name}: {part['is']}" for name, part in parts.items() if name != "final_estimator"]


def _meta_learner(structure: dict[str, Any]) -> str:
    parts = _stack_in(structure)
    return parts["final_estimator"]["is"] if parts else ""


def _tree(structure: dict[str, Any], name: str = "") -> Tree:
    tree = Tree(f"[bold]{escape(name)}[/] {escape(structure['is'])}")
    for key, part in structure["parts"].items():
        tree.add(_tree(part, key))
    return tree


def _draw(tree: Tree, picture: Path) -> None:
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False)
    console.print(tree)
    console.save_svg(str(picture), title="stackfuse")
