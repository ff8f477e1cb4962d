"""numpy's functions of columns and of targets, and transformers of targets, in every format."""

from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
)

import stackfuse as sf
from stackfuse._export.converters.shared.functions import erf
from stackfuse._export.converters.shared.numpy_functions import TWINS
from tests.support.parity import assert_parity

ENDINGS = [".keras", "", ".onnx", ".tflite", ".xml"]

#: Formats that compute in float32.
NARROW = ("litert", "openvino")

#: Where functions are defined that are not so between 0 and 1.
DOMAINS: dict[Any, tuple[float, float]] = {np.arccosh: (1.1, 4.0)}

#: Functions for targets: what they are learnt as, and what turns predictions back.
TARGETS = [
    (np.log1p, np.expm1),
    (np.expm1, np.log1p),
    (np.log, np.exp),
    (np.log2, np.exp2),
    (np.exp2, np.log2),
    (np.log10, lambda z: 10.0**z),
    (np.sqrt, np.square),
    (np.square, np.sqrt),
    (np.cbrt, lambda z: z**3),
    (np.sinh, np.arcsinh),
    (np.arcsinh, np.sinh),
    (np.tanh, np.arctanh),
    (np.arctan, np.tan),
    (np.tan, np.arctan),
    (np.reciprocal, np.reciprocal),
]
TARGETS = [(f, g) for f, g in TARGETS if g in TWINS]

#: Transformers of targets, beside scalers.
TRANSFORMERS = [
    PowerTransformer(),
    PowerTransformer(method="box-cox", standardize=False),
    QuantileTransformer(n_quantiles=40),
    QuantileTransformer(n_quantiles=40, output_distribution="normal"),
]


def columns(n_rows=200):
    rng = np.random.default_rng(0)
    domains = [DOMAINS.get(function, (0.05, 0.95)) for function in TWINS]
    return np.column_stack([rng.uniform(*domain, n_rows) for domain in domains])


def test_columns(tmp_path):
    X = columns()
    parts = [(f.__name__, FunctionTransformer(f), [k]) for k, f in enumerate(TWINS)]
    y = X @ np.linspace(-1, 1, X.shape[1])
    model = make_pipeline(ColumnTransformer(parts), Ridge()).fit(X, y)
    for report in sf.export(model, [tmp_path / f"model{ending}" for ending in ENDINGS], verify=X):
        assert report.max_difference is not None
        assert report.max_difference < (1e-4 if report.format in NARROW else 1e-6)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # numpy's, of rows far out
def test_targets(tmp_path):
    X = np.random.default_rng(0).uniform(0.0, 1.0, (200, 3))
    models = [
        (f.__name__, TransformedTargetRegressor(Ridge(0.01), func=f, inverse_func=g))
        for f, g in TARGETS
    ]
    models += [
        (str(t), TransformedTargetRegressor(Ridge(0.01), transformer=t)) for t in TRANSFORMERS
    ]
    model = VotingRegressor(models).fit(X, 0.3 + 0.1 * X.sum(axis=1))
    for report in sf.export(model, [tmp_path / f"model{ending}" for ending in ENDINGS], verify=X):
        assert report.max_difference is not None
        assert report.max_difference < 1e-5
        assert report.n_probes > 0


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_transformers_of_targets(transformer, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = np.exp(X @ [[1.0, 0.3], [-0.5, 0.1], [0.2, 0.9]])
    if transformer.get_params().get("method") == "yeo-johnson":
        y -= 1.5  # both branches
    models = [
        TransformedTargetRegressor(Ridge(), transformer=transformer).fit(X, target)
        for target in (y, y[:, 0])
    ]
    with np.errstate(invalid="ignore"):  # far out a power has no inverse
        assert_parity(models, 3.0 * X, tmp_path / "all.keras", 1e-12)


def test_knots_in_openvino(tmp_path):
    """A search among knots ends at the last one: OpenVINO compares NaN as if it were less."""
    X = np.random.default_rng(0).normal(size=(150, 2))
    steps = [KBinsDiscretizer(5), QuantileTransformer(n_quantiles=40), SplineTransformer(4)]
    model = make_pipeline(make_union(*steps), Ridge()).fit(X, np.sin(X).sum(axis=1))
    assert sf.export(model, tmp_path / "model.xml", verify=X).max_difference < 1e-5


def test_the_commonest_target_transform_in_a_stack(diabetes, tmp_path):
    X, y = diabetes
    model = TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)
    stack = sf.StackingRegressor([("log", model), ("ridge", Ridge())], cv=3).fit(X, y)
    for report in sf.export(stack, [tmp_path / f"stack{ending}" for ending in ENDINGS], verify=X):
        assert report.max_difference is not None
        assert report.max_difference < (1e-2 if report.format in NARROW else 1e-4)


def test_functions_far_out(tmp_path):
    """At zero, at the ends of their domains, where they overflow, and beyond."""
    far = [0.0, -0.0, 1.0, -1.0, 1e-9, -1e-9, 0.66, 2.5, -2.5, 30.0, -30.0, 1e9, -1e9, 700.0, 1e30]
    X = np.column_stack([columns(len(far))[:, 0], far])
    functions = [f for f in TWINS if f not in (np.sin, np.cos, np.tan)]  # of 1e30 nobody knows
    for function in functions:
        with np.errstate(all="ignore"):
            wanted = function(np.asarray(far))
            model = FunctionTransformer(function).fit(X)
            rows = X[np.isfinite(wanted)]
        with np.errstate(all="ignore"):
            assert_parity([model], rows, tmp_path / f"{function.__name__}.keras", 1e-13)


@pytest.mark.parametrize("ending", [".tflite", ".xml"])
def test_ends_of_domains_in_float32(ending, tmp_path):
    """LiteRT had NaN for arcsin(1) and expit(1e30), OpenVINO a number for arccos(2)."""
    functions = [np.arcsin, np.arccos, scipy.special.expit, np.tanh]
    parts = [(f.__name__, FunctionTransformer(f), [0]) for f in functions]
    model = ColumnTransformer(parts).fit(np.array([[0.1], [0.5]]))
    sf.export(model, tmp_path / f"model{ending}", verify=False)
    form = next(f for f in map(sf.formats.named, NARROW) if f.suffix == ending)
    x = np.array([1.0, -1.0, 0.5, 0.0, 2.0, -20.0, 1e30, -1e30], np.float32)
    (got,) = form.load(str(tmp_path / f"model{ending}"))({"x": x[:, None]}).values()
    with np.errstate(invalid="ignore"):
        wanted = np.column_stack([f(x.astype(np.float64)) for f in functions])
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_angles_that_litert_cannot_reduce(tmp_path):
    """Its sine of 3e9 is -1153; the row is refused."""
    model = FunctionTransformer(np.sin).fit([[0.1]])
    sf.export(model, tmp_path / "sine.tflite", verify=False)
    x = np.array([[3.0], [-1e5], [3e9], [1e30]], np.float32)
    (got,) = sf.formats.named("litert").load(str(tmp_path / "sine.tflite"))({"x": x}).values()
    np.testing.assert_allclose(got[:2, 0], np.sin([3.0, -1e5]), atol=1e-6)
    assert np.isnan(got[2:]).all()


def test_what_has_no_twin_is_refused(diabetes):
    X, y = diabetes
    with pytest.raises(
        sf.NotConvertible, match=r"'sinc' of FunctionTransformer cannot be converted.* log1p"
    ):
        sf.to_keras(FunctionTransformer(np.sinc).fit(X))
    power = FunctionTransformer(np.square, kw_args={"where": True}).fit(X)
    with pytest.raises(sf.NotConvertible, match="without further arguments"):
        sf.to_keras(power)
    model = TransformedTargetRegressor(Ridge(), func=np.sqrt, inverse_func=lambda z: z**2)
    with pytest.raises(sf.NotConvertible, match="TransformedTargetRegressor"):
        sf.to_keras(model.fit(X, y))


def test_the_error_function_is_scipys(iris, tmp_path):
    """onnxruntime has none in float64, and a Gaussian process that classifies needs it."""
    x = keras.Input((1,), dtype="float64")
    graph = keras.Model(x, erf(x))
    rows = np.array([0.0, 1e-12, 0.5, 1.0, np.nextafter(1, 2), 2.5, 5.9, 8.1, 1e9])
    rows = np.concatenate([rows, -rows, np.linspace(-6, 6, 1001)])[:, None]
    np.testing.assert_allclose(graph(rows), scipy.special.erf(rows), rtol=1e-15, atol=0)
    X, y = iris
    classifier = GaussianProcessClassifier(optimizer=None).fit(X[::3], y[::3])
    report = sf.export(classifier, tmp_path / "process.onnx", verify=X)
    assert report.max_difference < 1e-10
