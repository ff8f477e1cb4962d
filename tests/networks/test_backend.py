"""Keras with another backend than TensorFlow is refused at the first network."""

import os
import subprocess
import sys

import pytest

import stackfuse as sf
from tests.support.networks import build_classifier

MESSAGE = (
    "stackfuse needs Keras with the TensorFlow backend, got {!r}: set KERAS_BACKEND=tensorflow"
)

CODE = """
import stackfuse as sf

def build(meta):
    raise AssertionError("the builder was called")

network = sf.KerasClassifier(build, epochs=2)
assert network.get_params()["epochs"] == 2
try:
    network.fit([[1.0], [2.0]], ["a", "b"])
except RuntimeError as error:
    print(error)
"""


def test_another_backend_is_refused_before_the_builder_is_called():
    pytest.importorskip("openvino")  # of the other backends the one without a framework of its own
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "KERAS_BACKEND": "openvino"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.startswith(MESSAGE.format("openvino"))
    assert process.stdout.count("\n") == 1


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "initialize"])
def test_every_way_to_a_network_is_refused(backend, method, iris, monkeypatch):
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    network = sf.KerasClassifier(build_classifier)
    with pytest.raises(RuntimeError, match=MESSAGE.format(backend)):
        getattr(network, method)(*iris)
    assert not hasattr(network, "model_")
    with pytest.raises(RuntimeError, match=MESSAGE.format(backend)):
        sf.FusionClassifier().fit(*iris)
