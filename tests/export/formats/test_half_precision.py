"""Networks in half precision, which runtimes round differently, are refused with the reason."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

import stackfuse as sf


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    return X, (X[:, 0] > 0).astype(int)


def build(meta, dtype):
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu", dtype=dtype, name="narrow")(inputs)
    return keras.Model(inputs, layers.Dense(2, dtype="float32")(hidden))


@pytest.mark.parametrize(
    ("dtype", "ending"), [("mixed_float16", ".onnx"), ("mixed_bfloat16", ".keras")]
)
def test_a_difference_names_the_layer(rows, tmp_path, dtype, ending):
    X, y = rows
    network = sf.KerasClassifier(build, dtype=dtype, epochs=2, random_state=0).fit(X, y)
    with pytest.raises(sf.ParityError, match=r"layer 'narrow' computes in b?float16, which each"):
        sf.export(network, tmp_path / f"net{ending}", verify=X)


def test_litert_says_so_at_once(rows, tmp_path):
    X, y = rows
    network = sf.KerasClassifier(build, dtype="mixed_float16", random_state=0).fit(X, y)
    with pytest.raises(sf.NotConvertible, match=r"'narrow' computes in float16, and LiteRT in"):
        sf.export(network, tmp_path / "net.tflite", verify=X)


def test_a_policy_for_all_layers_leaves_other_estimators_alone(rows, tmp_path):
    X, y = rows
    model, path = LogisticRegression().fit(X, y), tmp_path / "model.tflite"
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        sf.export(model, path, verify=X)
    finally:
        keras.config.set_dtype_policy("float32")
    answers = sf.formats.named("litert").load(str(path))({"x": X.astype("float32")})
    assert_allclose(answers["probabilities"], model.predict_proba(X), atol=1e-6)
