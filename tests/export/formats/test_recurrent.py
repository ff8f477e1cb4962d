"""Recurrent networks in every format: LiteRT has no loops, and gets their steps one by one."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression

import stackfuse as sf

KINDS = {
    "LSTM": lambda x: layers.LSTM(4)(x),
    "GRU, all steps": lambda x: layers.Flatten()(layers.GRU(3, return_sequences=True)(x)),
    "SimpleRNN, backwards": lambda x: layers.SimpleRNN(3, go_backwards=True)(x),
    "Bidirectional": lambda x: layers.Bidirectional(layers.LSTM(3))(x),
    "masked": lambda x: layers.LSTM(3)(layers.Masking(0.0)(x)),
    "a cell": lambda x: layers.RNN(layers.GRUCell(3))(x),
}


def build(meta, kind, n_steps=5):
    inputs = keras.Input((n_steps, 3))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(KINDS[kind](inputs)))


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5, 3)).astype("float32")
    X[:30, 3:] = 0.0
    return X, (X[:, :, 0].sum(axis=1) > 0).astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_recurrent_layers_in_litert(sequences, tmp_path, kind):
    X, y = sequences
    network = sf.KerasClassifier(build, kind=kind, epochs=2, random_state=0)
    final = LogisticRegression()
    stack = sf.StackingClassifier([("net", network)], final, cv=2, random_state=0).fit(X, y)
    report = sf.export(stack, tmp_path / "stack.tflite", verify=X)
    assert report.max_difference < 1e-5
    assert report.n_probes > 0


def test_other_formats_keep_the_loop(sequences, tmp_path):
    X, y = sequences
    network = sf.KerasClassifier(build, kind="LSTM", random_state=0).fit(X, y)
    paths = [tmp_path / f"net{ending}" for ending in (".onnx", ".xml", ".keras", "")]
    for report in sf.export(network, paths, verify=X):
        assert report.max_difference is not None
        assert report.max_difference < 1e-5


@pytest.mark.parametrize("kind", ["LSTM", "GRU, all steps", "SimpleRNN, backwards"])
def test_onnxruntime_takes_any_number_of_rows(sequences, tmp_path, kind):
    """Its LSTM ended the process for none; loops of all other layers were refused by it."""
    X, y = sequences
    network = sf.KerasClassifier(build, kind=kind, random_state=0).fit(X, y)
    sf.export(network, tmp_path / "net.onnx", verify=False)
    compute = sf.formats.named("onnx").load(str(tmp_path / "net.onnx"))
    for rows in (X[:0], X[:1], X[:40]):
        got = compute({"x": rows.astype(np.float64)})["probabilities"]
        wanted = network.predict_proba(rows) if len(rows) else np.empty((0, 2))
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_sequences_of_any_length_are_refused_in_one_sentence(sequences, tmp_path):
    X, y = sequences
    network = sf.KerasClassifier(build, kind="LSTM", n_steps=None, random_state=0).fit(X, y)
    with pytest.raises(sf.NotConvertible, match=r"any length\. Declare the length"):
        sf.export(network, tmp_path / "net.tflite", verify=X)
    again = sf.export(network, tmp_path / "net.onnx", verify=X)
    assert again.max_difference < 1e-5


def test_a_runtime_that_is_wrong_for_single_rows_is_refused(tmp_path):
    """OpenVINO 2026 has other numbers for one row or two of a recurrent convolution."""
    X = np.random.default_rng(0).normal(size=(20, 3, 4, 4, 1)).astype("float32")

    def convolve(meta):
        inputs = keras.Input((3, 4, 4, 1))
        y = layers.Flatten()(layers.ConvLSTM2D(2, 2)(inputs))
        return keras.Model(inputs, layers.Dense(3, activation="softmax")(y))

    network = sf.KerasClassifier(convolve, random_state=0).fit(X, np.arange(20) % 3)
    with pytest.raises(sf.NotConvertible, match=r"openvino computes this graph wrongly: 'prob"):
        sf.export(network, tmp_path / "net.xml", verify=X)
