"""Starter networks: each computes its paper's formula, trains side by side, exports, explains."""

import math

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

import stackfuse as sf

TABLE_BUILDERS = [sf.models.mlp, sf.models.resnet, sf.models.mlp_plr, sf.models.tabm]

#: Facts for builders about three columns and a number, or three classes.
OF_NUMBERS = {
    "X_shape_": (60, 3),
    "n_classes_": None,
    "n_outputs_": 2,
    "target_type_": "continuous-multioutput",
}
OF_CLASSES = {**OF_NUMBERS, "n_classes_": 3, "n_outputs_": 1, "target_type_": "multiclass"}


def relu(x):
    return np.maximum(x, 0)


def shaken(model):
    """Give every weight another value, so that none is zero or one."""
    rng = np.random.default_rng(0)
    values = [w + rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()]
    model.set_weights(values)
    return {f"{v.path.split('/')[-2]}/{v.name}": np.asarray(v) for v in model.variables}, values


@pytest.fixture
def rows():
    return np.random.default_rng(1).normal(size=(7, 3)).astype("float32")


def test_resnet_is_its_formula(rows):
    model = sf.models.resnet(OF_NUMBERS, width=4, depth=1, hidden_factor=2)
    _, (w, b, g, o, m, v, w1, b1, w2, b2, g2, o2, m2, v2, wp, bp) = shaken(model)
    x = rows @ w + b
    normed = (x - m) / np.sqrt(v + 1e-3) * g + o
    x = x + relu(normed @ w1 + b1) @ w2 + b2
    x = relu((x - m2) / np.sqrt(v2 + 1e-3) * g2 + o2)
    assert_allclose(model(rows), x @ wp + bp, rtol=1e-4, atol=1e-4)


def test_periodic_embeddings_are_their_formula(rows):
    model = sf.models.mlp_plr(OF_NUMBERS, width=4, depth=1, n_frequencies=5, embedding=2)
    frequencies = model.get_layer("frequencies").get_weights()[0]
    assert np.std(frequencies / (2 * math.pi)) == pytest.approx(0.05, rel=0.5)
    _, (c, w, b, w1, b1, wp, bp) = shaken(model)
    angles = rows[:, :, None] * c
    x = relu(np.concatenate([np.sin(angles), np.cos(angles)], axis=2) @ w + b).reshape(7, -1)
    assert_allclose(model(rows), relu(x @ w1 + b1) @ wp + bp, rtol=1e-4, atol=1e-4)


def test_members_share_matrices_and_nothing_else(rows):
    model = sf.models.tabm(OF_NUMBERS, n_members=3, width=4, depth=2)
    signs = model.get_layer("input_scales_0").get_weights()[0]
    assert set(np.unique(signs)) == {-1.0, 1.0}
    _, (r0, w0, s0, b0, r1, w1, s1, b1, wp, bp) = shaken(model)
    members = []
    for k in range(3):
        x = relu(rows * r0[k] @ w0 * s0[k] + b0[k])
        x = relu(x * r1[k] @ w1 * s1[k] + b1[k])
        members.append(x @ wp[k] + bp[k])
    assert_allclose(model(rows), np.concatenate(members, axis=1), rtol=1e-4, atol=1e-4)


def test_members_learn_by_themselves_and_predict_together(iris):
    X, y = iris
    settings = {"n_members": 4, "width": 8, "epochs": 3, "random_state": 0, "callbacks": None}
    network = sf.models.classifier(sf.models.tabm, validation_split=0.0, **settings).fit(X, y)
    logits = network.model_.predict(X, verbose=0).reshape(len(X), 4, 3).astype(float)
    members = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    assert_allclose(network.predict_proba(X), members.mean(axis=1), atol=1e-6)
    losses = [log_loss(y, members[:, k]) for k in range(4)]
    found = network.model_.evaluate(X, np.eye(3, dtype="float32")[y], verbose=0)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_members_of_regressions(diabetes):
    X, y = diabetes
    y = np.column_stack([y, -y]) / 100
    settings = {"n_members": 4, "width": 8, "epochs": 3, "random_state": 0, "callbacks": None}
    network = sf.models.regressor(sf.models.tabm, validation_split=0.0, **settings).fit(X, y)
    members = network.model_.predict(X, verbose=0).reshape(len(X), 4, 2)
    assert_allclose(network.predict(X), members.mean(axis=1), rtol=1e-5, atol=1e-5)
    found = network.model_.evaluate(X, y.astype("float32"), verbose=0)
    assert found == pytest.approx(np.mean((members - y[:, None]) ** 2), rel=1e-5)


@pytest.mark.parametrize("build", TABLE_BUILDERS)
def test_they_train_side_by_side_as_in_the_loop_and_export(iris, build, tmp_path):
    X, y = iris
    network = sf.models.classifier(build, width=8, epochs=4, random_state=0)
    stacks = {
        engine: sf.StackingClassifier(
            [("network", network)], LogisticRegression(), cv=3, engine=engine, random_state=0
        ).fit(X, y)
        for engine in ("sequential", "fused")
    }
    one, other = (stacks[engine].oof_.predictions for engine in ("sequential", "fused"))
    assert_allclose(other, one, atol=5e-5)
    paths = [tmp_path / f"stack{ending}" for ending in (".keras", ".onnx")]
    sf.export(stacks["fused"], paths)
    loaded = keras.models.load_model(paths[0])
    probabilities = loaded(X)["probabilities"]
    assert_allclose(probabilities, stacks["fused"].predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("build", TABLE_BUILDERS)
def test_they_learn_without_tuning(cancer, build):
    X, y = cancer
    network = sf.models.classifier(build, width=128, random_state=0).fit(X[:140], y[:140])
    plain = LogisticRegression(max_iter=1000).fit(X[:140], y[:140])
    assert network.score(X[140:], y[140:]) >= plain.score(X[140:], y[140:]) - 0.05
    X, y = load_diabetes(return_X_y=True)
    X *= 20
    network = TransformedTargetRegressor(
        sf.models.regressor(build, width=128, random_state=0), transformer=StandardScaler()
    ).fit(X[:340], y[:340])
    plain = Ridge().fit(X[:340], y[:340]).score(X[340:], y[340:])
    # Of 0.55 by a ridge regression these reach 0.40 (resnet) to 0.57; a network that stops after
    # one epoch reaches 0.2 to 0.3.
    assert network.score(X[340:], y[340:]) >= 0.6 * plain


def test_images_and_sequences():
    X, y = load_digits(return_X_y=True)
    images, y = X[:400].reshape(-1, 8, 8) / 16, y[:400]
    for build, epochs in ((sf.models.cnn, 20), (sf.models.rnn, 60)):
        network = sf.models.classifier(build, epochs=epochs, random_state=0)
        assert network.fit(images[:300], y[:300]).score(images[300:], y[300:]) > 0.6
        assert network.model_.input_shape == (None, 8, 8)
    one_channel = sf.models.cnn({**OF_CLASSES, "X_shape_": (9, 8, 8, 1)})
    assert one_channel.output_shape == (None, 3)
    assert sf.models.rnn({**OF_CLASSES, "X_shape_": (9, 8)}, depth=2).output_shape == (None, 3)


def test_labels_get_a_sigmoid_each():
    labels = {**OF_CLASSES, "n_classes_": 2, "n_outputs_": 3}
    labels["target_type_"] = "multilabel-indicator"
    model = sf.models.mlp(labels)
    assert model.layers[-1].activation is keras.activations.sigmoid
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (sf.models.mlp, {"X_shape_": (9, 8, 8)}, r"mlp reads a table, .* X has shape \(9, 8, 8\)"),
        (sf.models.resnet, {"X_shape_": {"a": (9, 2)}}, r"resnet reads .* the inputs \['a'\]"),
        (sf.models.cnn, {"X_shape_": (9, 8)}, r"cnn reads images, .* X has shape \(9, 8\)"),
        (sf.models.rnn, {"X_shape_": (9, 8, 8, 3)}, "rnn reads sequences"),
        (sf.models.tabm, {"target_type_": "multilabel-indicator"}, "holds several labels"),
        (
            sf.models.mlp,
            {"target_type_": "multiclass-multioutput", "n_classes_": [2, 3]},
            "several columns of classes",
        ),
    ],
)
def test_what_they_cannot_read_is_refused(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build({**OF_CLASSES, **changes})


@pytest.mark.parametrize(("n_rows", "first"), [(150, 10), (1500, 1)])
def test_no_epoch_before_20_steps_is_kept(iris, n_rows, first):
    """Of 150 rows 127 are trained on, in 2 steps an epoch; of 1,500 in 20 steps."""
    X, y = (np.tile(table, (n_rows // 150, *[1] * (table.ndim - 1))) for table in iris)
    stop = keras.callbacks.EarlyStopping(
        patience=10, restore_best_weights=True, start_from_epoch=first
    )
    settings = {"width": 8, "epochs": first + 2, "optimizer__learning_rate": 0.5, "random_state": 1}
    ours = sf.models.classifier(sf.models.mlp, **settings).fit(X, y)
    theirs = sf.models.classifier(sf.models.mlp, callbacks=[stop], **settings).fit(X, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=0)
