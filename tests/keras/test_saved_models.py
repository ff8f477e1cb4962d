"""Files that Keras 2 wrote, with settings that its layers no longer have."""

import json

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L
from numpy.testing import assert_array_equal

import stackfuse as sf
from stackfuse._keras.loading import load_uncompiled
from tests.fusion.test_join import as_keras_2

SEQUENCE, IMAGE = (5, 3), (6, 6, 3)
POOL = L.GlobalAveragePooling2D
UNUSED = {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}
UNUSED |= {"kernel_regularizer": None, "kernel_constraint": None, "groups": 1}
STEPS = {"time_major": False, "implementation": 2}

#: By the class that Keras 2 wrote more of: the input, a layer, and what it wrote.
CASES = {
    "LSTM": (SEQUENCE, lambda: [L.Bidirectional(L.LSTM(2))], STEPS),
    "GRU": (SEQUENCE, lambda: [L.GRU(2)], STEPS),
    "LSTMCell": (SEQUENCE, lambda: [L.RNN([L.LSTMCell(2)])], {}),
    "TimeDistributed": (SEQUENCE, lambda: [L.TimeDistributed(L.Dense(2)), L.Flatten()], {}),
    "DepthwiseConv2D": (IMAGE, lambda: [L.DepthwiseConv2D(3), POOL()], {"groups": 1}),
    "Conv2DTranspose": (IMAGE, lambda: [L.Conv2DTranspose(2, 3), POOL()], {"groups": 1}),
    "SeparableConv2D": (IMAGE, lambda: [L.SeparableConv2D(2, 3), POOL()], UNUSED),
    "BatchNormalization": (IMAGE, lambda: [L.BatchNormalization(), POOL()], {"axis": [3]}),
    "Embedding": ((4,), lambda: [L.Embedding(9, 2), L.Flatten()], {"input_length": 4}),
    "LeakyReLU": ((4,), lambda: [L.LeakyReLU(0.5)], {"negative_slope": None, "alpha": 0.5}),
    "Dropout": (
        (4,),
        lambda: [L.Dropout(0.5)],
        {"dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_keras_2_gives_the_model(name, tmp_path):
    shape, make, settings = CASES[name]
    model = keras.Sequential([keras.Input(shape), *make(), L.Dense(2, name="last")])
    model.compile("adam", "mse", metrics=["mse"])
    path = tmp_path / "old.h5"
    model.save(path)
    as_keras_2(path)

    def put(part):
        if part.get("class_name") == name:
            both = {**part["config"], **settings}
            part["config"] = {k: v for k, v in both.items() if k != "negative_slope" or v}
        return part

    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]), object_hook=put)
        file.attrs["model_config"] = json.dumps(config)
    before = path.read_bytes()
    rows = np.random.default_rng(0).integers(0, 5, (3, *shape)).astype("float32")
    assert_array_equal(load_uncompiled(path)(rows), model(rows))
    joined = sf.fuse([path, path], "concat")
    assert_array_equal(joined(rows), np.tile(model(rows), 2))
    assert path.read_bytes() == before


def test_a_setting_that_did_something_is_refused(tmp_path):
    model = keras.Sequential([keras.Input(SEQUENCE), L.GRU(2)])
    model.compile("adam", "mse")
    path = tmp_path / "old.h5"
    model.save(path)
    as_keras_2(path)
    with h5py.File(path, "r+") as file:
        text = str(file.attrs["model_config"])
        file.attrs["model_config"] = text.replace('"units"', '"time_major": true, "units"')
    with pytest.raises(sf.NotConvertible, match=r"old\.h5.* cannot be loaded: .*time_major"):
        sf.fuse([path, path])


def test_an_old_file_is_a_base(iris, tmp_path):
    X, y = iris
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(4), L.LeakyReLU(0.5), L.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    path = tmp_path / "old.h5"
    model.save(path)
    as_keras_2(path)
    with h5py.File(path, "r+") as file:
        text = str(file.attrs["model_config"])
        file.attrs["model_config"] = text.replace('"negative_slope"', '"alpha"')
    base = sf.KerasClassifier(path, epochs=0).fit(X, y)
    np.testing.assert_allclose(base.predict_proba(X), model(X), atol=1e-6)
