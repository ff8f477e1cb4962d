"""Rows of X as a network takes them."""

from typing import Any

import keras
import numpy as np
import scipy.sparse

from stackfuse._core import (
    MultiInput,
    messages,
    multi_input,
)
from stackfuse._keras.indices import limits_of


class Rows:
    """The rows of X, in the structure and the dtypes that a network takes.

    Sparse matrices and memory maps stay as they are until a batch of them is asked for.

    Parameters
    ----------
    X : ndarray, sparse matrix or MultiInput
    model : keras.Model
    chosen : ndarray of int, default=None
        The rows that there are; by default all. They are read when they are asked for.
    """

    def __init__(self, X: Any, model: Any, chosen: np.ndarray | None = None):
        self.model = model
        self.X = X
        self.chosen = chosen
        self.structure: Any = input_structure(model)
        names = list(self.inputs)
        if isinstance(X, MultiInput):
            if names and set(names) != set(X.arrays):
                raise ValueError(
                    f"The model {model.name!r} has the inputs {names}, but X has "
                    f"{list(X.arrays)}. Give the keras.Input layers the names of the arrays."
                )
        elif len(names) > 1:
            arguments = ", ".join(f"{messages.printable(name)}=..." for name in names)
            raise ValueError(
                f"The model {model.name!r} has {len(names)} inputs, but X is one array. "
                f"Pass X = sf.MultiInput({arguments})."
            )

    @property
    def form(self) -> tuple[Any, ...] | None:
        """The form of all rows besides X; None if more matters, such as limits of a model."""
        tensor: Any = self.structure
        if self.chosen is not None or limits_of(self.model).inputs:
            return None
        if tensor is None or isinstance(tensor, dict | list | tuple):
            return None
        return tensor.dtype, len(tensor.shape)

    def part(self, places: np.ndarray) -> "Rows":
        """Return some of these rows."""
        return Rows(self.X, self.model, places if self.chosen is None else self.chosen[places])

    @property
    def is_lazy(self) -> bool:
        """Whether X is sparse or a view of a file."""
        return multi_input.is_lazy(self.X)

    @property
    def inputs(self) -> dict[str, Any]:
        """The symbolic inputs by name; none of a model that does not declare them."""
        return _by_name(self.structure)

    @staticmethod
    def inputs_of(model: Any) -> dict[str, Any]:
        """Return the symbolic inputs of a model by name."""
        return _by_name(input_structure(model))

    @property
    def bytes_per_row(self) -> int:
        """The bytes of one row in memory, as the network takes it."""
        return sum(array.nbytes for array in keras.tree.flatten(self[slice(0, 1)]))

    def __len__(self) -> int:
        return int(self.X.shape[0]) if self.chosen is None else len(self.chosen)

    def __getitem__(self, rows: Any) -> Any:
        """Return some rows: an array, or arrays in the structure of the model's input."""
        if self.chosen is not None:
            rows = self.chosen[rows]
        if isinstance(self.structure, dict):
            return {name: self._input(name, t, rows) for name, t in self.structure.items()}
        if isinstance(self.structure, list | tuple):
            return tuple(self._input(t.name, t, rows) for t in self.structure)
        if self.structure is not None:
            return self._input(self.structure.name, self.structure, rows)
        if isinstance(self.X, MultiInput):
            return {name: self._input(name, None, rows) for name in self.X.arrays}
        return self._input("X", None, rows)

    def _input(self, name: str, tensor, rows) -> np.ndarray:
        """Return some rows of one input as it is declared; of None, as Keras would pass them on."""
        shown, source = "X", self.X
        if isinstance(self.X, MultiInput):
            shown, source = f"X[{name!r}]", self.X[name]
        array = _select(source, rows)
        if tensor is None:  # whole numbers may be those of words or places, and stay exact
            whole = array.dtype.kind in "iuO"  # and so do strings
            return array if whole else _cast(array, self.model.compute_dtype, shown, self.model)
        array = _of_rank(_cast(array, tensor.dtype, shown, self.model), len(tensor.shape))
        limits = limits_of(self.model).inputs.get(tensor.name)
        if limits is not None:
            limits.check(array, shown, self.model)
        return array


def input_structure(model):
    """Return the symbolic inputs of a model in their structure, or None where it has none.

    One tensor, or a list or dict of tensors; a subclassed model has none.
    """
    if not getattr(model, "inputs", None):
        return None
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _by_name(structure) -> dict[str, Any]:
    if structure is None or isinstance(structure, dict):
        return dict(structure or {})
    tensors = structure if isinstance(structure, list | tuple) else [structure]
    return {tensor.name: tensor for tensor in tensors}


def _of_rank(array: np.ndarray, n_axes: int) -> np.ndarray:
    """Add or drop a last axis of length one, as Keras does."""
    if array.ndim == n_axes - 1:
        return array[..., np.newaxis]
    return array[..., 0] if array.ndim == n_axes + 1 else array


def _select(array, rows) -> np.ndarray:
    part = array[rows]
    return part.toarray() if scipy.sparse.issparse(part) else np.asarray(part)


def _cast(array: np.ndarray, dtype: Any, name: str, model) -> np.ndarray:
    """Return the array in another dtype; refuse if that changes a value for the worse."""
    if (dtype == "string") != (array.dtype.kind == "O"):
        one, other = ("strings", "numbers") if dtype == "string" else ("numbers", "strings")
        raise ValueError(
            f"The model {model.name!r} takes {one}, but {name} holds {other}. Pass {one}, or "
            f"declare keras.Input(dtype={'float32' if one == 'strings' else 'string'!r})."
        )
    if dtype == "string":
        return array
    wanted = np.dtype(dtype if dtype != "bfloat16" else "float32")
    if array.dtype == wanted:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    if array.dtype.kind == "f" and wanted.kind == "f":
        changed = ~np.isfinite(cast)  # the array itself is finite
    elif "b" in (array.dtype.kind, wanted.kind):
        return cast
    else:
        changed = cast.astype(array.dtype) != array
    if changed.any():
        raise ValueError(
            f"{name} has dtype {array.dtype} and holds {array[changed][0].item()!r}. The input of "
            f"model {model.name!r}, {wanted}, cannot hold that number. Rescale {name}, cast it "
            "yourself, or declare keras.Input(dtype=...)."
        )
    return cast
