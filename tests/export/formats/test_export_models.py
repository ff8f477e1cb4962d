"""Trained Keras models by themselves, joined ones too, as files of every format."""

import keras
import numpy as np
import pytest
from keras import layers as L
from numpy.testing import assert_allclose

import stackfuse as sf

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4))


def net(units: int = 3, activation: str | None = "softmax"):
    body = [L.Dense(6, "relu"), L.BatchNormalization(), L.Dense(units, activation)]
    return keras.Sequential([keras.Input((4,)), *body], name="net")


def out(model, x):
    return np.asarray(model(x), np.float64)


def test_a_joined_model_becomes_files_of_all_formats(tmp_path):
    import onnxruntime

    models = [net(), net()]
    expected = (out(models[0], X) + out(models[1], X)) / 2
    names = ["a.keras", "a", "a.onnx", "a.tflite", "a.xml"]
    model = sf.fuse(models, "average")
    for report in sf.export(model, [tmp_path / name for name in names], verify=X):
        assert report.n_rows == 12
        assert report.outputs == {"prediction": (None, 3)}
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert_allclose(session.run(["prediction"], {"x": X})[0], expected, atol=1e-6)
    outputs = keras.models.load_model(tmp_path / "a.keras", safe_mode=True)(X)
    assert_allclose(outputs["prediction"], expected, atol=1e-6)


def test_several_inputs_keep_their_names(tmp_path):
    models = [net(1, None), net(1, None)]
    joined = sf.fuse(models, "add", inputs={"left": [0], "right": [1]}, kinds="regression")
    rows = sf.MultiInput(left=X, right=-X)
    sf.export(joined, tmp_path / "a.keras", verify=rows)
    loaded = keras.models.load_model(tmp_path / "a.keras", safe_mode=True)
    outputs = loaded({"left": X, "right": -X})["prediction"]
    assert_allclose(outputs, out(models[0], X) + out(models[1], -X), atol=1e-6)


def test_without_rows_nothing_is_compared(tmp_path):
    model = net()
    with pytest.raises(ValueError, match="verify=X_sample"):
        sf.export(model, tmp_path / "a.keras")
    assert sf.export(model, tmp_path / "a.keras", verify=False).max_difference is None
    outputs = keras.models.load_model(tmp_path / "a.keras", safe_mode=True)(X)
    assert_allclose(outputs["prediction"], out(model, X), atol=1e-6)


class Own(keras.Model):
    def call(self, x):
        return x


def test_models_that_a_file_cannot_hold(tmp_path):
    two = keras.Model(x := keras.Input((4,)), [L.Dense(1)(x), L.Dense(2)(x)])
    with pytest.raises(sf.NotConvertible, match=r"has 2 outputs, .* Choose it"):
        sf.export(two, tmp_path / "a.keras", verify=X)
    with pytest.raises(sf.NotConvertible, match="only loads together with its code"):
        sf.export(Own(), tmp_path / "a.keras", verify=X)
    assert list(tmp_path.iterdir()) == []
