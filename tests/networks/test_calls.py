"""Settings for one call, settings by name, and what scikeras hands to builders."""

import pickle
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from tests.support.cases import build_classifier, build_regressor, build_sigmoid


@pytest.fixture(scope="module")
def binary():
    return make_classification(80, 6, random_state=0)


def test_settings_of_fit_for_one_call(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0)
    before = network.get_params()
    network.fit(X, y, epochs=3, batch_size=50, verbose=0, validation_split=0.2)
    assert network.get_params() == before
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 50, "validation_split": 0.2}
    wanted = sf.KerasClassifier(build_classifier, random_state=0, **settings).fit(X, y)
    assert network.history_ == wanted.history_
    assert "val_loss" in network.history_
    stopped = network.fit(X, y, epochs=9, callbacks=[keras.callbacks.EarlyStopping("loss", 9.0)])
    assert stopped.current_epoch < 9
    pipeline = make_pipeline(StandardScaler(), network).fit(X, y, kerasclassifier__epochs=2)
    assert pipeline[-1].current_epoch == 2


def test_settings_of_prediction_for_one_call(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
    for method in ("predict", "predict_proba", "decision_function"):
        call = getattr(network, method)
        for size in (7, -1, None):
            assert_allclose(call(X, batch_size=size, verbose=0), call(X), rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        network.predict(X, batch_size=0)


def test_what_a_call_does_not_take_is_said(iris):
    network = sf.KerasClassifier(build_classifier).fit(*iris)
    with pytest.raises(TypeError, match=r"fit takes no 'epoch'\. Did you mean 'epochs'\?"):
        network.fit(*iris, epoch=3)
    with pytest.raises(TypeError, match="fit takes no validation_data: use validation_split="):
        network.fit(*iris, validation_data=iris)
    network.fit(*iris)
    with pytest.raises(TypeError, match="predict takes no 'steps'"):
        network.predict(iris[0], steps=3)
    with pytest.raises(ValueError, match="call fit with warm_start=True"):
        network.partial_fit(*iris, epochs=2)


def test_the_current_epoch(iris):
    network = sf.KerasClassifier(build_classifier, epochs=2, warm_start=True)
    assert network.current_epoch == 0
    assert network.fit(*iris).current_epoch == 2
    assert network.fit(*iris).partial_fit(*iris, verbose=0).current_epoch == 5


def test_minus_one_stands_for_all_rows(iris):
    X, y = iris
    settings: dict[str, Any] = {"random_state": 0, "validation_split": 0.2}
    network = sf.KerasClassifier(
        build_classifier, predict__batch_size=-1, validation_batch_size=-1, **settings
    ).fit(X, y)
    wanted = sf.KerasClassifier(
        build_classifier, predict__batch_size=150, validation_batch_size=30, **settings
    ).fit(X, y)
    assert network.history_ == wanted.history_
    assert_array_equal(network.predict_proba(X), wanted.predict_proba(X))


def test_one_metric_by_name(iris):
    X, y = iris
    network = sf.KerasRegressor(build_regressor, metrics="mae", random_state=0).fit(X, y)
    listed = sf.KerasRegressor(build_regressor, metrics=["mae"], random_state=0).fit(X, y)
    assert set(network.history_) == {"loss", "mae"}
    assert network.history_ == listed.history_


def test_one_metric_for_each_of_several_outputs(iris):
    def build(meta):
        inputs = keras.Input((4,))
        names = ("first", "second")
        return keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in names])

    X, _ = iris
    network = sf.KerasRegressor(build, metrics="mae").fit(X, X[:, :2])
    assert {"first_mae", "second_mae"} < set(network.history_)


def test_losses_and_metrics_by_name_with_settings(binary):
    X, y = binary
    network = sf.KerasClassifier(
        build_sigmoid,
        loss="binary_crossentropy",
        loss__label_smoothing=0.3,
        metrics=["AUC", "binary_accuracy"],
        metrics__0__num_thresholds=5,
        metrics__0__name="auc",
        metrics__1__threshold=0.9,
        random_state=0,
    ).fit(X, y)
    wanted = sf.KerasClassifier(
        build_sigmoid,
        loss=keras.losses.BinaryCrossentropy(label_smoothing=0.3),
        metrics=[
            keras.metrics.AUC(5, name="auc"),
            keras.metrics.BinaryAccuracy(threshold=0.9),
        ],
        random_state=0,
    ).fit(X, y)
    assert network.history_ == wanted.history_
    settings: dict[str, Any] = {"metrics__thresholds": 0.1, "metrics__name": "precision"}
    one = sf.KerasClassifier(build_sigmoid, metrics="Precision", random_state=0, **settings)
    precision = keras.metrics.Precision(0.1, name="precision")
    other = sf.KerasClassifier(build_sigmoid, metrics=[precision], random_state=0).fit(X, y)
    assert one.fit(X, y).history_ == other.history_
    huber = sf.KerasRegressor(build_regressor, loss="huber", loss__delta=0.1, random_state=0)
    made = sf.KerasRegressor(build_regressor, loss=keras.losses.Huber(0.1), random_state=0)
    assert huber.fit(X, y).history_ == made.fit(X, y).history_
    with pytest.raises(ValueError, match="loss__smoothing is not a setting of BinaryCrossentropy"):
        network.set_params(loss__smoothing=0.1).fit(X, y)
    with pytest.raises(ValueError, match=r"so it takes no settings. Name the class"):
        one.set_params(metrics="accuracy").fit(X, y)


def test_builders_that_take_params_or_any_argument(iris):
    X, y = iris
    seen: dict[str, Any] = {}

    def with_params(meta, params):
        return build_classifier(meta, params["units"])

    def with_all(**arguments):
        seen.update(arguments)
        compile_kwargs = arguments["compile_kwargs"]
        model = build_classifier(arguments["meta"], arguments["units"])
        model.compile(compile_kwargs["optimizer"], "sparse_categorical_crossentropy")
        return model

    wanted = sf.KerasClassifier(build_classifier, units=5, random_state=0).fit(X, y)
    for build in (with_params, with_all):
        network = sf.KerasClassifier(
            build, units=5, optimizer__learning_rate=0.001, random_state=0
        ).fit(X, y)
        assert_array_equal(network.predict_proba(X), wanted.predict_proba(X))
    assert seen["params"] == network.get_params()
    assert set(seen) == {"meta", "compile_kwargs", "params", "units"}


def test_meta_counts_the_columns_of_y(iris, binary):
    X, y = iris
    seen: list[dict] = []

    def build(meta):
        seen.append(meta)
        kind, n_classes = meta["target_type_"], meta["n_classes_"]
        inputs = keras.Input((4,))
        if kind == "multiclass-multioutput":
            heads = [keras.layers.Dense(n, activation="softmax")(inputs) for n in n_classes]
            return keras.Model(inputs, heads)
        activation = "sigmoid" if kind == "multilabel-indicator" else "softmax"
        return keras.Sequential([inputs, keras.layers.Dense(n_classes, activation=activation)])

    targets = [y, y > 0, np.eye(3, dtype=int)[y], np.column_stack([y, y[::-1]])]
    for target in targets:
        sf.KerasClassifier(build).fit(X, target)
    counts = [(meta["n_outputs_"], meta["n_outputs_expected_"]) for meta in seen]
    assert counts == [(1, 1), (1, 1), (3, 1), (2, 2)]
    head = sf.FusionClassifier(epochs=1).fit(X, y)
    assert head.predict_proba(X).shape == (150, 3)


def test_one_hot_labels_are_told_the_right_thing(iris):
    X, y = iris
    network = sf.KerasClassifier(
        build_classifier, loss="categorical_crossentropy", epochs=5, random_state=0
    )
    with pytest.raises(ValueError, match=r"If y is one-hot, pass the classes and keep the loss"):
        network.fit(X, np.eye(3)[y])
    assert network.fit(X, np.eye(3)[y].argmax(axis=1)).score(X, y) > 0


@pytest.mark.parametrize("kind", [sf.KerasClassifier, sf.KerasRegressor])
def test_a_target_of_three_axes_is_not_printed(kind, iris):
    X, _ = iris
    with pytest.raises(ValueError, match=r"^y must have one or two axes, got shape \(150, 2, 2\)"):
        kind(build_classifier).fit(X, np.zeros((150, 2, 2), int))


def test_rows_of_another_length_are_not_called_features():
    def build(meta):
        flat = keras.layers.Flatten()
        return keras.Sequential([keras.Input(meta["X_shape_"][1:]), flat, keras.layers.Dense(1)])

    X = np.random.default_rng(0).normal(size=(20, 5, 2))
    network = sf.KerasRegressor(build).fit(X, X[:, 0, 0])
    for shape in [(3, 7, 2), (3, 5, 1), (3, 5)]:
        message = rf"X has rows of shape {shape[1:]}, but KerasRegressor was fitted on rows of"
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            network.predict(np.zeros(shape))


def test_a_pickle_of_an_earlier_version_is_refused(iris):
    network = sf.KerasClassifier(build_classifier).fit(*iris)
    state = network.__getstate__()
    del state["_fitted"]
    fresh = sf.KerasClassifier(build_classifier)
    with pytest.raises(ValueError, match=r"was pickled by an earlier stackfuse.*Fit it again"):
        fresh.__setstate__(state | {"model_": network.model_, "classes_": network.classes_})
    again = pickle.loads(pickle.dumps(network))
    assert_array_equal(again.predict(iris[0]), network.predict(iris[0]))
