"""Trees behind a scaler: in float32 they split the numbers in front of it.

A row on a threshold may fall to its other side where float32 rounds what the scaler returns. But a
scaler's function of a column never falls. So to each threshold belongs a largest float32 in front
of the scaler. It is found in float64, in which scikit-learn scales.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.masks import pass_refusals_on
from stackfuse._export.graph.trees import Tree

#: The largest float32, as a place in the order of all.
_LAST = int(np.finfo(np.float32).max.view(np.int32))


@dataclass(frozen=True)
class _Scaled:
    """Scaled numbers: the tensor itself, the one in front of the scaler, and the scaler's function.

    `is_rounded` says whether the numbers were rounded to float32 before they are compared.
    """

    tensor: Any
    source: Any
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    is_rounded: bool = False


def note_scaled(source, scaled, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Note where the numbers of a tensor come from.

    Parameters
    ----------
    source, scaled : KerasTensor of shape (batch, n_features)
    function : callable
        Takes numbers and their columns, and returns what the scaler makes of them. It never falls.
    """
    if current_build().precision == "float32":
        current_build().built[_key(scaled)] = _Scaled(scaled, source, function)


def note_rounded(x, rounded) -> None:
    """Note that a tensor has the numbers of another one, rounded to float32."""
    noted = current_build().built.get(_key(x))
    if noted is not None and rounded is not x:
        new = replace(noted, tensor=rounded, is_rounded=True)
        current_build().built[_key(rounded)] = new


def before_scaling(x, trees: Sequence[Tree]) -> tuple[Any, Sequence[Tree]]:
    """Return the numbers in front of a scaler, and trees that split them; without one the same."""
    noted = current_build().built.get(_key(x))
    if noted is None:
        return x, trees
    inner = [np.flatnonzero((tree.left >= 0) & np.isfinite(tree.threshold)) for tree in trees]
    columns = np.concatenate([tree.feature[k] for tree, k in zip(trees, inner)]).astype(int)
    thresholds = np.concatenate([tree.threshold[k] for tree, k in zip(trees, inner)])
    moved = _largest_below(noted, columns, thresholds)
    ends = np.cumsum([len(k) for k in inner])
    pass_refusals_on(x, noted.source)
    return noted.source, [
        _with_thresholds(tree, k, part)
        for tree, k, part in zip(trees, inner, np.split(moved, ends))
    ]


def _key(tensor) -> tuple[Callable, int]:
    return note_scaled, id(tensor)


def _with_thresholds(tree: Tree, nodes: np.ndarray, thresholds: np.ndarray) -> Tree:
    changed = np.array(tree.threshold, np.float64)
    changed[nodes] = thresholds
    return replace(tree, threshold=changed)


def _largest_below(noted: _Scaled, columns: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float32 numbers that are at most the thresholds once they are scaled."""

    def is_below(places: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            y = noted.function(_numbers_at(places), columns)
            return (y.astype(np.float32) if noted.is_rounded else y) <= thresholds

    low, high = np.full(len(columns), -_LAST - 1), np.full(len(columns), _LAST + 1)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return _numbers_at(np.clip(low, -_LAST, _LAST))


def _numbers_at(places: np.ndarray) -> np.ndarray:
    """Return float32 numbers, in float64, by their places in the order of all; 0 is at place 0."""
    bits = np.where(places < 0, np.uint32(1 << 31) + np.abs(places), places).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)
