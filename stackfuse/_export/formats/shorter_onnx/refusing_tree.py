"""A tree that finds rows with missing or too large numbers: one operator for one row of X.

It asks each number whether it is at most a limit, and then whether it is below minus the limit. The
leaf for rows that pass holds 0, the other one NaN. All rows pass the same nodes, so that each takes
about a nanosecond.
"""

from typing import Any

import numpy as np


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
        "leaf_weights": from_array(np.array([0.0, np.nan])),
        "aggregate_function": 1,  # the sum
        "post_transform": 0,  # none
    }
