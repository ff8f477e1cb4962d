"""Losses, metrics, layers and models of the user's own, none of which Keras can find by name."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict

import stackfuse as sf


class Weighted(keras.losses.Loss):
    """A loss whose configuration does not name its weight."""

    def __init__(self, weight, **settings):
        super().__init__(**settings)
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def absolute(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


class Largest(keras.metrics.Metric):
    """A metric with a state, a metric inside, and a setting that its configuration lacks."""

    def __init__(self, times=1.0, **settings):
        super().__init__(**settings)
        self.times = times
        self.value = self.add_weight(name="value", initializer="zeros")
        self.inside = keras.metrics.MeanAbsoluteError()

    def update_state(self, y_true, y_pred, sample_weight=None):
        largest = self.times * keras.ops.max(keras.ops.abs(y_true - y_pred))
        self.value.assign(keras.ops.maximum(self.value, largest))
        self.inside.update_state(y_true, y_pred)

    def result(self):
        return self.value

    def reset_state(self):
        self.value.assign(0.0)
        self.inside.reset_state()


class Scaled(keras.layers.Layer):
    """A layer without ``get_config``."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def build(self, shape):
        self.shift = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.factor + self.shift


class Own(keras.Model):
    """A functional model of its own class."""


class Subclassed(keras.Model):
    def __init__(self, units=2, **settings):
        super().__init__(**settings)
        self.hidden = keras.layers.Dense(units, activation=bent)
        self.last = keras.layers.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))


class Descent(keras.optimizers.SGD):
    pass


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / (1.0 + keras.ops.cast(step, "float32"))

    def get_config(self):
        return {"rate": self.rate}


@keras.saving.register_keras_serializable("tests")
class Registered(Scaled):
    pass


def bent(x):
    return keras.ops.maximum(x, 0.1 * x)


def plain(meta):
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), keras.layers.Dense(1)])


def with_layers(meta):
    layers = [keras.layers.Dense(3, activation=bent), Scaled(2.0), Registered(0.5)]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])


def functional(meta):
    inputs = keras.Input((3,))
    return Own(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(Scaled(3.0)(inputs)))


def compiled(meta):
    model = with_layers(meta)
    model.compile(Descent(0.01), [absolute], metrics=[Largest(2.0, name="largest")])
    return model


NETWORKS: dict[str, dict[str, Any]] = {
    "loss": {"model": plain, "loss": Weighted(3.0)},
    "class of a loss": {"model": plain, "loss": Weighted, "loss__weight": 3.0},
    "function as loss": {"model": plain, "loss": absolute},
    "metric": {"model": plain, "metrics": [Largest(2.0, name="largest"), "mae"]},
    "class of a metric": {"model": plain, "metrics": [Largest], "metrics__0__times": 2.0},
    "optimizer": {"model": plain, "optimizer": Descent(0.02)},
    "schedule": {"model": plain, "optimizer": keras.optimizers.SGD(Halving(0.1))},
    "layers": {"model": with_layers},
    "model": {"model": functional, "loss": Weighted(3.0)},
    "subclassed model": {"model": Subclassed, "units": 5, "loss": "mse"},
    "compiled": {"model": compiled},
}


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, X @ [1.0, -2.0, 0.5]


def network(name, **settings):
    return sf.KerasRegressor(**NETWORKS[name], random_state=0, **settings)


def by_keras(name, X, y):
    """Return the losses that plain Keras trains to, on the same rows in the same order."""
    own = NETWORKS[name]
    keras.utils.set_random_seed(0)
    arguments = {"units": 5} if "units" in own else {"meta": {"n_features_in_": 3}}
    model = own["model"](**arguments)
    if not model.compiled:
        optimizers = {"optimizer": Descent(0.02), "schedule": keras.optimizers.SGD(Halving(0.1))}
        loss = Weighted(3.0) if own.get("loss") is Weighted else own.get("loss", "mse")
        metrics = [Largest(2.0, name="largest")] if "metrics" in own else None
        model.compile(optimizers.get(name, "adam"), loss, metrics=metrics)
    order = np.random.default_rng([0, 0]).permutation(len(X))
    return model.fit(X[order], y[order, None], shuffle=False, verbose=0).history


@pytest.mark.parametrize("name", NETWORKS)
def test_it_fits_as_in_keras_and_every_copy_is_the_same(name, numbers):
    X, y = numbers
    one = network(name).fit(X, y)
    wanted = by_keras(name, X, y)
    assert_allclose(one.history_["loss"], wanted["loss"], rtol=1e-5)
    if "largest" in wanted:
        assert_allclose(one.history_["largest"], wanted["largest"], rtol=1e-5)
    expected = one.predict(X)
    loaded, other = pickle.loads(pickle.dumps(one)), copy.deepcopy(one)
    unfitted = pickle.loads(cloudpickle.dumps(clone(clone(one))))
    for twin in (loaded, other, copy.copy(one), unfitted.fit(X, y)):
        assert_array_equal(twin.predict(X), expected)
    history = one.partial_fit(X, y).history_
    assert loaded.partial_fit(X, y).history_ == history
    assert other.partial_fit(X, y).history_ == history


def test_a_prebuilt_model_is_trained_on_in_copies(numbers):
    X, y = numbers
    model = network("compiled").fit(X, y).model_
    before = model.get_weights()
    wrapped = sf.KerasRegressor(model, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(clone(wrapped))).fit(X, y)
    assert_array_equal(again.predict(X), wrapped.predict(X))
    for one, other in zip(before, model.get_weights()):
        assert_array_equal(one, other)
    assert not np.allclose(model.predict(X, verbose=0)[:, 0], wrapped.predict(X))


@pytest.mark.parametrize("engine", ["sequential", "auto"])
@pytest.mark.parametrize("name", ["loss", "metric", "subclassed model"])
def test_stacks_of_them(name, engine, numbers):
    X, y = numbers
    stack = sf.StackingRegressor(
        [("net", network(name))], cv=KFold(2), engine=engine, random_state=0
    ).fit(X, y)
    loop = cross_val_predict(clone(network(name)), X, y, cv=KFold(2))
    assert_allclose(stack.oof_.predictions[:, 0], loop, atol=5e-5)
    again = pickle.loads(pickle.dumps(stack))
    assert_array_equal(again.predict(X), stack.predict(X))


def test_a_search_in_two_processes(numbers):
    search = GridSearchCV(
        network("compiled"), {"epochs": [1, 2]}, cv=2, n_jobs=2, error_score="raise"
    ).fit(*numbers)
    here = GridSearchCV(network("compiled"), {"epochs": [1, 2]}, cv=2).fit(*numbers)
    assert_allclose(
        search.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"], rtol=1e-5
    )


def test_a_loss_of_ones_own_is_exported_and_a_layer_is_refused(numbers, tmp_path):
    X, y = numbers
    bases = [("net", network("loss"))]
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(X, y)
    sf.export(stack, tmp_path / "stack.keras")
    model = keras.models.load_model(tmp_path / "stack.keras")
    exported = model(np.float32(X))["prediction"]
    assert_allclose(np.ravel(exported), stack.predict(X), rtol=1e-4, atol=1e-5)
    stack.set_params(net=network("layers")).fit(X, y)
    with pytest.raises(sf.NotConvertible, match=r"holds .*which only loads together with its code"):
        sf.export(stack, tmp_path / "other.keras")


def local_network():
    class Local(keras.layers.Layer):
        def call(self, x):
            return 2.0 * x

    class LocalLoss(keras.losses.MeanSquaredError):
        pass

    def build(meta):
        return keras.Sequential([keras.Input((3,)), Local(), keras.layers.Dense(1)])

    return sf.KerasRegressor(build, loss=LocalLoss(), random_state=0)


def test_classes_inside_a_function(numbers, tmp_path):
    X, y = numbers
    network = local_network().fit(X, y)
    assert_array_equal(clone(network).fit(X, y).predict(X), network.predict(X))
    prebuilt = sf.KerasRegressor(network.model_, random_state=0).fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(prebuilt)).predict(X), prebuilt.predict(X))
    (tmp_path / "network.pkl").write_bytes(cloudpickle.dumps(network))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy as np\n"
        "network = pickle.load(open(sys.argv[1] + '/network.pkl', 'rb'))\n"
        "np.save(sys.argv[1] + '/out.npy', network.predict(np.load(sys.argv[1] + '/X.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert_allclose(np.load(tmp_path / "out.npy"), network.predict(X), rtol=1e-6)


def test_what_no_copy_can_be_made_of_is_said(numbers):
    class Silent(keras.Model):
        """Computes with a factor that its configuration does not name."""

        def __init__(self, factor=1.0, **settings):
            super().__init__(**settings)
            self.factor, self.last = factor, keras.layers.Dense(1)

        def call(self, x):
            return self.factor * self.last(x)

        def get_config(self):
            return {}

    X, y = numbers
    model = Silent(factor=3.0)
    model(X[:1])
    wrapped = sf.KerasRegressor(model, loss="mse")
    with pytest.raises(sf.NotConvertible, match="Give Silent a get_config that returns"):
        wrapped.fit(X, y)


def test_two_functions_of_one_name_in_a_prebuilt_model_are_refused(numbers):
    def power(k):
        def activation(x):
            return x**k

        return activation

    def build(meta):
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, power(1)), keras.layers.Dense(1, power(2))]
        )

    X, y = numbers
    network = sf.KerasRegressor(build, loss="mse", random_state=0).fit(X, y)
    again = pickle.loads(cloudpickle.dumps(network))  # the builder tells them apart
    assert_array_equal(again.predict(X), network.predict(X))
    with pytest.raises(ValueError, match="Two different classes or functions are named"):
        sf.KerasRegressor(network.model_).fit(X, y)
