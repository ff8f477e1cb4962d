"""Networks in half precision, which runtimes round differently, are refused with the reason."""

import keras
import numpy as np
import pytest
from keras import layers

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
    with pytest.raises(sf.ParityError, match="layer 'narrow' computes in b?float16, which each"):
        sf.export(network, tmp_path / f"net{ending}", verify=X)


def test_litert_says_so_at_once(rows, tmp_path):
    X, y = rows
    network = sf.KerasClassifier(build, dtype="mixed_float16", random_state=0).fit(X, y)
    with pytest.raises(sf.NotConvertible, match=r"'narrow' computes in float16, and LiteRT in"):
        sf.export(network, tmp_path / "net.tflite", verify=X)
