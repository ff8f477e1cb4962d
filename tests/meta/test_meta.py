import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

import stackfuse as sf
from stackfuse._fusion.strategies import FUSIONS
from stackfuse._networks.holdout import hold_out
from stackfuse._oof.prediction_columns import Column


def test_the_dense_head_without_hidden_layers_is_a_softmax_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(400, 3))).argmax(axis=1)
    head = sf.FusionClassifier(validation_split=0, random_state=0).fit(X, y)
    wanted = LogisticRegression(C=1e6).fit(X, y)
    assert_allclose(head.predict_proba(X), wanted.predict_proba(X), atol=0.06)
    loss = log_loss(y, wanted.predict_proba(X))
    assert log_loss(y, head.predict_proba(X)) == pytest.approx(loss, abs=1e-3)


def test_the_regression_head_finds_the_least_squares_solution():
    rng = np.random.default_rng(0)
    X = rng.normal(1000, 50, size=(300, 3))
    y = X @ [0.5, 0.3, 0.2] + 10 + rng.normal(size=300)
    head = sf.FusionRegressor(validation_split=0, random_state=0).fit(X, y)
    assert_allclose(head.predict(X), LinearRegression().fit(X, y).predict(X), rtol=1e-3)


def test_all_arithmetic_is_in_float64(iris):
    X, y = iris
    head = sf.FusionClassifier(hidden_units=(4,), epochs=2, random_state=0).fit(X, y)
    assert {str(weight.dtype) for weight in head.model_.weights} == {"float64"}
    shifted = X + 1e-12  # below the resolution of float32
    assert (head.predict_proba(shifted) != head.predict_proba(X)).any()


def test_epochs_by_default_make_a_thousand_steps(iris):
    X, y = iris
    head = sf.FusionClassifier(batch_size=75, random_state=0).fit(X, y)
    assert len(head.history_["loss"]) == 500
    assert len(clone(head).set_params(epochs=3).fit(X, y).history_["loss"]) == 3


def test_hidden_units_solve_what_a_linear_head_cannot():
    X = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    linear = sf.FusionClassifier(random_state=0).fit(X, y)
    hidden = sf.FusionClassifier(hidden_units=(16,), random_state=0).fit(X, y)
    assert linear.score(X, y) < 0.7
    assert hidden.score(X, y) > 0.95


def test_multilabel(iris):
    X, y = iris
    Y = np.eye(3, dtype=int)[y]
    head = sf.FusionClassifier(random_state=0).fit(X, Y)
    assert_array_equal(head.predict(X).shape, Y.shape)
    assert (head.predict(X) == Y).mean() > 0.8


def test_wrong_parameters(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"fusion must be 'dense', .*, got 'densest'"):
        sf.FusionClassifier("densest").fit(X, y)
    with pytest.raises(ValueError, match=r"a table with two axes, but X has shape \(150, 2, 2\)"):
        sf.FusionClassifier().fit(X.reshape(150, 2, 2), y)


def test_the_target_keeps_its_precision():
    X = np.arange(200.0)[:, None]
    head = sf.FusionRegressor(validation_split=0, random_state=0).fit(
        X, 1e9 + X[:, 0]
    )  # float32 steps by 64 here
    assert_allclose(head.predict(X) - 1e9, X[:, 0], atol=3)


# ---------------------------------------------------------------------------- strategies


def chances(n_rows=300, n_classes=3, n_models=3, seed=0):
    """Return what some bases say; shape (n_rows, n_models, n_classes)."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_classes), size=(n_rows, n_models))


def normalized(table):
    return table / table.sum(axis=1, keepdims=True)


FORMULAS = {
    "average": lambda said: said.mean(axis=1),
    "add": lambda said: normalized(said.sum(axis=1)),
    "maximum": lambda said: normalized(said.max(axis=1)),
    "multiply": lambda said: normalized(said.prod(axis=1)),
}


@pytest.mark.parametrize("fusion", FORMULAS)
def test_what_learns_nothing_is_its_formula(fusion):
    said = chances()
    y = said[:, 0].argmax(axis=1)
    head = sf.FusionClassifier(fusion).fit(said.reshape(len(y), -1), y)
    got = head.predict_proba(said.reshape(len(y), -1))
    assert_allclose(got, FORMULAS[fusion](said), atol=1e-12)
    assert head.history_ == {}
    labels = sf.FusionClassifier(fusion).fit(said[:, :, 1], said[:, 0, 1] > 0.5)
    two = np.stack([1 - said[:, :, 1], said[:, :, 1]], axis=2)
    assert_allclose(labels.predict_proba(said[:, :, 1]), FORMULAS[fusion](two), atol=1e-12)
    several = sf.FusionClassifier(fusion).fit(said.reshape(len(y), -1), np.eye(3, dtype=int)[y])
    each = [FORMULAS[fusion](np.stack([1 - said[..., j], said[..., j]], axis=2)) for j in range(3)]
    got = several.predict_proba(said.reshape(len(y), -1))
    assert_allclose(got, np.column_stack([p[:, 1] for p in each]), atol=1e-12)


@pytest.mark.parametrize(("fusion", "link"), [("weighted", "identity"), ("geometric", "logit")])
def test_learned_weights_are_those_of_the_convex_optimum(fusion, link):
    said = chances(2000)
    blend = np.einsum("nkc,k->nc", said, [0.6, 0.4, 0.0])
    rng = np.random.default_rng(1)
    y = (blend.cumsum(axis=1) < rng.uniform(size=(2000, 1))).sum(axis=1)
    X = said.reshape(2000, -1)
    head = sf.FusionClassifier(fusion, epochs=40, validation_split=0, random_state=0).fit(X, y)
    wanted = sf.ConvexClassifier(link=link).fit(X, y)
    assert_allclose(head.weights_, wanted.weights_, atol=0.04)
    assert_allclose(head.predict_proba(X), wanted.predict_proba(X), atol=0.03)


def test_forecasts_are_combined_on_their_own_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(1e4, 50, size=(400, 3))
    y = X @ [0.7, 0.3, 0.0] + rng.normal(size=400)
    assert_allclose(sf.FusionRegressor("average").fit(X, y).predict(X), X.mean(axis=1))
    assert_allclose(sf.FusionRegressor("maximum").fit(X, y).predict(X), X.max(axis=1))
    quick = {"learning_rate": 0.05, "epochs": 40, "validation_split": 0, "random_state": 0}
    head = sf.FusionRegressor("weighted", **quick).fit(X, y)
    assert_allclose(head.weights_, [0.7, 0.3, 0.0], atol=0.06)
    for fusion, least in [("add", 0.5), ("multiply", 0.5), ("bilinear", 0.0), ("concat", 0.95)]:
        score = sf.FusionRegressor(fusion, **quick).fit(X, y).score(X, y)
        assert score > least, (fusion, score)


@pytest.mark.parametrize("classes", [True, False], ids=["classes", "numbers"])
def test_attention_beats_any_fixed_weights_where_the_truth_switches(classes):
    """Of two bases one is right where the passed-through column is positive, one elsewhere."""
    rng = np.random.default_rng(0)
    n_rows = 1000
    where, y = rng.normal(size=n_rows), rng.integers(0, 2, n_rows).astype(float)
    right, wrong = np.where(y == 1, 0.8, 0.2), rng.uniform(size=n_rows)
    said = np.column_stack([right, wrong])
    said = np.where((where > 0)[:, None], said, said[:, ::-1])
    columns = [Column(name, "predict_proba" if classes else "predict", 1) for name in "ab"]
    columns.append(Column("X", "passthrough", 0))
    kind = sf.FusionClassifier if classes else sf.FusionRegressor
    head = kind("attention", columns=columns, learning_rate=0.05, epochs=60, random_state=0)
    head.fit(np.column_stack([said, where])[:500], y[:500])
    table = np.column_stack([said, where])[500:]
    got = head.predict_proba(table)[:, 1] if classes else head.predict(table)
    grid = np.linspace(0, 1, 51)
    fixed = [w * said[500:, 0] + (1 - w) * said[500:, 1] for w in grid]
    loss = log_loss if classes else mean_squared_error
    assert loss(y[500:], got) < 0.75 * min(loss(y[500:], p) for p in fixed)


def test_training_stops_on_rows_of_its_own():
    said = chances(400)
    y = said[:, 0].argmax(axis=1)
    X = said.reshape(400, -1)
    head = sf.FusionClassifier(hidden_units=(64,), epochs=300, learning_rate=0.1, random_state=0)
    history = head.fit(X, y).history_
    assert len(history["val_loss"]) < 300
    _, held_out = hold_out(400, 0.1, head._fitted.run_seed % 2**32, y, None)
    found = log_loss(y[held_out], head.predict_proba(X[held_out]))
    assert found == pytest.approx(min(history["val_loss"]), rel=1e-5)  # Keras reports float32
    patient = clone(head).set_params(patience=1).fit(X, y)
    assert len(patient.history_["loss"]) < len(history["loss"])
    assert "val_loss" not in clone(head).set_params(epochs=1).fit(X[:150], y[:150]).history_


def test_a_stack_tells_a_head_its_columns(iris):
    X, y = iris
    bases = [("nb", GaussianNB()), ("svm", LinearSVC(random_state=0))]
    stack = sf.StackingClassifier(bases, sf.FusionClassifier("average"), cv=3).fit(X, y)
    calibrated = sf.BestClassifier(columns=stack.oof_.columns).fit(stack.oof_.predictions, y)
    wanted = calibrated._base_predictions(stack.transform(X), range(2)).mean(axis=1)
    assert_allclose(stack.predict_proba(X), wanted, atol=1e-9)
    head = sf.FusionClassifier("gated", epochs=3, random_state=0)
    stack = sf.StackingClassifier(bases, head, cv=3, passthrough=[0, 1]).fit(X, y)
    assert stack.final_estimator_.model_.input_shape == (None, 8)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", [sf.FusionClassifier, sf.FusionRegressor])
def test_every_strategy_is_exported(kind, fusion, iris, tmp_path):
    X, y = iris
    if kind is sf.FusionClassifier:
        head = kind(fusion, epochs=1, random_state=0)
        stack = sf.StackingClassifier(
            [("lr", LogisticRegression()), ("svm", LinearSVC())], head, cv=2
        )
    else:
        y, head = X[:, 0] + 9, kind(fusion, epochs=1, random_state=0)
        stack = sf.StackingRegressor([("a", Ridge()), ("b", Ridge(1e3))], head, cv=2)
    graph = sf.to_keras(stack.fit(X, y))(X)
    if kind is sf.FusionClassifier:
        assert_allclose(graph["probabilities"], stack.predict_proba(X), atol=1e-12)
        assert_array_equal(graph["label"], stack.predict(X))
    else:
        assert_allclose(graph["prediction"], stack.predict(X), rtol=1e-12)


@pytest.mark.parametrize("fusion", ["weighted", "geometric", "attention", "gated"])
def test_of_one_base_there_is_nothing_to_learn(fusion):
    said = chances(n_models=1)[:, 0]
    head = sf.FusionClassifier(fusion).fit(said, said.argmax(axis=1))
    assert_allclose(head.predict_proba(said), said, atol=1e-12)
    if hasattr(head, "weights_"):
        assert_array_equal(head.weights_, [1])


def test_what_strategies_refuse():
    X, y = chances()[:, :, 1], np.arange(300) % 2
    passed = [Column("a", "predict_proba", 1), *[Column("X", "passthrough", j) for j in range(2)]]
    for head, message in [
        (sf.FusionClassifier("average", hidden_units=(4,)), "'average' has no hidden layers, got"),
        (sf.FusionClassifier(hidden_units=4), r"use hidden_units=\(4,\)"),
        (sf.FusionClassifier("weighted", columns=passed), "2 columns of X are passed through"),
        (sf.FusionClassifier("bilinear", columns=passed[:1] * 3), "multiplies two bases, but X h"),
        (sf.FusionClassifier(patience=0), "patience must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            head.fit(X, y)
    with pytest.raises(ValueError, match=r"needs positive predictions, but X holds -0\.5"):
        sf.FusionRegressor("geometric").fit(X - X.min() - 0.5, y)
    with pytest.raises(ValueError, match="3 columns, which is not a multiple of the 4 classes"):
        sf.FusionClassifier("average").fit(X, np.arange(300) % 4)
    assert not hasattr(sf.FusionClassifier("dense"), "weights_")
