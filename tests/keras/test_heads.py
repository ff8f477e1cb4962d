"""Networks with several outputs, against plain Keras."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

import stackfuse as sf
from stackfuse._training import program as _program

SEED = 3


def build(meta, form="list", logits=False):
    """Two heads: softmax over three classes, and one sigmoid unit."""
    import keras

    inputs = keras.Input((meta["n_features_in_"],))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    kind = keras.layers.Dense(3, activation=None if logits else "softmax", name="kind")(hidden)
    long = keras.layers.Dense(1, activation=None if logits else "sigmoid", name="long")(hidden)
    # The second key sorts before the first: dicts of outputs are flattened in sorted order.
    forms = {"list": [kind, long], "tuple": (kind, long), "dict": {"kind": kind, "along": long}}
    return keras.Model(inputs, forms[form])


@pytest.fixture
def two_columns(iris):
    X, y = iris
    return X, np.column_stack([y, X[:, 0] > 0]).astype(int)


def plain(X, Y, epochs, sample_weight=None):
    import keras

    keras.utils.set_random_seed(SEED)
    model = build({"n_features_in_": 4})
    model.compile("adam", ["sparse_categorical_crossentropy", "binary_crossentropy"])
    for epoch in range(epochs):
        rows = np.random.default_rng([SEED, epoch]).permutation(len(X))
        weights = None if sample_weight is None else sample_weight[rows]
        model.fit(
            X[rows].astype("float32"),
            [Y[rows, 0], Y[rows, 1:]],
            sample_weight=None if weights is None else [weights, weights],
            shuffle=False,
            verbose=0,
        )
    return model.predict(X, verbose=0)


@pytest.mark.parametrize("form", ["list", "tuple", "dict"])
@pytest.mark.parametrize("weighted", [False, True])
def test_two_heads_equal_plain_keras(two_columns, form, weighted):
    X, Y = two_columns
    weights = np.linspace(0.5, 2, len(X)).astype("float32") if weighted else None
    network = sf.KerasClassifier(build, form=form, epochs=4, random_state=SEED)
    network.fit(X, Y, sample_weight=weights)
    kind, long = plain(X, Y, 4, weights)
    ours = network.predict_proba(X)
    assert_allclose(ours[0], kind, atol=1e-6)
    assert_allclose(ours[1], np.hstack([1 - long, long]), atol=1e-6)
    assert_array_equal(
        network.predict(X), np.column_stack([kind.argmax(1), (long[:, 0] > 0.5).astype(int)])
    )
    assert network.score(X, Y) == np.mean((network.predict(X) == Y).all(axis=1))
    assert [labels.tolist() for labels in network.classes_] == [[0, 1, 2], [0, 1]]


def test_heads_of_logits(two_columns):
    X, Y = two_columns
    network = sf.KerasClassifier(build, logits=True, epochs=2, random_state=SEED).fit(X, Y)
    kind, long = network.model_.predict(X, verbose=0)
    odds = np.exp(kind - kind.max(1, keepdims=True))
    proba = network.predict_proba(X)
    assert_allclose(proba[0], odds / odds.sum(1, keepdims=True), atol=1e-6)
    assert_allclose(proba[1][:, 1], 1 / (1 + np.exp(-long[:, 0])), atol=1e-6)
    decision = network.decision_function(X)
    assert_allclose(decision[0], kind, atol=1e-6)
    assert_allclose(decision[1], long[:, 0], atol=1e-6)


def test_labels_of_any_kind_and_their_columns(two_columns):
    X, Y = two_columns
    named = pd.DataFrame({"kind": np.array(["a", "b", "c"])[Y[:, 0]], "long": Y[:, 1] == 1})
    network = sf.KerasClassifier(build, epochs=3, random_state=SEED)
    numbers = clone(network).fit(X, Y).predict(X)
    labels = network.fit(X, named).predict(X)
    assert_array_equal(labels[:, 0], np.array(["a", "b", "c"])[numbers[:, 0]])
    assert_array_equal(labels[:, 1].astype(bool), numbers[:, 1] == 1)
    with pytest.raises(ValueError, match=r"outputs are \['kind', 'long'\], in this order"):
        network.fit(X, named[["long", "kind"]])


def test_one_head_per_label_of_a_multilabel_target(iris):
    import keras

    def one_head_per_label(meta):
        inputs = keras.Input((meta["n_features_in_"],))
        heads = [keras.layers.Dense(1, activation="sigmoid") for _ in range(meta["n_outputs_"])]
        return keras.Model(inputs, [head(inputs) for head in heads])

    X, y = iris
    Y = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
    network = sf.KerasClassifier(one_head_per_label, epochs=2, random_state=0).fit(X, Y)
    raw = np.hstack(network.model_.predict(X, verbose=0))
    assert_allclose(np.column_stack([p[:, 1] for p in network.predict_proba(X)]), raw, atol=1e-6)
    assert_array_equal(network.predict(X), (raw > 0.5).astype(int))
    again = clone(network).set_params(epochs=1)
    assert_array_equal(again.fit(X, Y).partial_fit(X, Y).predict(X), network.predict(X))


def test_regression_heads_of_several_widths(diabetes):
    import keras

    def build_regressor(meta):
        inputs = keras.Input((meta["n_features_in_"],))
        return keras.Model(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(2)(inputs)])

    X, y = diabetes
    Y = np.column_stack([y, y**2 / 100, -y]) / 100
    network = sf.KerasRegressor(build_regressor, epochs=2, random_state=0).fit(X, Y)
    assert_allclose(
        network.predict(X), np.hstack(network.model_.predict(X, verbose=0)), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match="2 outputs with 3 units in all, but y has 2 columns"):
        network.fit(X, Y[:, :2])


def test_heads_inside_scikit_learn(two_columns):
    X, Y = two_columns
    network = sf.KerasClassifier(build, epochs=2, random_state=0)
    assert cross_val_predict(network, X, Y, cv=3).shape == Y.shape
    search = GridSearchCV(network, {"epochs": [1, 3]}, cv=2).fit(X, Y)
    assert search.cv_results_["mean_test_score"].shape == (2,)
    restored = pickle.loads(pickle.dumps(search.best_estimator_))
    assert_array_equal(restored.predict(X), search.predict(X))


def test_partial_fit_with_heads(two_columns):
    X, Y = two_columns
    classes = [np.arange(3), np.arange(2)]
    network = sf.KerasClassifier(build, random_state=0)
    first = Y[:, 0] < 2  # lacks a class
    network.partial_fit(X[first], Y[first], classes=classes).partial_fit(X, Y, classes=classes)
    assert network.predict_proba(X)[0].shape == (150, 3)
    with pytest.raises(ValueError, match="differs from the classes of the first call"):
        network.partial_fit(X, Y, classes=[np.arange(3), np.arange(3)])
    with pytest.raises(ValueError, match=r"y holds the labels \[7\]"):
        network.partial_fit(X, np.where(Y == 2, 7, Y))


def test_wrong_heads(two_columns):
    X, Y = two_columns
    network = sf.KerasClassifier(build)
    with pytest.raises(ValueError, match="2 outputs, but y has 1 column of labels"):
        network.fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="2 outputs, but y has 3 columns of labels"):
        network.fit(X, np.hstack([Y, Y[:, :1]]))
    with pytest.raises(ValueError, match="Column 1 of y holds one class only: 0"):
        network.fit(X, np.column_stack([Y[:, 0], np.zeros(len(X), int)]))
    with pytest.raises(ValueError, match="loss lists 3 losses, but the model has 2 outputs"):
        network.set_params(loss=["binary_crossentropy"] * 3).fit(X, Y)
    import keras

    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.set_params(loss=[crossentropy, "binary_crossentropy"])
    with pytest.raises(ValueError, match="from_logits=True"):
        network.fit(X, Y)
    for refuse in (sf.StackingClassifier([("net", network)]).fit, sf.FusionClassifier().fit):
        with pytest.raises(ValueError, match="columns"):
            refuse(X, Y)


@pytest.mark.parametrize("form", [lambda output: [output], lambda output: {"kind": output}])
def test_a_model_that_returns_one_output_in_a_list_or_dict(iris, form):
    import keras

    def build_one(meta):
        inputs = keras.Input((meta["n_features_in_"],))
        return keras.Model(inputs, form(keras.layers.Dense(3, activation="softmax")(inputs)))

    X, y = iris
    network = sf.KerasClassifier(build_one, epochs=2, random_state=0).fit(X, y)
    wanted = network.model_.predict(X, verbose=0)
    wanted = wanted["kind"] if isinstance(wanted, dict) else wanted
    assert_allclose(network.predict_proba(X), wanted, atol=1e-6)


def test_heads_of_classes_and_of_numbers_are_in_the_graph(two_columns):
    import keras

    X, Y = two_columns
    network = sf.KerasClassifier(build, random_state=0).fit(X, Y)
    outputs = sf.to_keras(network)(X)
    for head, wanted in enumerate(network.predict_proba(X)):
        assert_allclose(outputs[f"probabilities_{head}"], wanted, atol=1e-6)
    assert_array_equal(outputs["label"], network.predict(X))

    def build_regressor(meta):
        inputs = keras.Input((meta["n_features_in_"],))
        return keras.Model(inputs, [keras.layers.Dense(1)(inputs) for _ in range(2)])

    numbers = sf.KerasRegressor(build_regressor, random_state=0).fit(X, X[:, :2])
    graph = sf.to_keras(numbers)
    assert_allclose(graph(X)["prediction"], numbers.predict(X), atol=1e-6)


def named(meta, first, second):
    import keras

    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(1, "sigmoid", name=name)(inputs) for name in (first, second)]
    return keras.Model(inputs, heads)


def test_networks_keep_the_names_of_their_heads(two_columns):
    import keras

    X, Y = two_columns
    Y = np.column_stack([Y[:, 0] > 0, Y[:, 1]]).astype(int)
    stop = keras.callbacks.EarlyStopping("val_u_loss", mode="max")  # it falls
    networks = [
        sf.KerasClassifier(named, first=a, second=b, epochs=4, validation_split=0.2, callbacks=stop)
        for a, b in ("uv", "pq", "uv")
    ]
    networks[1].set_params(callbacks=None)
    for network, heads, epochs in zip(networks, ("uv", "pq", "uv"), (2, 4, 2)):
        network.fit(X, Y)
        losses = {"loss", *(f"{head}_loss" for head in heads)}
        assert set(network.history_) == losses | {f"val_{loss}" for loss in losses}
        assert len(network.history_["loss"]) == epochs


def test_networks_without_names_share_a_program(two_columns):
    X, Y = two_columns
    Y = np.column_stack([Y[:, 0] > 0, Y[:, 1]]).astype(int)
    _program._programs.clear()
    for k in range(3):
        sf.KerasClassifier(named, first=None, second=None, random_state=k).fit(X, Y)
    assert len(_program._programs) == 1
