"""Make names of a graph's inputs from names of columns, so that every format takes them."""

import keyword
import re
import unicodedata
from collections.abc import Hashable, Iterable
from typing import Any

import keras

from stackfuse._export.graph.nodes import nodes_behind
from stackfuse._keras import private

#: Names of outputs, and of the runtimes' own arguments.
_RESERVED = {
    *("decision", "features", "label", "lower", "prediction", "probabilities", "set", "upper"),
    "self",
}

#: The most characters of a name.
_MAX_LENGTH = 60


def input_names(columns: Iterable[Hashable]) -> dict[Hashable, str]:
    """Return the name of the input for each column, in the order of the columns.

    A name that every format takes stays unchanged. In other names accents are dropped, and any
    character other than a letter, digit or ``_`` becomes ``_``. Names that are equal then, also in
    another case, get a number.

    Parameters
    ----------
    columns : iterable of hashable
        No two of which are equal.

    Examples
    --------
    >>> input_names(["age", "home dest", "home-dest", "É", 0, "", "class"])
    {'age': 'age', 'home dest': 'home_dest', 'home-dest': 'home_dest_2', 'É': 'E', 0: 'column_0',
     '': 'column', 'class': 'class_'}
    """
    columns = list(columns)
    names: dict[Hashable, str] = {}
    used: set[str] = set()
    # First those that can stay, so that no other takes their name.
    for column in sorted(columns, key=lambda column: not _is_safe(column)):
        name = _safe_name(column)
        wanted, number = name, 1
        while name.lower() in used:
            number += 1
            name = f"{wanted[: _MAX_LENGTH - 4]}_{number}"
        used.add(name.lower())
        names[column] = name
    return {column: names[column] for column in columns}


def _is_safe(column: Hashable) -> bool:
    return isinstance(column, str) and column == _safe_name(column)


def _safe_name(column: Hashable) -> str:
    """Return a name that every format takes; two columns may have the same."""
    text = unicodedata.normalize("NFKD", str(column)).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    if not name[:1].isalpha():
        name = f"column_{name.lstrip('_')}".rstrip("_")
    name = name[:_MAX_LENGTH]
    is_taken = keyword.iskeyword(name) or name.lower() in _RESERVED
    return f"{name}_" if is_taken or re.fullmatch(r"probabilities_\d+", name.lower()) else name


def rename_clashing(outputs: Iterable[Any], names: Iterable[str]) -> None:
    """Rename the operations whose name is also the name of an input or output.

    Keras names operations after their kind, such as ``power`` or ``dense_1``. A column may have the
    same name.

    Parameters
    ----------
    outputs : iterable of KerasTensor
        Their own layers keep their names.
    names : iterable of str
        The names of the inputs and outputs.
    """
    outputs, names = list(outputs), set(names)
    last = {id(private.history_of(tensor)[0]) for tensor in outputs}
    for number, node in enumerate(nodes_behind(outputs)):
        operation = node.operation
        own = id(operation) in last or isinstance(operation, keras.layers.InputLayer)
        if operation.name in names and not own:
            operation.name = f"{operation.name}_of_{type(operation).__name__.lower()}_{number}"
