"""Describe and check an exported file, with the file alone."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from stackfuse._cli.console import SafeConsole
from stackfuse._core import (
    NotConvertible,
    errors,
    files,
    messages,
)
from stackfuse._export import check_parity, formats, golden_rows

#: Entries that are listed; the rest is counted.
_MAX_LISTED = 12

#: The errors of reading a manifest that stackfuse has not written.
_OF_OTHER_MANIFESTS = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError)

#: The verdict without --run on a format that could do harm.
_NOT_RUN = (
    "It was not run on its golden rows, because {} may hold operations that write files. Add "
    "--run if you trust where it comes from"
)


def outputs_of(path: Path, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of an exported file, computed by its runtime in another process.

    Parameters
    ----------
    path : Path
    rows : dict of str to array-like of shape (n_samples, ...)
        By the names of the inputs, or of the columns that they take; they are cast to the
        inputs' dtypes.

    Raises
    ------
    ValueError
        If the file has changed since it was exported; nothing of it is loaded then.
    """
    form = formats.format_of(path)
    form.check_installed()
    manifest = read_manifest(path)
    _check_digests(form, path, manifest)
    inputs = manifest["inputs"]
    inputs_by_name = {}
    for name, entry in inputs.items():
        dtype: Any = object if entry["dtype"] == "string" else entry["dtype"]
        inputs_by_name[name] = np.asarray(rows[name if name in rows else entry["column"]]).astype(
            dtype
        )
    return form.outputs_of(path, inputs_by_name, limited=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest that an exported file carries.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no file, or stackfuse has not written it.
    """
    files.repair(Path(os.path.realpath(path)))
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}.")
    if (path / "leaderboard.csv").is_file():
        models = [one for one in sorted(path.glob("stack*")) if one.suffix != ".bin"]  # weights
        if models:
            raise ValueError(f"{path} is the folder of a fit: pass the model in it, {models[0]}.")
    try:
        return formats.format_of(path).read_manifest(path)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from None


@dataclass(frozen=True)
class Inspected:
    """An exported file, described and checked.

    Attributes
    ----------
    path : Path
    manifest : dict
        Its manifest; empty if its parts have changed since it was written.
    facts : dict of str to str
        That, in words.
    tree : rich.tree.Tree or None
        The structure of the stack.
    verdict : str
        The result of the check.
    is_right : bool
        Whether nothing is known against it.
    """

    path: Path
    manifest: dict[str, Any]
    facts: dict[str, str]
    tree: Tree | None
    verdict: str
    is_right: bool

    @classmethod
    def of(cls, path: Path, *, run: bool = False) -> "Inspected":
        """Describe and check a file. Digests come first; nothing is loaded if they differ.

        Parameters
        ----------
        path : Path
        run : bool, default=False
            Whether a SavedModel may be run: it may hold operations that write files.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no file, or stackfuse has not written it.
        """
        form = formats.format_of(path)
        manifest = read_manifest(path)
        try:
            _check_digests(form, path, manifest)
        except ValueError as error:
            return cls(path, {}, {}, None, str(error), False)
        try:
            tree, facts = _structure_tree(manifest["estimator"]), _summary(form, path, manifest)
            golden = golden_rows(manifest)
        except _OF_OTHER_MANIFESTS as error:
            raise ValueError(f"{path}: its manifest was not written by sf.export.") from error
        if golden is None:
            verdict, is_right = "it holds no golden rows, so it cannot be checked", True
        elif form.may_write_files and not run:
            not_run = _NOT_RUN.format(messages.with_article(form.title))
            verdict, is_right = f"digests agree. {not_run}", True
        else:
            verdict, is_right = _check_golden_rows(form, path, *golden)
        return cls(path, manifest, facts, tree, verdict, is_right)

    def show(self, console: Console) -> None:
        """Print all of it."""
        if self.tree is None:
            console.print(escape(self.verdict))
            return
        table = Table("", "", show_header=False, title=escape(str(self.path)))
        for name, text in self.facts.items():
            table.add_row(name, escape(text))
        colour = "green" if self.is_right else "red"
        table.add_row("check", f"[{colour}]{escape(self.verdict)}[/]")
        console.print(Group(table, self.tree))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it; of the manifest without the rows and digests."""
        found = {"file": str(self.path), "is right": self.is_right, "check": self.verdict}
        if not self.manifest:
            return found
        of_stack = self.manifest["estimator"]
        names = ("precision", "inputs", "outputs", "classes", "feature_names", "versions")
        return (
            found
            | {"format": formats.format_of(self.path).name}
            | {name.replace("_", " "): self.manifest[name] for name in names}
            | {"bases": _describe_bases(of_stack), "meta-learner": _describe_meta_learner(of_stack)}
        )

    def draw(self, picture: Path) -> None:
        """Draw the structure to an .svg file."""
        if self.tree is not None:
            _save_picture(self.tree, picture)


def _check_digests(form, path: Path, manifest: dict[str, Any]) -> None:
    """Raise ValueError if parts of a file have changed since they were written."""
    try:
        changed = form.changed_parts(path, manifest)
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
    if changed:
        raise ValueError(
            f"{path} is not loaded, because parts of it have changed since it was written: "
            f"{_shortened(changed)}."
        )


def _summary(form, path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Return the entries of a manifest in words, without the structure of the stack."""
    facts = {
        "format": f"{form.title}, {manifest['precision']}, {form.size(path) / 1e3:,.0f} kB",
        "inputs": _describe_tensors(manifest["inputs"]),
        "outputs": _describe_tensors(manifest["outputs"]),
        "classes": _shortened(manifest["classes"]),
        "columns": _shortened(manifest["feature_names"]),
        "dates": "\n".join(f"{k}: {v}" for k, v in (manifest.get("dates") or {}).items()),
        "holds rows of": _shortened(manifest.get("holds_rows_of")),  # new in version 4
        "bases": "\n".join(_describe_bases(manifest["estimator"])),
        "meta-learner": _describe_meta_learner(manifest["estimator"]),
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
    }
    return {name: text for name, text in facts.items() if text}


def _check_golden_rows(
    form, path: Path, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> tuple[str, bool]:
    """Run the file on the rows that it carries; return the verdict, and whether they agree."""
    form.check_installed()
    try:
        outputs = form.outputs_of(path, inputs, limited=True)
        difference = check_parity(expected, outputs, what="The file")
    except (NotConvertible, errors.ParityError) as error:
        return str(error), False
    n_rows = len(next(iter(inputs.values())))
    return f"{n_rows} golden rows agree, largest difference {difference:.1e}", True


def _describe_tensors(tensors: dict[str, Any]) -> str:
    lines = []
    for name, entry in list(tensors.items())[:_MAX_LISTED]:
        shape = ", ".join("n" if side is None else str(side) for side in entry["shape"])
        column = entry.get("column")
        takes = "" if column in (None, name) else f" takes {column!r}"
        lines.append(f"{name}: {entry['dtype']} ({shape}){takes}")
    return "\n".join([*lines, *_count_of_rest(len(tensors))])


def _shortened(things: list | None) -> str:
    things = things or []
    return ", ".join([*map(str, things[:_MAX_LISTED]), *_count_of_rest(len(things))])


def _count_of_rest(n_things: int) -> list[str]:
    return [f"and {n_things - _MAX_LISTED} more"] if n_things > _MAX_LISTED else []


def _parts_of_stack(structure: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of the outermost stack, which may be searched for or end a pipeline."""
    parts = structure["parts"]
    if "final_estimator" in parts:
        return parts
    return _parts_of_stack(list(parts.values())[-1]) if parts else {}


def _describe_bases(structure: dict[str, Any]) -> list[str]:
    parts = _parts_of_stack(structure)
    bases = {name: part for name, part in parts.items() if name != "final_estimator"}
    return [f"{name}: {_predictor_of(base)['is']}" for name, base in bases.items()]


def _predictor_of(structure: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a base that predicts: the last step of a pipeline."""
    parts = structure["parts"]
    if structure["is"].startswith("TransformedTargetRegressor(") and "regressor" in parts:
        return _predictor_of(parts["regressor"])
    if structure["is"].startswith("Pipeline(") and parts:
        return _predictor_of(list(parts.values())[-1])
    return structure


def _describe_meta_learner(structure: dict[str, Any]) -> str:
    parts = _parts_of_stack(structure)
    return parts["final_estimator"]["is"] if parts else ""


def _structure_tree(structure: dict[str, Any], name: str = "") -> Tree:
    tree = Tree(f"[bold]{escape(name)}[/] {escape(structure['is'])}")
    for key, part in structure["parts"].items():
        tree.add(_structure_tree(part, key))
    return tree


def _save_picture(tree: Tree, picture: Path) -> None:
    console = SafeConsole(record=True, width=100, file=io.StringIO(), highlight=False)
    console.print(tree)
    files.write_whole(picture, console.export_svg(title="stackfuse").encode())
