"""Messages about wrong values of parameters."""

import re
from typing import Any

import pytest
from numpy.testing import assert_array_equal

import stackfuse as sf
from tests.support.networks import build_classifier


@pytest.mark.parametrize("value", [0, -2, 2.5, True, "8"])
@pytest.mark.parametrize("name", ["predict__batch_size", "validation_batch_size"])
def test_sizes_of_batches(iris, name, value):
    settings: dict[str, Any] = {name: value, "validation_split": 0.2}
    message = f"{name} must be an integer of at least 1, got {value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        sf.KerasClassifier(build_classifier, **settings).fit(*iris)
    sf.KerasClassifier(build_classifier, **{**settings, name: None}).fit(*iris).predict(iris[0])


def test_a_batch_of_all_rows(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, batch_size=-1, epochs=2, random_state=0)
    wanted = sf.KerasClassifier(build_classifier, batch_size=150, epochs=2, random_state=0)
    assert_array_equal(network.fit(X, y).predict_proba(X), wanted.fit(X, y).predict_proba(X))
    head = sf.FusionClassifier(batch_size=-1, random_state=0).fit(X, y)
    assert len(head.history_["loss"]) == 1000  # one step an epoch


OPTIMIZER = "optimizer__learning_rat is not a setting of {}. Did you mean 'learning_rate'"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_state": -1}, "random_state must be an integer from 0 to 2**32 - 1"),
        ({"random_state": 2**32}, "random_state must be an integer from 0 to 2**32 - 1"),
        ({"random_state": "a"}, "or None, got 'a'"),
        ({"callbacks": [3]}, "keras.callbacks.Callback objects or classes, got 3"),
        ({"callbacks": "stop"}, "callbacks must be keras.callbacks.Callback objects"),
        ({"optimizer": "adm"}, "optimizer='adm' is not in keras.optimizers. Did you mean 'Adam'"),
        ({"optimizer": "addam", "optimizer__learning_rate": 1.0}, "Did you mean 'Adam'"),
        (
            {"loss": "sparse_categorical_crossentropi"},
            (
                "loss='sparse_categorical_crossentropi' is not in keras.losses. Did you mean "
                "'sparse_"
            ),
        ),
        ({"loss": "nonsense"}, "loss='nonsense' is not in keras.losses."),
        (
            {"metrics": ["accuracy", "sparse_categorical_acuracy"]},
            "metrics='sparse_categorical_acuracy' is not in keras.metrics. Did you mean 'sparse_",
        ),
        ({"optimizer__learning_rat": 0.1}, OPTIMIZER.format("Adam")),
        ({"optimizer": "sgd", "optimizer__learning_rat": 0.1}, OPTIMIZER.format("SGD")),
    ],
)
def test_wrong_values(iris, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sf.KerasClassifier(build_classifier, **settings).fit(*iris)


def test_wrong_settings_of_classes(iris):
    import keras

    settings: dict[str, Any] = {"optimizer": keras.optimizers.SGD, "optimizer__learning_rat": 0.1}
    with pytest.raises(ValueError, match=re.escape(OPTIMIZER.format("SGD"))):
        sf.KerasClassifier(build_classifier, **settings).fit(*iris)
    settings = {"callbacks": keras.callbacks.EarlyStopping, "callbacks__patiense": 3}
    with pytest.raises(
        ValueError, match=r"callbacks__patiense is not a setting of Early.*'patience'"
    ):
        sf.KerasClassifier(build_classifier, **settings).fit(*iris)
    settings = {"loss": keras.losses.SparseCategoricalCrossentropy, "loss__from_logit": True}
    with pytest.raises(ValueError, match=r"loss__from_logit is not a setting of .*'from_logits'"):
        sf.KerasClassifier(build_classifier, **settings).fit(*iris)


@pytest.mark.parametrize("metrics", [["acc"], ["mse", "AUC"], [["accuracy"]], None])
def test_names_that_keras_knows(iris, metrics):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, metrics=metrics, optimizer="RMSprop")
    network.set_params(loss="CategoricalCrossentropy").fit(X, y)
    assert "loss" in network.history_
