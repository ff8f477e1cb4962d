"""Named columns on their way through the graph; some may hold strings."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from keras import ops

from stackfuse._core import NotConvertible, strings

MISSING = strings.MISSING


@dataclass(frozen=True)
class StringColumn:
    """A column of strings, some of which stand for other words.

    Not all formats can rewrite strings. Instead, a lookup of words takes their substitutes into
    account.

    Attributes
    ----------
    tensor : KerasTensor of shape (batch, 1)
    read_as : mapping of str to str
    """

    dtype: ClassVar[str] = "string"

    tensor: Any
    read_as: Mapping[str, str]

    @classmethod
    def of(cls, column) -> "StringColumn":
        """Wrap a column of strings that stand for themselves; a StringColumn stays unchanged."""
        return column if isinstance(column, cls) else cls(column, {})

    def spellings(self, word: str) -> list[str]:
        """Return all strings that stand for a word."""
        own = [] if word in self.read_as else [word]
        return own + [string for string, meaning in self.read_as.items() if meaning == word]

    def with_replacement(self, word: str, by: str) -> "StringColumn":
        """Return the column with one word replaced by another."""
        return StringColumn(
            self.tensor, {**self.read_as, **dict.fromkeys(self.spellings(word), by)}
        )

    def rewritten(self):
        """Return the strings as they are to be read, for layers that do not look them up."""
        tensor = self.tensor
        for string, meaning in self.read_as.items():
            tensor = ops.where(ops.equal(self.tensor, string), meaning, tensor)
        return tensor


class Frame:
    """Columns of X by name, as a data frame has them.

    Parameters
    ----------
    columns : dict of hashable to KerasTensor of shape (batch, 1), or StringColumn
        Numbers in the graph's precision, or strings.
    """

    def __init__(self, columns: dict[Hashable, Any]):
        self.columns = columns

    @property
    def shape(self) -> tuple[None, int]:
        """Number of rows, which is not known, and of columns."""
        return None, len(self.columns)

    @property
    def names(self) -> list[Hashable]:
        """Names of the columns."""
        return list(self.columns)

    def take(self, places: Iterable[int]) -> "Frame":
        """Return the columns at some places."""
        names = self.names
        return Frame({names[k]: self.columns[names[k]] for k in places})

    def strings(self, wanted_by: str):
        """Return all columns as one tensor of strings, shape (batch, n_columns).

        Raises
        ------
        NotConvertible
            If a column holds numbers.
        """
        tensors = []
        for name, column in self.columns.items():
            if column.dtype != "string":
                raise NotConvertible(
                    f"{wanted_by} takes strings, but the column {name!r} holds numbers. Give it "
                    "only the columns of strings, for example with a ColumnTransformer."
                )
            tensors.append(StringColumn.of(column).rewritten())
        return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=1)

    def numbers(self, wanted_by: str):
        """Return all columns as one tensor of numbers, shape (batch, n_columns).

        Raises
        ------
        NotConvertible
            If a column holds strings.
        """
        strings = [name for name, column in self.columns.items() if column.dtype == "string"]
        if strings:
            raise NotConvertible(
                f"{wanted_by} takes numbers, but the column {strings[0]!r} holds strings. Encode "
                "it first, for example with a OneHotEncoder in a ColumnTransformer."
            )
        columns = list(self.columns.values())
        return columns[0] if len(columns) == 1 else ops.concatenate(columns, axis=1)


def columns_of(x) -> list[Any]:
    """Return the columns of a frame or of a tensor, each of shape (batch, 1)."""
    if isinstance(x, Frame):
        return list(x.columns.values())
    return [x[:, k : k + 1] for k in range(x.shape[1])]


def take_columns(x, places: Iterable[int]):
    """Return some columns of a frame or of a tensor, in the order of their places."""
    places = list(places)
    if places == list(range(x.shape[1])):
        return x
    if isinstance(x, Frame):
        return x.take(places)

    return ops.take(x, places, axis=1)
