"""Ways to read trees: the same leaves as a walk through each tree gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from catboost import CatBoostRegressor
from sklearn.base import is_regressor
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier

import stackfuse as sf
from stackfuse._export.converters.shared import descent, exit_leaves, leaf_keys
from stackfuse._export.converters.shared.split_table import _intervals_of_bits
from stackfuse._export.graph.build import Build, building
from stackfuse._export.graph.graph import build_graph
from stackfuse._export.graph.trees import Tree


def grown(random, n_leaves, n_features, chain, most_levels=99):
    """Return a tree of random splits, some at the same threshold, at infinity and at zero."""
    left, right = [-1], [-1]
    leaves, level = [0], {0: 0}
    while len(leaves) < n_leaves:
        node = leaves.pop(-1 if chain else random.integers(len(leaves)))
        if level[node] == most_levels:
            leaves.insert(0, node)
            continue
        left[node], right[node] = len(left), len(left) + 1
        level |= {left[node]: level[node] + 1, right[node]: level[node] + 1}
        leaves += [len(left), len(left) + 1]
        left += [-1, -1]
        right += [-1, -1]
    n_nodes = len(left)
    common = [-np.inf, np.inf, 0.0, -1e-310, 1 / 3, np.finfo(np.float32).max, 1e300]
    threshold = np.where(
        random.random(n_nodes) < 0.3, random.choice(common, n_nodes), random.normal(size=n_nodes)
    )
    return Tree(
        random.integers(0, n_features, n_nodes),
        threshold,
        np.array(left),
        np.array(right),
        random.random(n_nodes) < 0.5,
        random.normal(size=(n_nodes, 2)),
    )


def with_one_split_a_level(random, depth, n_features):
    """Return a complete tree in which all nodes of a level ask the same."""
    tree = grown(random, 2**depth, n_features, chain=False, most_levels=depth)
    for nodes in tree.first_levels(depth):
        for array in (tree.feature, tree.threshold, tree.missing_left):
            array[nodes] = array[nodes[0]]
    return tree


def rows(random, trees, n_features, dtype):
    """Return rows of ordinary numbers, of thresholds and their neighbours, infinite and missing."""
    X = random.normal(size=(400, n_features)).astype(dtype)
    at = np.concatenate([tree.threshold for tree in trees])
    with np.errstate(over="ignore"):
        at = at.astype(dtype)
        near = [at, np.nextafter(at, dtype(np.inf)), np.nextafter(at, dtype(-np.inf))]
    edges = np.concatenate(
        [*near, np.array([np.nan, -np.nan] * 20 + [np.inf, -np.inf, 0, -0.0], dtype)]
    )
    edges = edges[np.isnan(edges) | (np.abs(edges) >= np.finfo(dtype).tiny) | (edges == 0)]
    chosen = random.random(X.shape) < 0.5
    X[chosen] = random.choice(edges, np.sum(chosen))
    return X


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("way", "n_leaves", "n_trees"),
    [
        *(
            (exit_leaves, *size)
            for size in [(2, 3), (31, 5), (32, 140), (33, 5), (64, 70), (64, 1)]
        ),
        *((descent, *size) for size in [(1, 1), (2, 3), (31, 5), (32, 140), (90, 3)]),
    ],
)
def test_the_leaves_are_those_of_a_walk(way, n_leaves, n_trees, dtype):
    random = np.random.default_rng(n_leaves)
    sizes = random.integers(1, n_leaves + 1, n_trees)
    sizes[0] = n_leaves
    trees = [grown(random, size, 9, chain=k % 3 == 0) for k, size in enumerate(sizes)]
    if way is descent:  # it takes infinite numbers for the largest: no estimator splits there
        for tree in trees:
            split = tree.threshold
            far = np.isfinite(split) & (np.abs(split) >= np.finfo(np.float32).max)
            split[far | (split == -np.inf)] = 0.5
    check_leaves(way, trees, random, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("depth", "n_trees"), [(1, 3), (2, 1), (3, 600), (4, 5), (4, 64), (5, 1), (5, 130)]
)
def test_the_leaves_of_shallow_trees(depth, n_trees, dtype):
    random = np.random.default_rng(depth)
    sizes = random.integers(1, 2**depth + 1, n_trees)
    sizes[0] = 2**depth
    trees = [grown(random, n, 9, chain=False, most_levels=depth) for n in sizes]
    assert leaf_keys.cost(trees) < np.inf
    check_leaves(leaf_keys, trees, random, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_leaves_of_trees_with_one_split_a_level(dtype):
    random = np.random.default_rng(0)
    trees = [with_one_split_a_level(random, depth, 9) for depth in (8, 1, 6, 0, 8)]
    assert leaf_keys.cost(trees) < np.inf
    check_leaves(leaf_keys, trees, random, dtype)


def check_leaves(way, trees, random, dtype):
    x = keras.Input((11,), dtype=dtype)
    X = rows(random, trees, 11, np.dtype(dtype).type)
    wide = X.astype("float64")
    expected = np.stack([tree.value[tree.leaves_of(wide)] for tree in trees], axis=1)
    for traced in {way is leaf_keys, True}:
        with building(Build("float64", traced=traced)):
            model = keras.Model(x, way.leaf_values(x, trees, "float64"))
        np.testing.assert_array_equal(model(X), expected)
        assert model(X[:0]).shape == (0, len(trees), 2)


def test_deep_trees_of_few_leaves_use_masks(tmp_path):
    X, y = make_regression(3000, 12, random_state=0)
    y /= np.std(y)
    X[::7, 3] = np.nan
    boosting = HistGradientBoostingRegressor(max_iter=30, random_state=0).fit(X, y)
    assert has_masks(boosting)
    whole, small = sf.export(boosting, [tmp_path / "m.keras", tmp_path / "m.tflite"], verify=X)
    assert 0 <= (whole.max_difference or 0) < 1e-13
    assert 0 < (small.max_difference or 0) < 1e-5  # LiteRT has float32, and no bitwise operations
    shallow = HistGradientBoostingRegressor(max_depth=3, max_iter=20, random_state=0).fit(X, y)
    assert not has_masks(shallow)


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=12, max_depth=5, random_state=0),
        GradientBoostingRegressor(n_estimators=40, random_state=0),
        ExtraTreesClassifier(40, max_depth=4, random_state=0),
        XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1),
        CatBoostRegressor(n_estimators=40, verbose=0, allow_writing_files=False, thread_count=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_shallow_trees_use_keys_in_a_saved_model(model, tmp_path):
    X, y = make_classification(600, 8, n_informative=6, n_classes=3, random_state=0)
    if isinstance(model, XGBClassifier | CatBoostRegressor):
        X[::7, 3] = np.nan
    if is_regressor(model):
        y = y + np.nan_to_num(X[:, 0])
    pipeline = make_pipeline(FunctionTransformer(), model).fit(X[:300], y[:300])
    graph = build_graph(pipeline, X, Build(traced=True))
    assert "BitsOfRows" in {type(layer).__name__ for layer in graph.model.layers}
    sf.export(pipeline, tmp_path / "m", verify=X)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    found = loaded.signatures["serving_default"](x=tf.constant(X))
    if is_regressor(model):
        expected = pipeline.predict(X)
        np.testing.assert_allclose(found["prediction"], expected, rtol=1e-14, atol=1e-14)
    else:
        tolerance = 1e-6 if isinstance(model, XGBClassifier) else 1e-14
        np.testing.assert_array_equal(found["label"], pipeline.predict(X))
        expected = pipeline.predict_proba(X)
        np.testing.assert_allclose(found["probabilities"], expected, atol=tolerance)


@pytest.mark.parametrize(
    "model",
    [
        *(GradientBoostingRegressor(n_estimators=20, max_depth=depth) for depth in (3, 4, 5)),
        GradientBoostingRegressor(init=DecisionTreeRegressor(max_depth=1), n_estimators=9),
        HistGradientBoostingRegressor(max_iter=20),
    ],
    ids=["depth 3", "depth 4", "depth 5", "first terms", "histogram"],
)
@pytest.mark.parametrize("n_features", [5, 8])
def test_sums_equal_those_of_scikit_learn_to_the_last_bit(model, n_features):
    X, y = make_regression(300, n_features, noise=1, random_state=0)
    model.set_params(random_state=0).fit(X, y)
    expected = model.predict(X)
    for traced in (False, True):
        graph = build_graph(model, X, Build(traced=traced)).model
        np.testing.assert_array_equal(graph(X)["prediction"], expected)
        np.testing.assert_array_equal(graph(X[:1])["prediction"], expected[:1])


@pytest.mark.parametrize("never_missing", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_interval_of_bits_is_on_one_side_of_each_threshold(dtype, never_missing):
    most = np.finfo(dtype).max
    thresholds = np.array([-np.inf, -most, -1 / 3, -0.0, 2.5, most, np.inf], dtype)
    numbers = np.concatenate([thresholds, -thresholds, np.array([7, -7, np.nan, -np.nan], dtype)])
    with np.errstate(over="ignore", under="ignore"):
        near = [np.nextafter(numbers, np.array(end, dtype)) for end in (-np.inf, np.inf)]
    numbers = np.concatenate([numbers, *near])
    if never_missing:
        numbers = numbers[~np.isnan(numbers)]
    borders, samples = _intervals_of_bits(thresholds, never_missing)
    found = samples[np.searchsorted(borders, numbers.view(borders.dtype))]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(numbers))
    for threshold in thresholds:
        np.testing.assert_array_equal(found > threshold, numbers > threshold)


def has_masks(model):
    return "BitwiseAnd" in {type(operation).__name__ for operation in sf.to_keras(model).operations}


def test_what_costs_less():
    random = np.random.default_rng(0)
    deep = [grown(random, 31, 5, chain=True)]
    assert exit_leaves.cost(deep) < descent.cost(deep)
    assert exit_leaves.cost([grown(random, 65, 5, chain=False)]) == np.inf
    shallow = [grown(random, 32, 5, chain=False, most_levels=5) for _ in range(50)]
    assert leaf_keys.cost(shallow) < descent.cost(shallow) < np.inf
    assert leaf_keys.cost(deep) == leaf_keys.cost([Tree.of_one_leaf(1.0)]) == np.inf
