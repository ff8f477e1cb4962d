"""Quantile transforms in ONNX, where trees find the interval of each number."""

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer

import stackfuse as sf
from stackfuse._export.converters.shared import knot_trees, normal_pieces


def columns(rng, n=200):
    """Return columns of all scales, with repeated numbers, and one that is constant."""
    normal = rng.normal(size=(n, 7))
    return np.column_stack(
        [
            normal[:, 0],
            np.round(normal[:, 1], 1),
            np.exp(normal[:, 2]) * 1e6,
            rng.integers(0, 3, n),
            np.full(n, 3.0),
            normal[:, 3] * 1e-9,
            normal[:, 4] + 1e9,
            np.round(normal[:, 5]) * 1e20,
        ]
    )


def hard_rows(transformer, X, rng):
    """Return rows at the knots, beside them, near both ends, and far beyond."""
    knots = transformer.quantiles_
    low, high = knots[0], knots[-1]
    near = rng.uniform(-2e-7, 2e-7, (30, X.shape[1]))
    shares = np.exp(rng.uniform(-20, 0, (100, X.shape[1]))) * (high - low)
    rows = [X, knots, np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf)]
    rows += [low + near, high + near, low + shares, high - shares]
    return np.vstack([*rows, np.full((1, X.shape[1]), 1e308), np.full((1, X.shape[1]), -1e308)])


def itself(X):
    """Return a linear model that gives all columns back."""
    model = LinearRegression().fit(X, X)
    model.coef_, model.intercept_ = np.eye(X.shape[1]), np.zeros(X.shape[1])
    return model


def answers(path, rows):
    return onnxruntime.InferenceSession(path).run(None, {"x": rows})[0]


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize("n_quantiles", [1, 10, 200])
def test_quantiles_are_scikit_learns(n_quantiles, distribution, tmp_path):
    rng = np.random.default_rng(0)
    X = columns(rng)
    transformer = QuantileTransformer(n_quantiles=n_quantiles, output_distribution=distribution)
    model = make_pipeline(transformer.fit(X), itself(X))
    sf.export(model, tmp_path / "model.onnx", verify=False)
    rows = hard_rows(transformer, X, rng)
    got, wanted = answers(tmp_path / "model.onnx", rows), transformer.transform(rows)
    if distribution == "uniform":
        assert_array_equal(got, wanted)
    else:
        assert_allclose(got, wanted, rtol=0, atol=5e-15)
    refused = np.where(np.eye(8, dtype=bool), np.inf, X[:8])
    assert np.isnan(answers(tmp_path / "model.onnx", refused)).all()


def test_the_ends_of_large_numbers_are_scikit_learns(tmp_path):
    """A number less 1e-7 is the number itself, and not below the first knot."""
    X = np.repeat([-3e20, -1e20, 2e20, 5e20], 10)[:, None]
    model = make_pipeline(QuantileTransformer(n_quantiles=40, output_distribution="normal"))
    model = make_pipeline(model.fit(X), itself(X))
    sf.export(model, [tmp_path / f"model.{ending}" for ending in ("keras", "onnx")], verify=X)
    assert_allclose(answers(tmp_path / "model.onnx", X), model.predict(X), rtol=0, atol=5e-15)


def test_pieces_have_the_quantiles_of_the_normal_distribution():
    smallest = 1e-7
    knots, table = normal_pieces._pieces(smallest)
    tail = np.geomspace(smallest, 0.5, 20_001)[1:]
    shares = np.concatenate([tail, 1 - tail])
    row = table[np.searchsorted(knots, shares, "right")]
    powers = (shares - row[:, 0])[:, None] ** np.arange(row.shape[1] - 1)
    assert np.all(np.diff(knots) > 0)
    assert_allclose((powers * row[:, 1:]).sum(axis=1), ndtri(shares), rtol=0, atol=5e-15)


def test_many_knots_are_found_by_a_binary_search(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    model = make_pipeline(KBinsDiscretizer(9, encode="ordinal"), itself(X)).fit(X, X)
    model[-1].coef_, model[-1].intercept_ = np.eye(2), np.zeros(2)
    edges = np.column_stack(model[0].bin_edges_)
    rows = np.vstack([X, edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    sf.export(model, tmp_path / "trees.onnx", verify=False)
    monkeypatch.setattr(knot_trees, "_MAX_KNOTS", 15)
    sf.export(model, tmp_path / "search.onnx", verify=False)
    sizes = [(tmp_path / name).stat().st_size for name in ("trees.onnx", "search.onnx")]
    assert sizes[0] != sizes[1]
    for name in ("trees.onnx", "search.onnx"):
        assert_array_equal(answers(tmp_path / name, rows), model.predict(rows))
