"""Arguments of builders and settings for Keras, and what is said of wrong ones."""

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import stackfuse as sf
from tests.support.networks import build_classifier


def regularised(meta, lambda_=0.0, score=3):
    import keras

    penalty = keras.regularizers.L2(lambda_)
    layers = [keras.Input((4,)), keras.layers.Dense(score, "softmax", kernel_regularizer=penalty)]
    return keras.Sequential(layers)


@pytest.mark.parametrize("name", ["lambda_", "model__lambda_"])
def test_arguments_that_end_in_an_underscore(iris, name):
    settings: dict[str, Any] = {name: 0.5}
    network = sf.KerasClassifier(regularised, random_state=0, **settings)
    assert clone(network).get_params()[name] == 0.5
    (layer,) = clone(network).fit(*iris).model_.layers
    assert layer.kernel_regularizer.l2 == 0.5
    network.set_params(**{name: 0.25})
    assert network.fit(*iris).model_.layers[0].kernel_regularizer.l2 == 0.25
    with pytest.raises(ValueError, match=r"Invalid parameter 'lamda_'.*Did you mean 'lambda_'"):
        sf.KerasClassifier(regularised, lamda_=0.5).fit(*iris)


def test_fitted_attributes_are_no_parameters(iris):
    import pandas as pd

    X, y = iris
    network = sf.KerasClassifier(regularised).fit(pd.DataFrame(X, columns=list("abcd")), y)
    fitted = {"X_shape_", "classes_", "feature_names_in_", "history_", "model_", "n_features_in_"}
    public = {name for name in dir(network) if name.endswith("_") and name[0] != "_"}
    assert {name for name in public if hasattr(network, name)} == fitted | {"outputs_"}
    assert clone(network).get_params().keys() == network.get_params().keys()


@pytest.mark.parametrize("name", ["classes_", "_hidden", "score"])
def test_arguments_named_as_attributes_are_refused(iris, name):
    settings: dict[str, Any] = {name: 3}
    message = f"{name!r} is an attribute of KerasClassifier.*pass it as model__{name}="
    with pytest.raises(ValueError, match=message):
        sf.KerasClassifier(lambda **arguments: None, **settings)
    with pytest.raises(ValueError, match=message):
        sf.KerasClassifier(lambda **arguments: None).set_params(**{name: 3})
    assert sf.KerasClassifier(regularised, model__score=3).fit(*iris).score(*iris) > 0


def test_a_class_of_models_is_a_builder(iris):
    import keras

    class Net(keras.Model):
        def __init__(self, width=2, **kwargs):
            super().__init__(**kwargs)
            self.hidden = keras.layers.Dense(width)
            self.out = keras.layers.Dense(3, activation="softmax")

        def call(self, x):
            return self.out(self.hidden(x))

    settings: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "random_state": 0}
    network = sf.KerasClassifier(Net, width=8, **settings).fit(*iris)
    assert network.model_.hidden.units == 8
    again = clone(network).set_params(width=8, model__name="net").fit(*iris)
    assert again.model_.name == "net"
    assert_array_equal(again.predict_proba(iris[0]), network.predict_proba(iris[0]))


def test_missing_arguments_of_a_builder(iris):
    def build(meta, units, epochs):
        return None

    with pytest.raises(TypeError, match=r"'build' needs the argument 'units'.*\(build, units="):
        sf.KerasClassifier(build).fit(*iris)
    with pytest.raises(TypeError, match=r"argument 'epochs'.*\(build, model__epochs=\.\.\.\)"):
        sf.KerasClassifier(build, units=3, epochs=2).fit(*iris)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("batch_sizes", "Did you mean 'batch_size', 'predict__batch_size'"),
        ("validation_freq", r"Did you mean 'fit__validation_freq'"),
        ("fit__initial_epochs", None),
        ("fit__validation_frequency", "Did you mean 'fit__validation_freq'"),
        ("learning_rat", r"Did you mean 'optimizer__learning_rate'\?"),
        ("run_eager", r"Did you mean 'run_eagerly'\?"),
        ("jit_compil", r"Did you mean 'compile__jit_compile'\?"),
    ],
)
def test_hints_are_distinct_and_can_be_typed(name, hint):
    with pytest.raises(ValueError, match=f"Invalid parameter {name!r}") as error:
        sf.KerasClassifier(build_classifier).set_params(**{name: 1})
    message = str(error.value)
    if hint is None:
        assert "initial_epoch'" not in message.removeprefix(f"Invalid parameter {name!r}")
    else:
        assert error.match(hint)
    hinted = message.partition("Did you mean")[2].split("'")[1::2]
    assert len(hinted) == len(set(hinted))
    for known in hinted:
        sf.KerasClassifier(build_classifier).set_params(**{known: 1})


def test_parameters_without_effect_are_named_as_they_were_typed(iris):
    def build(meta):
        model = build_classifier(meta)
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    settings: dict[str, Any] = {"run_eagerly": True, "compile__jit_compile": False}
    settings["metrics"] = ["accuracy"]
    message = "'metrics', 'run_eagerly' and 'compile__jit_compile' would have no effect"
    with pytest.raises(ValueError, match=message):
        sf.KerasClassifier(build, **settings).fit(*iris)


def test_settings_of_a_fit_may_change_with_warm_start(iris):
    import keras

    network = sf.KerasClassifier(build_classifier, warm_start=True, validation_split=0.2)
    network.set_params(callbacks=keras.callbacks.EarlyStopping, callbacks__monitor="loss")
    network.fit(*iris).set_params(validation_batch_size=4, callbacks__monitor="val_loss")
    assert np.shape(network.fit(*iris).history_["val_loss"]) == (2,)
    with pytest.raises(ValueError, match="'run_eagerly' changed since it was built"):
        network.set_params(run_eagerly=True).fit(*iris)


def test_an_attribute_that_a_user_sets_is_no_parameter(iris):
    network = sf.KerasClassifier(build_classifier, units=8, random_state=0)
    network.__dict__["note"] = network.remark = "x"
    assert not {"note", "remark"} & network.get_params().keys()
    twin = clone(network)
    assert not {"note", "remark"} & vars(twin).keys()
    assert_array_equal(
        twin.fit(*iris).predict_proba(iris[0]), network.fit(*iris).predict_proba(iris[0])
    )
    assert clone(twin.set_params(dropout=0.5)).get_params()["dropout"] == 0.5
    again = pickle.loads(pickle.dumps(network))
    assert again.remark == "x"
    assert clone(again).get_params() == clone(network).get_params()
    network.units = 4
    assert clone(network).fit(*iris).model_.layers[1].units == 4


def diverging(y, output):
    import keras

    return keras.ops.sum(1e30 * output * output, axis=-1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"units": -1}, ValueError),
        ({"epochs": -1}, ValueError),
        ({"callbacks": ["none"]}, ValueError),
        ({"validation_split": 2.0}, ValueError),
        ({"class_weight": "none"}, ValueError),
        ({"predict__batch_size": 0}, ValueError),
        ({"optimizer": "sgd", "epochs": 9, "loss": diverging}, FloatingPointError),
    ],
)
def test_a_fit_that_failed_is_not_fitted(change, error, iris):
    network = sf.KerasClassifier(build_classifier, units=8, random_state=0).fit(*iris)
    check_is_fitted(network)
    network.set_params(**change)
    with pytest.raises(error):
        network.fit(*iris)
    for attributes in (None, "model_", "classes_", "n_features_in_", "history_", "X_shape_"):
        with pytest.raises(NotFittedError):
            check_is_fitted(network, attributes)
    with pytest.raises(NotFittedError):
        network.predict(iris[0])
    defaults: dict[str, Any] = {"epochs": 1, "validation_split": 0.0, "optimizer": "adam"}
    network.set_params(**dict.fromkeys(change) | {"units": 8} | defaults)
    assert network.fit(*iris).predict(iris[0]).shape == (150,)


def test_a_shallow_copy_does_not_change_what_it_was_copied_from(iris):
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(*iris)
    other = copy.copy(network)
    assert other.model_ is network.model_
    other.classes_ = np.array(["a", "b", "c"])
    assert set(other.predict(iris[0])) <= {"a", "b", "c"}
    assert network.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [sf.KerasClassifier, sf.KerasRegressor])
def test_a_wrapper_has_two_ancestors_of_ours(kind):
    ours = [cls.__name__ for cls in kind.__mro__ if cls.__module__.startswith("stackfuse.")]
    assert ours == [kind.__name__, kind.__name__.replace("Keras", "Network"), "NetworkEstimator"]
    parameters = inspect.signature(kind).parameters
    assert list(parameters)[:3] == ["model", "optimizer", "loss"]
