"""Code in the style of scikeras' documentation runs with the import changed.

The builders and parameters are those that its quick start, tutorials and migration notes show:
``meta`` and ``compile_kwargs``, routed and bare names, classes with settings, searches.
"""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from stackfuse import KerasClassifier, KerasRegressor


def get_model(hidden_layer_dim, meta):
    import keras

    model = keras.models.Sequential()
    model.add(keras.layers.Input(shape=meta["X_shape_"][1:]))
    model.add(keras.layers.Dense(meta["n_features_in_"], activation="relu"))
    model.add(keras.layers.Dense(hidden_layer_dim))
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Dense(meta["n_classes_"]))
    model.add(keras.layers.Activation("softmax"))
    return model


def get_compiled(hidden_layer_sizes, meta, compile_kwargs):
    import keras

    model = keras.Sequential([keras.layers.Input(shape=(meta["n_features_in_"],))])
    for size in hidden_layer_sizes:
        model.add(keras.layers.Dense(size, activation="relu"))
    if meta["target_type_"] == "binary":
        units, activation, loss = 1, "sigmoid", "binary_crossentropy"
    elif meta["target_type_"] == "multiclass":
        units, activation, loss = meta["n_classes_"], "softmax", "sparse_categorical_crossentropy"
    else:
        raise NotImplementedError(meta["target_type_"])
    model.add(keras.layers.Dense(units, activation=activation))
    model.compile(loss=loss, optimizer=compile_kwargs["optimizer"])
    return model


def get_regressor(hidden_layer_sizes, dropout, meta, compile_kwargs):
    import keras

    model = keras.Sequential([keras.layers.Input(shape=(meta["n_features_in_"],))])
    for size in hidden_layer_sizes:
        model.add(keras.layers.Dense(size, activation="relu"))
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", optimizer=compile_kwargs["optimizer"])
    return model


def test_quick_start(iris):
    X, y = iris
    clf = KerasClassifier(
        get_model, loss="sparse_categorical_crossentropy", hidden_layer_dim=100, random_state=0
    )
    proba = clf.fit(X, y).predict_proba(X)
    assert_allclose(proba, clf.model_.predict(X, verbose=0), atol=1e-6)
    pipe = Pipeline([("scale", StandardScaler()), ("clf", clf)]).fit(X * 9, y)
    assert_allclose(pipe.predict_proba(X * 9), proba, atol=1e-4)
    search = GridSearchCV(
        clf,
        {
            "hidden_layer_dim": [5, 10],
            "loss": ["sparse_categorical_crossentropy"],
            "optimizer": ["adam", "sgd"],
            "optimizer__learning_rate": [0.01, 0.1],
        },
        refit=False,
        cv=3,
        scoring="accuracy",
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_builder_that_compiles_with_compile_kwargs(cancer, diabetes):
    clf = KerasClassifier(
        model=get_compiled,
        hidden_layer_sizes=(10,),
        optimizer="adam",
        optimizer__learning_rate=0.01,
        epochs=2,
        verbose=0,
    ).fit(*cancer)
    assert float(clf.model_.optimizer.learning_rate) == pytest.approx(0.01)
    reg = KerasRegressor(
        model=get_regressor, model__hidden_layer_sizes=(10,), model__dropout=0.5, optimizer="adam"
    )
    changed = clone(reg).set_params(model__hidden_layer_sizes=(5, 5)).fit(*diabetes)
    assert [w.shape[1] for w in changed.model_.get_weights() if w.ndim == 2] == [5, 5, 1]


def test_classes_with_settings(cancer):
    import keras

    X, y = cancer
    clf = KerasClassifier(
        get_model,
        hidden_layer_dim=8,
        loss=keras.losses.SparseCategoricalCrossentropy,
        loss__from_logits=False,
        loss__reduction="sum",
        optimizer=keras.optimizers.SGD,
        optimizer__learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9),
        optimizer__momentum=0.9,
        metrics=[keras.metrics.SparseCategoricalAccuracy, "sparse_categorical_crossentropy"],
        metrics__0__name="hits",
        callbacks=[keras.callbacks.EarlyStopping, keras.callbacks.TerminateOnNaN],
        callbacks__0__monitor="loss",
        callbacks__0__patience=1,
        fit__validation_split=None,
        epochs=3,
    )
    with pytest.raises(ValueError, match="fit__validation_split is not available: use validation"):
        clf.fit(X, y)
    del clf.fit__validation_split
    history = clf.fit(X, y).history_
    assert {"loss", "hits", "sparse_categorical_crossentropy"} == set(history)


def test_constructor_parameters(iris):
    X, y = iris
    parameters: dict[str, Any] = {
        "warm_start": False,
        "random_state": 1,
        "optimizer": "rmsprop",
        "loss": None,
        "metrics": None,
        "batch_size": 50,
        "validation_batch_size": 7,
        "verbose": 0,
        "callbacks": None,
        "validation_split": 0.1,
        "shuffle": True,
        "run_eagerly": True,
        "epochs": 2,
        "class_weight": None,
    }
    clf = KerasClassifier(get_model, hidden_layer_dim=4, **parameters).fit(X, y)
    assert clf.model_.run_eagerly
    assert {name: clf.get_params()[name] for name in parameters} == parameters
    graph = clone(clf).set_params(run_eagerly=False)
    assert_allclose(graph.fit(X, y).predict_proba(X), clf.predict_proba(X), atol=1e-5)
    again = clone(graph).set_params(validation_batch_size=15).fit(X, y)
    assert_allclose(again.history_["val_loss"], clf.history_["val_loss"], atol=1e-5)


def test_settings_of_prediction(iris):
    X, y = iris
    clf = KerasClassifier(get_model, hidden_layer_dim=4, predict__batch_size=7, random_state=0)
    some = clf.fit(X, y).predict_proba(X)
    # On some processors the last digit of a float32 product depends on the place in a batch.
    assert_allclose(some, clf.set_params(predict__batch_size=150).predict_proba(X), rtol=1e-6)
    with pytest.raises(ValueError, match="Invalid parameter 'predict__steps'"):
        clf.set_params(predict__steps=3)


def test_warm_start_and_partial_fit(iris):
    X, y = iris
    clf = KerasClassifier(get_model, hidden_layer_dim=4, warm_start=True, epochs=2, random_state=0)
    clf.fit(X, y).fit(X, y).partial_fit(X, y)
    assert len(clf.history_["loss"]) == 5


def test_an_argument_named_as_a_setting_belongs_to_the_builder(iris):
    def builder(meta, run_eagerly=3):
        return get_model(run_eagerly, meta)

    clf = KerasClassifier(builder, run_eagerly=5).fit(*iris)
    assert not clf.model_.run_eagerly
    assert clf.model_.layers[1].units == 5
