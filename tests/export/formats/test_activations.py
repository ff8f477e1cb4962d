"""Activations and functions of networks give Keras' numbers in each runtime."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose

import stackfuse as sf

ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink",
]  # fmt: skip

FORMATS = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}


@pytest.mark.parametrize("format", FORMATS)
def test_activations(tmp_path, format):
    inputs = keras.Input((4,))
    parts = [layers.Activation(name)(inputs) for name in ACTIVATIONS]
    model = keras.Model(inputs, layers.Concatenate()(parts))
    path = tmp_path / f"model{FORMATS[format]}"
    X = np.random.default_rng(0).normal(scale=3, size=(40, 4)).astype("float32")
    sf.export(model, path, verify=X[:20])
    answers = sf.formats.named(format).load(str(path))
    taken = X.astype("float64" if format == "onnx" else "float32")
    assert_allclose(answers({"x": taken})["prediction"], model(X), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_without_an_operator_in_onnx(tmp_path, dtype):
    functions = [ops.log1p, ops.expm1, lambda x: ops.logaddexp(x, 1.0)]
    inputs = keras.Input((1,), dtype=dtype)
    model = keras.Model(inputs, ops.concatenate([f(inputs) for f in functions], axis=1))
    small = np.array([-0.9, -1e-3, -1e-9, 0.0, 1e-12, 1e-5, 0.4, 1.0, 2.5, 80.0])
    X = small.astype(dtype)[:, None]
    sf.export(model, tmp_path / "model.onnx", verify=X)
    compute = sf.formats.named("onnx").load(str(tmp_path / "model.onnx"))
    wanted = np.hstack([np.log1p(X), np.expm1(X), np.logaddexp(X, 1)])
    rtol = 1e-6 if dtype == "float32" else 1e-14
    assert_allclose(compute({"x": X.astype(float)})["prediction"], wanted, rtol=rtol)


def test_bins_in_onnx(tmp_path):
    inputs = keras.Input((2,))
    bins = layers.Discretization([-1.0, 0.0, 2.0])(inputs)
    model = keras.Model(inputs, ops.cast(bins, "float32"))
    X = np.array([[-3.0, -1.0], [-0.5, 0.0], [1.9, 2.0]])
    sf.export(model, tmp_path / "model.onnx", verify=X)
    compute = sf.formats.named("onnx").load(str(tmp_path / "model.onnx"))
    assert compute({"x": X})["prediction"].tolist() == [[0, 1], [1, 2], [2, 3]]
