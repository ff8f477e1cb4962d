"""A tree that finds rows with missing or too large numbers: one operator for one row of X.

It asks each number whether it is at most a limit, and then whether it is below minus the limit. The
leaf for rows that pass holds 0, the other one NaN. All rows pass the same nodes, so that each takes
about a nanosecond.
"""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import attribute

#: Its leaves, for rows that pass and for others.
_LEAVES = np.array([0.0, np.nan])


def attributes(width: int, limit: float, *, takes_missing: bool) -> dict[str, Any]:
    """Return the attributes of a ``TreeEnsemble`` in float64 with this one tree.

    Parameters
    ----------
    width : int
        The number of columns.
    limit : float
        The largest number that passes.
    takes_missing : bool
        Whether missing numbers pass.
    """
    from onnx.numpy_helper import from_array

    n_nodes = 2 * width
    following = np.arange(1, n_nodes + 1)
    is_last = following == n_nodes
    is_second = np.arange(n_nodes) % 2 == 1
    leaf_of_passed, leaf_of_refused = 0, 1
    with np.errstate(over="ignore"):
        below = np.nextafter(-limit, -np.inf)
    onward = np.where(is_last, leaf_of_passed, following)
    missing = {"nodes_missing_value_tracks_true": (~is_second).astype(int).tolist()}
    return {
        "nodes_featureids": np.repeat(np.arange(width), 2).tolist(),
        "nodes_splits": from_array(np.tile([limit, below], width)),
        "nodes_modes": from_array(np.zeros(n_nodes, np.uint8)),  # less or equal
        "nodes_truenodeids": np.where(is_second, leaf_of_refused, onward).tolist(),
        "nodes_trueleafs": is_second.astype(int).tolist(),
        "nodes_falsenodeids": np.where(is_second, onward, leaf_of_refused).tolist(),
        "nodes_falseleafs": (~is_second | is_last).astype(int).tolist(),
        **(missing if takes_missing else {}),
        "tree_roots": [0],
        "leaf_targetids": [0, 0],
        "leaf_weights": from_array(_LEAVES),
        "aggregate_function": 1,  # the sum
        "post_transform": 0,  # none
    }


def is_one(node: Any) -> bool:
    """Whether a node is such a tree."""
    from onnx.numpy_helper import to_array

    weights = attribute(node, "leaf_weights") if node.op_type == "TreeEnsemble" else None
    return weights is not None and np.array_equal(to_array(weights), _LEAVES, equal_nan=True)


def join(node: Any, refusing: Any) -> None:
    """Put such a tree behind the trees of another node, whose sum is NaN then for its rows.

    Parameters
    ----------
    node, refusing : onnx.NodeProto
        Two operators ``TreeEnsemble`` in float64, each with one output.
    """
    from onnx import helper
    from onnx.numpy_helper import from_array, to_array

    trees, added = (
        {a.name: helper.get_attribute_value(a) for a in n.attribute} for n in (node, refusing)
    )
    n_nodes, n_leaves = len(trees["nodes_featureids"]), len(trees["leaf_targetids"])
    for side in ("true", "false"):
        first = np.where(added[f"nodes_{side}leafs"], n_leaves, n_nodes)
        added[f"nodes_{side}nodeids"] = (added[f"nodes_{side}nodeids"] + first).tolist()
    added["tree_roots"] = [n_nodes]
    missing = "nodes_missing_value_tracks_true"
    if missing in trees or missing in added:
        for part in (trees, added):
            part.setdefault(missing, [0] * len(part["nodes_featureids"]))
    del node.attribute[:]
    for name, values in trees.items():
        if isinstance(values, list):
            values = [*values, *added[name]]
        elif not isinstance(values, int):
            values = from_array(np.concatenate([to_array(values), to_array(added[name])]))
        node.attribute.append(helper.make_attribute(name, values))
