import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss

import stackfuse as sf


def test_the_dense_head_without_hidden_layers_is_a_softmax_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(400, 3))).argmax(axis=1)
    head = sf.FusionClassifier(random_state=0).fit(X, y)
    wanted = LogisticRegression(C=1e6).fit(X, y)
    assert_allclose(head.predict_proba(X), wanted.predict_proba(X), atol=0.06)
    loss = log_loss(y, wanted.predict_proba(X))
    assert log_loss(y, head.predict_proba(X)) == pytest.approx(loss, abs=1e-3)


def test_the_regression_head_finds_the_least_squares_solution():
    rng = np.random.default_rng(0)
    X = rng.normal(1000, 50, size=(300, 3))
    y = X @ [0.5, 0.3, 0.2] + 10 + rng.normal(size=300)
    head = sf.FusionRegressor(random_state=0).fit(X, y)
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
    with pytest.raises(ValueError, match=r"a table with two axes; X has shape \(150, 2, 2\)"):
        sf.FusionClassifier().fit(X.reshape(150, 2, 2), y)


def test_the_target_keeps_its_precision():
    X = np.arange(200.0)[:, None]
    head = sf.FusionRegressor(random_state=0).fit(X, 1e9 + X[:, 0])  # float32 steps by 64 here
    assert_allclose(head.predict(X) - 1e9, X[:, 0], atol=3)
