"""Transformers of numbers in the graph, against scikit-learn, on rows that are hard for each."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from sklearn import cluster, decomposition, manifold, neighbors
from sklearn import kernel_approximation as kernels
from sklearn import preprocessing as prep
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from tests.support.parity import assert_parity

BINS = {"strategy": "uniform", "n_bins": [4, 3, 2, 7]}

GROUPS = {
    "rows": [prep.Normalizer(norm) for norm in ("l1", "l2", "max")]
    + [TfidfTransformer(), TfidfTransformer(norm=None, use_idf=False)],
    "bins": [
        prep.Binarizer(threshold=0.3),
        prep.Binarizer(),
        prep.KBinsDiscretizer(encode="ordinal", **BINS),
        prep.KBinsDiscretizer(encode="onehot", **BINS),
        prep.KBinsDiscretizer(encode="onehot-dense", dtype=np.float32, **BINS),
    ],
    "products": [
        prep.PolynomialFeatures((2, 4), include_bias=False),
        prep.PolynomialFeatures(5, interaction_only=True),
        prep.PolynomialFeatures((0, 1)),
    ],
    "powers": [
        prep.PowerTransformer(),
        prep.PowerTransformer(standardize=False),
        prep.QuantileTransformer(n_quantiles=20),
        prep.QuantileTransformer(n_quantiles=20, output_distribution="normal"),
        prep.QuantileTransformer(n_quantiles=1),
    ],
    "splines": [
        prep.SplineTransformer(5, degree, extrapolation=how, include_bias=degree != 2)
        for how in ("constant", "linear", "continue", "periodic")
        for degree in (0, 1, 2, 3)
        if (how, degree) != ("constant", 0)
    ]
    + [
        prep.SplineTransformer(4, 0, sparse_output=True),
        prep.SplineTransformer(4, knots="quantile"),
    ],
    "kernels": [
        *(decomposition.KernelPCA(2, kernel=k) for k in ("linear", "poly", "rbf", "cosine")),
        kernels.Nystroem(n_components=4, random_state=0),
        kernels.Nystroem(kernel="poly", n_components=4, random_state=0, coef0=1),
        kernels.RBFSampler(n_components=5, random_state=0),
        kernels.PolynomialCountSketch(n_components=6, random_state=0),
        kernels.PolynomialCountSketch(n_components=5, degree=3, coef0=0.7, random_state=0),
    ],
    "projections": [
        decomposition.FactorAnalysis(2),
        decomposition.SparsePCA(2, random_state=0, max_iter=5),
        decomposition.DictionaryLearning(3, transform_algorithm="threshold", max_iter=3),
        decomposition.SparseCoder(np.eye(4), transform_algorithm="threshold", split_sign=True),
        BernoulliRBM(3, n_iter=1, random_state=0),
        neighbors.NeighborhoodComponentsAnalysis(2, random_state=0, max_iter=3),
        cluster.FeatureAgglomeration(2),
        cluster.FeatureAgglomeration(2, pooling_func=np.max),
    ],
    "clusters": [
        cluster.KMeans(3, n_init=1, random_state=0),
        cluster.BisectingKMeans(5, random_state=0),
        cluster.Birch(n_clusters=3),
        make_pipeline(cluster.MiniBatchKMeans(3, n_init=1, random_state=0), prep.MaxAbsScaler()),
        make_pipeline(cluster.Birch(n_clusters=None), prep.MaxAbsScaler()),
    ],
    "manifolds": [
        manifold.Isomap(n_neighbors=6),
        manifold.LocallyLinearEmbedding(n_neighbors=5, eigen_solver="dense"),
    ],
}


@pytest.fixture(scope="module")
def numbers(iris):
    """Rows without ties, and the classes."""
    return iris[0] + np.random.default_rng(1).normal(0, 0.01, iris[0].shape), iris[1]


def jumps_of(transformer):
    """Return where a transformer of single columns may jump, an array for each column."""
    if hasattr(transformer, "bin_edges_"):
        return list(transformer.bin_edges_)
    if hasattr(transformer, "bsplines_"):
        return [spline.t for spline in transformer.bsplines_]
    if hasattr(transformer, "quantiles_"):
        return list(transformer.quantiles_.T)
    return [np.array([0.0, getattr(transformer, "threshold", 0.0)])] * 4


def hard_rows(transformers, X):
    """Return rows that were seen and not seen, far ones, and numbers on jumps and beside them."""
    made = [X, X[:40] * 1.01, X[:1] + 1e3, X[:1] - 1e3, np.zeros((1, 4))]
    for transformer in transformers:
        for column, jumps in enumerate(jumps_of(transformer)):
            beside = [np.nextafter(jumps, end) for end in (-np.inf, np.inf)]
            values = np.concatenate([jumps, *beside])
            rows = X[np.arange(len(values)) % len(X)].copy()
            rows[:, column] = values
            made.append(rows[np.abs(values) > 1e-300])  # TensorFlow has no denormal numbers
    return np.vstack(made)


@pytest.mark.parametrize("group", GROUPS)
def test_numbers(numbers, group, tmp_path):
    X, y = numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that were stopped early
        transformers = [t.fit(X[::2], y[::2]) for t in GROUPS[group]]
    rows = hard_rows(transformers, X)
    rows = np.abs(rows) if group == "rows" else rows
    exact = group in ("bins", "products")
    assert_parity(transformers, rows, tmp_path / "t.keras", 0.0 if exact else 1e-12)


def test_numbers_above_zero(numbers, tmp_path):
    X = np.exp(numbers[0])
    transformers = [
        prep.PowerTransformer("box-cox"),
        prep.PowerTransformer("box-cox", standardize=False),
        TfidfTransformer(sublinear_tf=True),
        kernels.SkewedChi2Sampler(skewedness=0.5, n_components=5, random_state=0),
        *(kernels.AdditiveChi2Sampler(sample_steps=n) for n in (1, 2, 3)),
        kernels.AdditiveChi2Sampler(sample_steps=4, sample_interval=0.3),
        kernels.Nystroem(kernel="chi2", n_components=4, random_state=0),
    ]
    transformers = [t.fit(X[::2]) for t in transformers]
    assert_parity(transformers, X, tmp_path / "t.keras", 1e-12)
    X[:, 2] = np.round(X[:, 2] - X[:, 2].min())
    assert_parity(transformers[2:6], X, tmp_path / "z.keras", 1e-12)


def test_one_column(numbers, tmp_path):
    X = numbers[0][:, :1]
    transformers = [
        decomposition.SparsePCA(2, random_state=0, max_iter=5),
        decomposition.FactorAnalysis(1),
        prep.KBinsDiscretizer(3, encode="onehot", strategy="uniform"),
        prep.SplineTransformer(4),
        prep.QuantileTransformer(n_quantiles=9),
        prep.PolynomialFeatures(3),
        cluster.BisectingKMeans(3, random_state=0),
    ]
    assert_parity([t.fit(X[::2]) for t in transformers], X, tmp_path / "o.keras", 1e-12)


def test_kernels_that_are_given(numbers, tmp_path):
    X = numbers[0]
    kernel = X[:20] @ X[:4].T
    parts = [prep.KernelCenterer(), decomposition.KernelPCA(2, kernel="precomputed")]
    assert_parity([t.fit(kernel[:4]) for t in parts], kernel, tmp_path / "k.keras", 1e-12)


@pytest.mark.parametrize(
    "transformer",
    [
        prep.Binarizer(threshold=0.3),
        prep.KBinsDiscretizer(5, encode="ordinal", strategy="uniform"),
        prep.SplineTransformer(5, 0, extrapolation="linear"),
    ],
    ids=str,
)
def test_float32_decides_alike(numbers, transformer):
    X = numbers[0]
    rows = hard_rows([transformer.fit(X)], X).astype(np.float32)
    got = sf.to_keras(transformer, precision="float32")(rows)["features"]
    assert_array_equal(got, transformer.transform(rows.astype(np.float64)))


def test_fitted_in_float32(numbers, tmp_path):
    X = numbers[0].astype(np.float32)
    transformers = [
        prep.PowerTransformer(),
        prep.QuantileTransformer(n_quantiles=20),
        prep.KBinsDiscretizer(5, encode="ordinal", strategy="uniform"),
        prep.SplineTransformer(4),
        kernels.RBFSampler(n_components=5, random_state=0),
        decomposition.FactorAnalysis(2),
    ]
    transformers = [t.fit(X[::2]) for t in transformers]
    assert_parity(transformers, X.astype(np.float64), tmp_path / "t.keras", 1e-7)


@pytest.mark.parametrize(
    ("transformer", "value"),
    [
        (prep.Binarizer(), np.nan),
        (prep.KBinsDiscretizer(3, strategy="uniform"), np.inf),
        (prep.SplineTransformer(4), np.nan),
        (prep.SplineTransformer(4, extrapolation="error"), 9.0),
        (prep.PowerTransformer("box-cox"), -1.0),
        (prep.PowerTransformer(), np.inf),
        (prep.QuantileTransformer(n_quantiles=9), -np.inf),
        (make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_depth=2)), np.inf),
        (prep.Normalizer(), np.inf),
        (kernels.SkewedChi2Sampler(n_components=3), -2.0),
        (kernels.AdditiveChi2Sampler(), -1.0),
        (kernels.Nystroem(kernel="chi2", n_components=3), -1.0),
        (make_pipeline(prep.PowerTransformer("box-cox"), prep.KBinsDiscretizer(3)), 0.0),
        (cluster.KMeans(2, n_init=1), np.nan),
        (cluster.BisectingKMeans(3), np.inf),
    ],
    ids=str,
)
def test_nan_where_scikit_learn_raises(numbers, transformer, value):
    X = np.exp(numbers[0])
    rows = X[:2].copy()
    rows[1, 2] = value
    transformer.fit(X, numbers[1])
    predicts = hasattr(transformer, "predict")
    transform = transformer.predict if predicts else transformer.transform
    with pytest.raises(ValueError, match=r"."):
        transform(rows)
    got = sf.to_keras(transformer)(rows)
    got = got["probabilities"] if "probabilities" in got else next(iter(got.values()))
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()


def test_missing_numbers_among_splines(numbers, tmp_path):
    X = numbers[0].copy()
    X[::7, 1] = np.nan
    splines = [
        prep.SplineTransformer(4, extrapolation=how, handle_missing="zeros")
        for how in ("constant", "linear", "continue")
    ]
    transformers = [*splines, prep.PowerTransformer(), prep.QuantileTransformer(n_quantiles=9)]
    transformers = [t.fit(X) for t in transformers]
    assert_parity(transformers, X, tmp_path / "m.keras", 1e-12)
    X[1, 0], X[2, 0] = np.inf, -np.inf
    assert_parity(splines[:1], X, tmp_path / "i.keras", 1e-12)


def test_constant_columns(numbers, tmp_path):
    X = numbers[0].copy()
    X[:, 2] = 1.5
    rows = np.vstack([X, X + 1, X - 1])
    how = ("constant", "linear", "continue")
    transformers = [prep.SplineTransformer(4, extrapolation=h) for h in how]
    transformers += [prep.PowerTransformer(), prep.QuantileTransformer(n_quantiles=9)]
    assert_parity([t.fit(X) for t in transformers], rows, tmp_path / "c.keras", 1e-12)
    with pytest.raises(sf.NotConvertible, match="Leave the column out"):
        sf.to_keras(prep.SplineTransformer(extrapolation="periodic").fit(X))


def test_functions():
    import keras

    from stackfuse._export.converters.shared import functions as _functions

    sizes = np.r_[np.geomspace(1e-300, 700, 500), 0.25]
    shares = np.geomspace(1e-7, 0.5, 500)
    cases = [
        (_functions.log1p, np.log1p, np.r_[sizes, -sizes[sizes < 1], 1e300, np.inf, np.nan]),
        (_functions.expm1, np.expm1, np.r_[sizes, -sizes, np.inf, -np.inf, np.nan]),
        (_functions.normal_quantile, ndtri, np.r_[shares, 1 - shares, np.exp(-2)]),
    ]
    x = keras.Input((1,), dtype="float64")
    for function, wanted, numbers in cases:
        got = keras.Model(x, function(x))(numbers[:, None])[:, 0]
        assert_allclose(got, wanted(numbers), rtol=2e-15, err_msg=function.__name__)


def test_refusals(numbers):
    X = numbers[0]
    refused = {
        "n_knots=5": prep.SplineTransformer(2, 1, extrapolation="linear"),
        "transform_algorithm='threshold'": decomposition.SparseCoder(X[:3]),
        "mean, sum, max or min": cluster.FeatureAgglomeration(2, pooling_func=np.median),
        "Set n_neighbors": manifold.Isomap(n_neighbors=None, radius=9.0),
        "until it is good enough": decomposition.NMF(2, max_iter=500, tol=0.1),
    }
    for message, transformer in refused.items():
        with pytest.raises(sf.NotConvertible, match=message):
            sf.to_keras(transformer.fit(np.abs(X)))


@pytest.mark.parametrize(
    ("ending", "runtime"), [("onnx", "onnxruntime"), ("tflite", "ai_edge_litert")]
)
def test_stacks_in_files(numbers, ending, runtime, tmp_path):
    pytest.importorskip(runtime)
    X, y = numbers
    bins = prep.KBinsDiscretizer(4, strategy="uniform")
    maps = kernels.Nystroem(n_components=5, random_state=0)
    bases = [
        ("a", make_pipeline(prep.SplineTransformer(4), LogisticRegression())),
        ("b", make_pipeline(bins, prep.PolynomialFeatures(), DecisionTreeClassifier(max_depth=3))),
        ("c", make_pipeline(prep.PowerTransformer(), maps, LogisticRegression())),
    ]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0).fit(X, y)
    report = sf.export(stack, tmp_path / f"stack.{ending}", verify=X)
    assert report.n_probes > 100
    assert report.max_difference is not None
    assert report.max_difference < 1e-5
