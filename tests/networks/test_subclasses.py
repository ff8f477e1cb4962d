"""Subclasses of the wrappers with constructors and builders of their own, as scikeras has them."""

import copy
import pickle
from typing import Any

import keras
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

import stackfuse as sf
from tests.support.cases import build_classifier, build_sigmoid


class Perceptron(sf.KerasClassifier):
    """The subclass of scikeras' documentation: it builds and compiles by itself."""

    def __init__(self, hidden_layer_sizes=(100,), optimizer="adam", epochs=2, **kwargs):
        super().__init__(**kwargs)
        self.hidden_layer_sizes = hidden_layer_sizes
        self.optimizer = optimizer
        self.epochs = epochs

    def _keras_build_fn(self, compile_kwargs: dict[str, Any]):
        model = keras.Sequential([keras.Input((self.n_features_in_,))])
        for size in self.hidden_layer_sizes:
            model.add(keras.layers.Dense(size, activation="relu"))
        if self.target_type_ != "multiclass":
            raise NotImplementedError(self.target_type_)
        model.add(keras.layers.Dense(self.n_classes_, activation="softmax"))
        model.compile(loss="sparse_categorical_crossentropy", optimizer=compile_kwargs["optimizer"])
        return model


class FewNames(sf.KerasClassifier):
    def __init__(self, units=3, epochs=2, random_state=None):
        super().__init__(model=self.build, epochs=epochs, random_state=random_state)
        self.units = units

    def build(self, meta):
        return build_classifier(meta, self.units)


class Preset(sf.KerasClassifier):
    def __init__(self, units=5, **kwargs):
        super().__init__(build_classifier, units=units, **kwargs)


class Method(sf.KerasClassifier):
    def __init__(self, units=5, **kwargs):
        super().__init__(self.build, **kwargs)
        self.units = units

    def build(self, meta, units):
        return build_classifier(meta, units)


class Regressor(sf.KerasRegressor):
    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def _keras_build_fn(self, meta):
        hidden = keras.layers.Dense(self.units, activation="relu")
        last = keras.layers.Dense(meta["n_outputs_"])
        return keras.Sequential([keras.Input((meta["n_features_in_"],)), hidden, last])


def width(network):
    return next(layer.units for layer in network.model_.layers if hasattr(layer, "units"))


@pytest.mark.parametrize("kind", [FewNames, Preset, Method, Regressor])
def test_a_subclass_is_an_estimator_like_others(kind, iris):
    X, y = iris
    network = kind(units=7, epochs=1, random_state=0).fit(X, y)
    assert width(network) == 7
    for twin in (clone(network), pickle.loads(pickle.dumps(clone(network)))):
        assert type(twin) is kind
        assert twin.get_params().keys() == network.get_params().keys()
        assert (twin.units, twin.epochs, twin.random_state) == (7, 1, 0)
    expected = network.predict(X)
    assert_array_equal(clone(network).fit(X, y).predict(X), expected)
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert_array_equal(twin.predict(X), expected)
    assert width(clone(network).set_params(units=2).fit(X, y)) == 2
    shallow = copy.copy(network)
    shallow.units = 9
    assert width(shallow.fit(X, y)) == 9
    assert (network.units, width(network)) == (7, 7)


def test_it_equals_the_wrapper_with_the_same_builder(iris):
    X, y = iris
    wanted = sf.KerasClassifier(build_classifier, units=5, epochs=2, random_state=0).fit(X, y)
    for kind in (FewNames, Preset, Method):
        network = kind(units=5, epochs=2, random_state=0).fit(X, y)
        assert_array_equal(network.predict_proba(X), wanted.predict_proba(X))


def test_the_subclass_of_the_documentation_of_scikeras(iris):
    X, y = iris
    network = Perceptron((6,), optimizer__learning_rate=0.05, random_state=0)
    assert network.fit(X, y).model_.optimizer.learning_rate.numpy() == pytest.approx(0.05)
    assert_allclose(network.predict_proba(X), network.model_.predict(X, verbose=0), atol=1e-6)
    search = GridSearchCV(
        network,
        {"hidden_layer_sizes": [(4,), (5,)], "optimizer": ["sgd"], "batch_size": [50]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_["batch_size"] == 50
    assert search.best_estimator_.optimizer__learning_rate == 0.05
    with pytest.raises(NotImplementedError, match="binary"):
        network.fit(X, y > 0)
    assert "Perceptron(hidden_layer_sizes=(6,)" in repr(network)
    assert "warm_start" not in repr(network)


def test_subclasses_in_a_stack(iris):
    X, y = iris
    bases = [("few", FewNames(random_state=0)), ("method", Method(random_state=0))]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(stack)).predict(X), stack.predict(X))
    folds = [(train, test) for train, test in stack.oof_.folds]
    loop = cross_val_predict(Method(random_state=0), X, y, cv=folds, method="predict_proba")
    assert_allclose(stack.oof_.predictions[:, 3:], loop, atol=5e-5)


def test_an_argument_that_is_not_kept_is_named():
    class Forgetful(sf.KerasClassifier):
        def __init__(self, units=5, **kwargs):
            super().__init__(build_classifier, **kwargs)

    with pytest.raises(AttributeError, match=r"takes 'units' but does not keep it.*self\.units ="):
        Forgetful().get_params()


@pytest.mark.parametrize("name", ["feature_encoder", "target_encoder", "_fit_keras_model"])
def test_hooks_that_would_never_be_called_are_refused(name):
    with pytest.raises(TypeError, match=f"Mine defines {name}, which scikeras calls but stackfuse"):
        type("Mine", (sf.KerasClassifier,), {name: property(lambda self: None)})


def test_a_network_without_a_builder(iris):
    with pytest.raises(TypeError, match=r"KerasClassifier has no model: pass a function"):
        sf.KerasClassifier().fit(*iris)
    with pytest.raises(TypeError, match=r"build_fn is called model in stackfuse"):
        sf.KerasClassifier(build_fn=build_sigmoid)
