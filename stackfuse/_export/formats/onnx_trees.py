"""Trees as the operator ``TreeEnsemble`` of ONNX.

The operator gives the number of the leaf that each row reaches in each tree. The leaves' values are
looked up and added in order: a leaf of the operator contributes to one output only, and with
several threads its sums come in any order. Then the last digit differs, and with it the label where
two classes are equal. The means of one value, as of a forest's regression, are no classes. In
float64 the operator adds these up itself.

Runtimes are an order of magnitude faster at GatherElements than at Gather for single numbers. So
there is one flat table for each value of a leaf.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.trees import Tree, TreeSums

#: The version of ``ai.onnx.ml`` with the operator.
ML_OPSET = 5

#: Up to here float32 holds the numbers of leaves exactly.
_MAX_LEAVES_IN_FLOAT32 = 2**24


def write_tree_sums(ctx, node, layer: "TreeSums") -> None:
    """Put ONNX operators in the place of a layer's TensorFlow operation.

    Parameters
    ----------
    ctx : tf2onnx.graph.Graph
    node : tf2onnx.graph.Node
    layer : TreeSums
    """
    writer = _Writer(ctx, layer)
    x, name = node.input[0], node.output[0]
    by_operator = writer.adds_by_operator
    y = writer.mean_by_operator(x) if by_operator else writer.sums_of_leaves(x, *node.input[2:])
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
        return layer.average and layer.n_values == 1 and layer.sums_in == "float64"

    def mean_by_operator(self, x: str) -> str:
        layer = self.layer
        outputs = np.arange(len(layer.trees)) % layer.n_outputs
        weights = np.concatenate([tree.value[tree.left < 0, 0] for tree in layer.trees])
        sums = self._trees(self._cast(x, np.float64), weights, outputs, layer.n_outputs)
        return self._mean(sums)

    def sums_of_leaves(self, x: str, *start: str) -> str:
        layer = self.layer
        n_trees = len(layer.trees)
        values = np.vstack([tree.value[tree.left < 0] for tree in layer.trees])
        if len(values) > _MAX_LEAVES_IN_FLOAT32:
            x = self._cast(x, np.float64)
        leaves = self._trees(x, np.arange(len(values)), np.arange(n_trees), n_trees)
        by_tree = self._add("Transpose", [leaves], perm=[1, 0])
        flat = self._add("Reshape", [self._cast(by_tree, np.int32), self._constant([-1])])
        shape = self._constant([layer.n_stages, n_trees // layer.n_stages, -1])
        sums = []
        for column in values.T:
            table = self._constant(column.astype(layer.sums_in))
            reached = self._add("Reshape", [self._add("GatherElements", [table, flat]), shape])
            for first in start:
                first = self._add("Transpose", [first], perm=[1, 0])
                first = self._add("Unsqueeze", [first, self._constant([0])])
                reached = self._add("Concat", [first, reached], axis=0)
            sums.append(self._add("ReduceSum", [reached, self._constant([0])], keepdims=0))
        together = self._add("Concat", sums, axis=0) if len(sums) > 1 else sums[0]
        return self._mean(self._add("Transpose", [together], perm=[1, 0]))

    def _mean(self, sums: str) -> str:
        layer = self.layer
        if not layer.average or layer.n_stages == 1:
            return sums
        return self._add("Div", [sums, self._constant(np.array([layer.n_stages], layer.sums_in))])

    def _trees(self, x: str, weights: np.ndarray, outputs: np.ndarray, n_outputs: int) -> str:
        """Add the operator: the sums over the leaves' weights, by the outputs of the trees."""
        dtype = self._dtype(x)
        nodes = _nodes_of(self.layer.trees, dtype, weights, outputs)
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
