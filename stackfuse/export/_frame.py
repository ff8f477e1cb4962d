"""Named columns on their way through the graph; some may hold strings."""

from collections.abc import Hashable, Iterable
from typing import Any

from stackfuse._checks import NotConvertible


class Frame:
    """Columns of X by name, as a data frame has them.

    Parameters
    ----------
    columns : dict of hashable to KerasTensor of shape (batch, 1)
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

    def numbers(self, wanted_by: str):
        """Return all columns as one tensor of numbers, shape (batch, n_columns).

        Raises
        ------
        NotConvertible
            If a column holds strings.
        """
        from keras import ops

        strings = [name for name, column in self.columns.items() if column.dtype == "string"]
        if strings:
            raise NotConvertible(
                f"{wanted_by} takes numbers, but the column {strings[0]!r} holds strings. Encode "
                "it before, for example with a OneHotEncoder in a ColumnTransformer."
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
    if isinstance(x, Frame):
        return x.take(places)
    from keras import ops

    return ops.take(x, list(places), axis=1)
