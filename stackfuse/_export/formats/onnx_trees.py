"""Trees as the operator ``TreeEnsemble`` of ONNX.

A leaf of the operator contributes to one output only, and with several threads its sums come in any
order. Then the last digit differs, and with it the label where two sums are equal. So each tree has
an output of its own, and the outputs are added up in order afterwards. If the leaves have several
values, the operator gives their numbers, and the values are looked up.

The operator itself adds up what cannot be such a tie: means, which are no classes; the one sum of
two classes, whose sign decides; and the shares of two classes in many trees, of which it adds up
the second ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.trees import Tree, TreeSums

#: The version of ``ai.onnx.ml`` with the operator.
ML_OPSET = 5

#: Up to here float32 holds the numbers of leaves exactly.
_MAX_LEAVES_IN_FLOAT32 = 2**24

#: From so many trees on the shares of two classes are added up as one sum; the classes are equal
#: where it is one half. With fewer trees, which depend on a few whole numbers, about one row in
#: 30,000 is such a tie in which only the last digits of scikit-learn's two sums differ.
_MIN_TREES_OF_ONE_SUM = 50

#: Up to so many values of a leaf are looked up one by one: for many rows GatherElements takes less
#: time than Gather, for one row each more operator counts.
_MAX_SINGLE_VALUES = 3


def write_tree_sums(ctx, node, layer: "TreeSums") -> None:
    """Put ONNX operators in the place of a layer's TensorFlow operation.

    Parameters
    ----------
    ctx : tf2onnx.graph.Graph
    node : tf2onnx.graph.Node
    layer : TreeSums
    """
    writer = _Writer(ctx, layer)
    x, name, start = node.input[0], node.output[0], node.input[2:]
    if writer.adds_by_operator:
        y = writer.sums_by_operator(x, *start)
    elif writer.has_opposite_shares and not start:
        y = writer.opposite_shares(x)
    elif layer.n_values == 1:
        y = writer.sums_of_trees(x, *start)
    else:
        y = writer.sums_of_leaves(x, *start)
    ctx.remove_node(node.name)
    ctx.replace_all_inputs(name, y)


@dataclass(frozen=True)
class _Writer:
    """Writes the operators of one layer into a graph of tf2onnx."""

    ctx: Any  # a graph of tf2onnx, which has no types
    layer: "TreeSums"

    @property
    def adds_by_operator(self) -> bool:
        """Whether the operator adds up the values of the leaves."""
        layer = self.layer
        in_any_order = layer.average or layer.n_outputs == 1
        return in_any_order and layer.n_values == 1 and layer.sums_in == "float64"

    @property
    def has_opposite_shares(self) -> bool:
        """Whether the leaves of many trees hold the shares of two classes."""
        layer = self.layer
        if layer.n_outputs != 2 or layer.n_values != 2 or not layer.average:
            return False
        if layer.sums_in != "float64" or layer.n_stages < _MIN_TREES_OF_ONE_SUM:
            return False
        totals = np.concatenate([tree.value[tree.left < 0].sum(axis=1) for tree in layer.trees])
        return bool(np.all(np.abs(totals - 1) <= 4 * np.finfo(np.float64).eps))

    def sums_by_operator(self, x: str, *start: str) -> str:
        """Let the operator add up the values of the leaves."""
        layer = self.layer
        outputs = np.arange(len(layer.trees)) % layer.n_outputs
        sums = self._trees_in_float64(x, outputs, layer.n_outputs)
        for first in start:
            sums = self._add("Add", [first, sums])
        return self._mean(sums)

    def opposite_shares(self, x: str) -> str:
        """Let the operator add up the shares of the second class; the first one has the rest."""
        n_trees = len(self.layer.trees)
        sums = self._trees_in_float64(x, np.zeros(n_trees, int), 1, column=1)
        opposite = self._add("Div", [sums, self._constant(n_trees * np.array([-1.0, 1.0]))])
        return self._add("Add", [opposite, self._constant(np.array([1.0, 0.0]))])

    def sums_of_trees(self, x: str, *start: str) -> str:
        """Add up the values that the operator returns for each tree."""
        layer = self.layer
        n_trees = len(layer.trees)
        outputs = np.arange(n_trees)
        if layer.sums_in == self._dtype(x) == np.float32:
            by_tree = self._trees(x, self._values(), outputs, n_trees)
        else:
            by_tree = self._cast(self._trees_in_float64(x, outputs, n_trees), layer.sums_in)
        if layer.n_stages == 1 and not start:
            return by_tree
        # Runtimes merge a transposition with the sum, which then has another order, unless
        # something is between them.
        stages = self._constant([layer.n_stages, layer.n_outputs, -1])
        stages = self._add("Reshape", [self._add("Transpose", [by_tree], perm=[1, 0]), stages])
        return self._mean(self._transposed(self._sum(stages, *start)))

    def sums_of_leaves(self, x: str, *start: str) -> str:
        """Look up the values of the leaves whose numbers the operator returns, and add them up."""
        layer = self.layer
        n_trees = len(layer.trees)
        values = np.vstack([tree.value[tree.left < 0] for tree in layer.trees])
        if len(values) > _MAX_LEAVES_IN_FLOAT32:
            x = self._cast(x, np.float64)
        leaves = self._trees(x, np.arange(len(values)), np.arange(n_trees), n_trees)
        by_tree = self._cast(self._add("Transpose", [leaves], perm=[1, 0]), np.int32)
        stages = [layer.n_stages, n_trees // layer.n_stages, -1]
        values = values.astype(layer.sums_in)
        if not start and stages[1] == 1 and layer.n_values > _MAX_SINGLE_VALUES:
            return self._mean(self._sum(self._add("Gather", [self._constant(values), by_tree])))
        flat = self._add("Reshape", [by_tree, self._constant([-1])])
        shape = self._constant(stages)
        sums = []
        for column in values.T:
            reached = self._add("GatherElements", [self._constant(column), flat])
            sums.append(self._sum(self._add("Reshape", [reached, shape]), *start))
        return self._mean(self._transposed(self._add("Concat", sums, axis=0)))

    def _sum(self, stages: str, *start: str) -> str:
        """Add up stages, of shape (n_stages, n_outputs, batch), to (n_outputs, batch)."""
        for first in start:
            first = self._add("Transpose", [first], perm=[1, 0])
            first = self._add("Unsqueeze", [first, self._constant([0])])
            stages = self._add("Concat", [first, stages], axis=0)
        return self._add("ReduceSum", [stages, self._constant([0])], keepdims=0)

    def _transposed(self, sums: str) -> str:
        return self._add("Transpose", [sums], perm=[1, 0])

    def _mean(self, sums: str) -> str:
        layer = self.layer
        if not layer.average or layer.n_stages == 1:
            return sums
        return self._add("Div", [sums, self._constant(np.array([layer.n_stages], layer.sums_in))])

    def _values(self, column: int = 0) -> np.ndarray:
        """Return one value of each leaf."""
        return np.concatenate([tree.value[tree.left < 0, column] for tree in self.layer.trees])

    def _trees_in_float64(
        self, x: str, outputs: np.ndarray, n_outputs: int, *, column: int = 0
    ) -> str:
        """Add the operator in float64, in front of a rounding of x to float32 if there is one.

        Other thresholds do the rounding then: those of the numbers that are rounded down to them.
        """
        rounding = self.ctx.get_node_by_output(x)
        wide, trees = x, self.layer.trees
        if rounding is not None and rounding.type == "Cast" and self._dtype(x) == np.float32:
            wide = rounding.input[0]
        if wide == x or self._dtype(wide) != np.float64:
            x = self._cast(x, np.float64)
        else:
            x = wide
            trees = tuple(replace(t, threshold=largest_rounded_to(t.threshold)) for t in trees)
        return self._trees(x, self._values(column), outputs, n_outputs, trees)

    def _trees(self, x: str, weights, outputs, n_outputs: int, trees=()) -> str:
        """Add the operator: the sums over the leaves' weights, by the outputs of the trees."""
        dtype = self._dtype(x)
        nodes = _nodes_of(trees or self.layer.trees, dtype, weights, outputs)
        return self._add("TreeEnsemble", [x], domain="ai.onnx.ml", n_targets=n_outputs, **nodes)

    def _dtype(self, x: str) -> np.dtype:
        from tf2onnx.utils import map_onnx_to_numpy_type

        return np.dtype(map_onnx_to_numpy_type(self.ctx.get_dtype(x)))

    def _cast(self, x: str, dtype) -> str:
        from onnx.helper import np_dtype_to_tensor_dtype

        if self._dtype(x) == dtype:
            return x
        to = np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._add("Cast", [x], dtypes=[to], to=to)

    def _constant(self, values) -> str:
        from tf2onnx.utils import make_name

        array = np.asarray(values)
        return self.ctx.make_const(make_name("trees"), array).output[0]

    def _add(self, kind: str, inputs: list[str], *, domain="", dtypes=None, **attributes) -> str:
        made = self.ctx.make_node(
            kind,
            inputs,
            attributes,
            dtypes=dtypes or [self.ctx.get_dtype(inputs[0])],
            domain=domain,
        )
        return made.output[0]


def largest_rounded_to(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float64 that rounding to float32 leaves at most at thresholds.

    Parameters
    ----------
    thresholds : ndarray of float64

    Returns
    -------
    largest : ndarray of float64
    """
    from stackfuse._export.graph.trees import rounded_down

    below = rounded_down(thresholds, np.dtype(np.float32))
    with np.errstate(over="ignore"):
        above = np.nextafter(below, np.float32(np.inf))
    ends = [end.astype(np.float64) for end in (below, above)]
    # Numbers round to infinity as if it were the next power of two.
    ends = [np.where(np.isinf(end), np.copysign(2.0**128, end), end) for end in ends]
    middle = ends[0] + (ends[1] - ends[0]) / 2
    # The middle goes to the even one of its neighbours.
    is_even = below.view(np.int32) % 2 == 0
    largest = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(thresholds == np.inf, np.inf, largest)


def _nodes_of(trees: tuple["Tree", ...], dtype: np.dtype, weights, outputs) -> dict:
    """Return the attributes of the operator but for the number of outputs.

    Inner nodes and leaves are counted separately, through all trees.
    """
    from onnx.numpy_helper import from_array

    from stackfuse._export.graph.trees import rounded_down

    tables = list(_tables_of(trees))
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    splits = rounded_down(columns.pop("nodes_splits"), dtype)
    modes = np.zeros(len(splits), np.uint8)  # less or equal
    if not columns["nodes_missing_value_tracks_true"].any():
        del columns["nodes_missing_value_tracks_true"]
    n_nodes = np.array([len(table["nodes_splits"]) for table in tables])
    n_leaves = [int(np.sum(tree.left < 0)) for tree in trees]
    return {
        **{name: column.astype(np.int64).tolist() for name, column in columns.items()},
        "tree_roots": (np.cumsum(n_nodes) - n_nodes).tolist(),
        "nodes_splits": from_array(splits),
        "nodes_modes": from_array(modes),
        "leaf_targetids": np.repeat(outputs, n_leaves).tolist(),
        "leaf_weights": from_array(np.asarray(weights).astype(dtype)),
        "aggregate_function": 1,  # the sum
        "post_transform": 0,  # none
    }


def _tables_of(trees: tuple["Tree", ...]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inner nodes of each tree, with the places of their children among all trees."""
    n_nodes = n_leaves = 0
    for tree in trees:
        is_leaf = tree.left < 0
        place = np.where(is_leaf, np.cumsum(is_leaf) - 1 + n_leaves, np.cumsum(~is_leaf) - 1)
        place += np.where(is_leaf, 0, n_nodes)
        inner = np.flatnonzero(~is_leaf)
        left, right, feature = tree.left[inner], tree.right[inner], tree.feature[inner]
        threshold, missing_left = tree.threshold[inner], tree.missing_left[inner]
        if not inner.size:  # a node whose sides are the same leaf
            left = right = feature = np.zeros(1, np.int64)
            threshold, missing_left = np.zeros(1), np.zeros(1, bool)
        yield {
            "nodes_featureids": feature,
            "nodes_splits": threshold,
            "nodes_missing_value_tracks_true": missing_left,
            "nodes_truenodeids": place[left],
            "nodes_trueleafs": is_leaf[left],
            "nodes_falsenodeids": place[right],
            "nodes_falseleafs": is_leaf[right],
        }
        n_nodes += len(threshold)
        n_leaves += int(np.sum(is_leaf))
