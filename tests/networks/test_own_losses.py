"""Losses whose outputs have another width than y, and the part of the outputs that predicts."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

import stackfuse as sf

QUANTILES = np.array([0.1, 0.5, 0.9], "float32")


def of_rows(y, outputs):
    """Gaussian likelihood of a y in one axis."""
    mean, spread = outputs[:, 0], outputs[:, 1]
    return ops.mean(spread + (y - mean) ** 2 * ops.exp(-spread))


def of_columns(y, outputs):
    """Gaussian likelihood of a y in two axes."""
    mean, spread = outputs[:, :1], outputs[:, 1:]
    return spread + (y - mean) ** 2 * ops.exp(-spread)


def pinball(y, outputs):
    """Loss of three quantiles at once."""
    error = y - outputs
    return ops.maximum(QUANTILES * error, (QUANTILES - 1) * error)


def survival(y, outputs):
    """Squared error of a time; one that is censored counts only if it comes too late."""
    late = ops.relu(y[:, :1] - outputs)
    return y[:, 1:] * (y[:, :1] - outputs) ** 2 + (1 - y[:, 1:]) * late**2


class Gaussian(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return of_columns(y_true, y_pred)


def build(units=2):
    layers = keras.layers
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(units)])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = 2 * X[:, 0] + rng.normal(size=60) / 10
    return X, y, np.column_stack([np.abs(y), rng.integers(0, 2, 60)])


def plain(X, y, loss, units):
    """Return what Keras itself predicts."""
    keras.utils.set_random_seed(0)
    model = build(units)
    model.compile("adam", loss)
    model.fit(X.astype("float32"), y.astype("float32"), epochs=2, shuffle=False, verbose=0)
    return np.asarray(model(X.astype("float32")))


def network(loss, units=2, output: object = 0, **settings):
    return sf.KerasRegressor(
        build,
        units=units,
        loss=loss,
        predict__output=output,
        epochs=2,
        shuffle=False,
        random_state=0,
        **settings,
    )


@pytest.mark.parametrize("loss", [of_rows, of_columns, Gaussian(), Gaussian])
@pytest.mark.parametrize("in_columns", [False, True])
def test_mean_and_variance_equal_plain_keras(data, loss, in_columns):
    X, y, _ = data
    wanted = plain(X, y if loss is of_rows else y[:, None], loss() if loss is Gaussian else loss, 2)
    y = y[:, None] if in_columns else y
    fitted = network(loss).fit(X, y)
    predictions = fitted.predict(X)
    assert predictions.shape == y.shape
    assert_allclose(predictions.ravel(), wanted[:, 0], rtol=1e-5, atol=1e-6)
    assert fitted.score(X, y) == pytest.approx(r2_score(y, wanted[:, 0]), abs=1e-5)


@pytest.mark.parametrize(
    ("output", "columns"),
    [(1, 1), (-1, 2), ([0, 2], [0, 2]), (slice(None), [0, 1, 2]), (np.int64(0), 0)],
)
def test_quantiles(data, output, columns):
    X, y, _ = data
    wanted = plain(X, y[:, None], pinball, 3)[:, columns]
    assert_allclose(network(pinball, 3, output).fit(X, y).predict(X), wanted, rtol=1e-5, atol=1e-6)


def test_the_part_may_be_chosen_after_fit(data):
    X, y, _ = data
    fitted = network(pinball, 3, slice(None)).fit(X, y)
    all_of_them = fitted.predict(X)
    for k in range(3):
        assert_allclose(fitted.set_params(predict__output=k).predict(X), all_of_them[:, k])
    spread = fitted.set_params(predict__output=lambda outputs: outputs[:, 2] - outputs[:, 0])
    assert_allclose(spread.predict(X), all_of_them[:, 2] - all_of_them[:, 0], atol=1e-6)


def test_time_and_event(data):
    X, _, y = data
    fitted = network(survival, 1).fit(X, y)
    wanted = plain(X, y, survival, 1)
    assert_allclose(fitted.predict(X), wanted[:, 0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"y has 2 and the prediction 1\. Choose as many"):
        fitted.score(X, y)


def test_classifiers_with_one_more_output():
    def undecided(y, outputs):
        """Cross-entropy of three classes; a fourth output costs what it takes from them."""
        return -ops.log(ops.sum(y * outputs[:, :3], axis=1) + 0.5 * outputs[:, 3])

    def build():
        layers = keras.layers
        return keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="softmax")])

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(45, 3)), np.repeat(["a", "b", "c"], 15)
    settings = {"loss": undecided, "shuffle": False, "random_state": 0, "epochs": 2}
    fitted = sf.KerasClassifier(build, predict__output=slice(3), **settings).fit(X, y)
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("adam", undecided)
    one_hot = np.repeat(np.eye(3, dtype="float32"), 15, axis=0)
    model.fit(X.astype("float32"), one_hot, epochs=2, shuffle=False, verbose=0)
    wanted = np.asarray(model(X.astype("float32")))[:, :3]
    wanted = wanted / wanted.sum(axis=1, keepdims=True)
    assert_allclose(fitted.predict_proba(X), wanted, rtol=1e-5)
    assert (fitted.predict(X) == np.array(["a", "b", "c"])[wanted.argmax(axis=1)]).all()
    with pytest.raises(ValueError, match="A classifier learns its classes with one part"):
        fitted.set_params(predict__output=slice(1, 4)).predict(X)


def test_searches_and_clones(data):
    X, y, _ = data
    whole = network(pinball, 3, 1)
    assert clone(whole).get_params()["predict__output"] == 1
    search = GridSearchCV(whole, {"predict__output": [0]}, cv=2, refit=False).fit(X, y)
    score = cross_val_score(network(pinball, 3, 0), X, y, cv=2).mean()
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(score)


@pytest.mark.parametrize("engine", ["sequential", "fused"])
@pytest.mark.parametrize("output", [0, slice(None)])
def test_stacks(data, engine, output):
    X, y, _ = data
    bases = [("net", network(of_rows, output=output))]
    if engine == "sequential":  # the other trains networks alone
        bases += [("ridge", Ridge())]
    stack = sf.StackingRegressor(bases, cv=2, engine=engine, random_state=0).fit(X, y)
    columns = np.atleast_1d(np.arange(2)[output])
    for fold in stack.oof_.folds[:1]:
        alone = network(of_rows, output=slice(None)).fit(X[fold.train], y[fold.train])
        wanted = alone.predict(X[fold.test])[:, columns]
        found = stack.oof_.predictions[fold.test][:, : len(columns)]
        assert_allclose(found, wanted, rtol=1e-4, atol=5e-5)
    assert stack.predict(X).shape == y.shape
    assert str(stack.report())


def test_a_stack_of_times_and_events(data):
    X, _, y = data
    stack = sf.StackingRegressor([("net", network(survival, 1))], cv=2).fit(X, y)
    assert stack.oof_.predictions.shape == (60, 1)
    assert stack.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": of_rows}, r"2 output units, but y has 1 column\..* predict__output=0 is the"),
        (
            {"loss": "mse", "predict__output": 0},
            r"loss 'mse' compares each output .* your own loss",
        ),
        ({"predict__output": 0}, "The default loss compares each output"),
        ({"loss": of_rows, "predict__output": 2}, "chooses no output: .* numbered 0 to 1"),
        ({"loss": of_rows, "predict__output": "mean"}, "must be the number of an output column"),
        ({"loss": of_rows, "predict__output": True}, "must be the number of an output column"),
        ({"loss": of_rows, "predict__output": ops.sum}, "must return one row for each row"),
        ({"loss": survival, "predict__output": 0}, r"The loss 'survival' fails for y of shape"),
    ],
)
def test_what_is_wrong_is_said_before_training(data, settings, message):
    X, y, _ = data
    with pytest.raises(ValueError, match=message):
        sf.KerasRegressor(build, **settings).fit(X, y)


def test_several_outputs_have_no_part(data):
    X, _, y = data

    def build():
        table = keras.Input((3,))
        return keras.Model(table, [keras.layers.Dense(1)(table), keras.layers.Dense(1)(table)])

    with pytest.raises(ValueError, match=r"has 2 outputs. Leave it out, or .*Concatenate"):
        sf.KerasRegressor(build, predict__output=0).fit(X, y)


def classifier(meta):
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(inputs))


def test_a_function_without_source_is_a_metric(data):
    X = data[0]
    y = np.arange(len(X)) % 3
    typed: dict = {"mean": ops.mean}
    exec("metric = lambda y, outputs: mean(outputs)", typed)  # as at a prompt
    network = sf.KerasClassifier(classifier, metrics=[typed["metric"]], random_state=0).fit(X, y)
    plain = sf.KerasClassifier(classifier, random_state=0).fit(X, y)
    assert_allclose(network.predict_proba(X), plain.predict_proba(X), rtol=1e-6)
    assert_allclose(network.history_["lambda"], 1 / 3, rtol=1e-5)  # probabilities of three classes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["auc"]}, r"The metric 'auc' cannot be computed from y of shape \(n,\)"),
        ({"metrics": ["acc", keras.metrics.MeanIoU(3)]}, "The metric 'mean_io_u' cannot be"),
        ({"metrics": [lambda y: y]}, r"The metric '<lambda>' .*takes 1 positional argument"),
        ({"loss": lambda y, outputs: ops.zeros(())}, "no weight of it changes the loss"),
        ({"loss": lambda y, outputs: "one"}, "The loss '<lambda>' cannot be computed from y"),
    ],
)
def test_a_loss_or_metric_that_fails_is_told_by_its_name(data, settings, message):
    X = data[0]
    y = np.arange(len(X)) % 3
    network = sf.KerasClassifier(classifier, **settings)
    with pytest.raises(ValueError, match=message):
        network.fit(X, y)
    if "metrics" in settings:  # also in a graph of several replicas
        with pytest.raises(ValueError, match=message):
            sf.StackingClassifier([("net", network)], cv=2).fit(X, y)


@pytest.mark.parametrize(
    ("activation", "loss", "message"),
    [
        ("relu", None, r"activation='relu', which gives numbers from 0 on, but y holds -"),
        ("sigmoid", None, r"gives numbers from 0 to 1, but y holds .*rows\): end it without"),
        (None, "msle", r"The loss 'meansquaredlogarithmicerror' is for numbers from 0 on"),
    ],
)
def test_numbers_out_of_reach_are_told(data, activation, loss, message):
    X, y = data[0], np.linspace(-3, 3, len(data[0]))

    def build(meta):
        inputs = keras.Input((3,))
        return keras.Model(inputs, keras.layers.Dense(1, activation)(inputs))

    network = sf.KerasRegressor(build, loss=loss, random_state=0)
    with pytest.warns(UserWarning, match=message):
        network.fit(X, y)
    network.fit(X, np.abs(y) / 3)  # nothing is told of what it can give
