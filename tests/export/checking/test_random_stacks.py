"""Random stacks, and what they have found."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import ClassifierChain
from sklearn.semi_supervised import LabelPropagation
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

import stackfuse as sf
from stackfuse._export.checking import answers
from tests.support.last_digits import answering_by_graphs
from tests.support.networks import build_classifier, build_sigmoid
from tests.support.parity import assert_parity
from tests.support.random_stacks import TASKS, Drawn, draw, outcome_of, tally


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_each_agrees_or_is_refused(first):
    """There is no third outcome; `make random-stacks` tries 500."""
    n_wrong, text = tally(10, first)
    assert n_wrong == 0, text
    assert "agrees to" not in text  # these are exact, or narrow


def test_the_script_converts():
    """In a process of its own, where no test has loaded the converters before."""
    command = [sys.executable, "-m", "tests.support.random_stacks", "1", "1116"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "{'agrees': 1}" in done.stdout, done.stdout + done.stderr


def test_a_seed_draws_one_stack():
    for seed in range(10):
        first, again = draw(seed), draw(seed)
        assert str(first.estimator) == str(again.estimator)
        pd.testing.assert_frame_equal(pd.DataFrame(first.X), pd.DataFrame(again.X))
        assert_array_equal(first.y, again.y)
        assert first.task == TASKS[seed % 5]
    assert len({str(draw(seed).estimator) for seed in range(20)}) == 20


def drawn_by_hand(task, bases, final, X, y):
    stack = sf.StackingRegressor if task == "regression" else sf.StackingClassifier
    estimator = stack(bases, final, cv=3, random_state=0)
    return Drawn(0, task, estimator, X[::2], y[::2], X[1::2], "float64", None)


def off_by(share, monkeypatch):
    """Let all graphs return numbers that are off by a share of them."""
    run = answers.run_in_batches
    monkeypatch.setattr(
        answers, "run_in_batches", lambda *a: {k: y * (1 + share) for k, y in run(*a).items()}
    )


def test_a_graph_that_is_off_by_little_is_noticed(diabetes, tmp_path, monkeypatch):
    drawn = drawn_by_hand("regression", [("tree", DecisionTreeRegressor())], Ridge(), *diabetes)
    outcome = outcome_of(drawn, tmp_path)
    assert (outcome.kind, outcome.exact) == ("agrees", True)
    off_by(1e-8, monkeypatch)
    with pytest.raises(AssertionError, match="the stack moves only"):
        outcome_of(drawn, tmp_path)


def test_float32_is_to_blame_only_where_all_else_is_exact(iris, tmp_path, monkeypatch):
    X, y = iris
    twice = [(name, XGBClassifier(n_estimators=4, max_depth=3, random_state=0)) for name in "ab"]
    singular = LinearDiscriminantAnalysis(solver="lsqr")
    outcome = outcome_of(drawn_by_hand("multiclass", twice, singular, X, y), tmp_path)
    assert (outcome.kind, outcome.exact) == ("refused", False)
    assert outcome.reason.startswith("float32 has too few digits")
    off_by(1e-4, monkeypatch)
    regular = drawn_by_hand("multiclass", twice[:1], LogisticRegression(), X, y)
    with pytest.raises(AssertionError, match="the stack moves only"):
        outcome_of(regular, tmp_path)


def test_a_network_that_its_graph_is_far_from_is_to_blame(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, epochs=1, random_state=0).fit(X, y)
    with answering_by_graphs(network):
        assert_allclose(network.predict_proba(X), network.predict_proba(X), rtol=1e-6)
        network.model_.set_weights([w + 0.01 for w in network.model_.get_weights()])
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            network.predict_proba(X)


@pytest.mark.parametrize(("size", "kind"), [(1.0, "refused"), (0.2, "agrees to 1e-5")])
def test_what_moves_by_itself_is_not_exact(diabetes, size, kind, tmp_path):
    X, y = diabetes
    bases = [("ridge", Ridge(0.1)), ("tree", DecisionTreeRegressor(max_depth=3))]
    process = GaussianProcessRegressor(DotProduct() ** 2, alpha=0.1, optimizer=None)
    outcome = outcome_of(drawn_by_hand("regression", bases, process, X, size * y), tmp_path)
    assert (outcome.kind, "last digits of its parts" in outcome.reason) == (kind, True)


# ---------------------------------------------------------------------------- what was found


def test_stacks_whose_meta_learner_predicts_labels_as_floats(iris, tmp_path):
    X, y = iris
    Y = np.column_stack([y == 0, X[:, 0] > 0]).astype(int)
    final = ClassifierChain(LogisticRegression())
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    stack = sf.StackingClassifier([("tree", tree)], final, cv=2, random_state=0).fit(X, Y)
    wanted = stack.final_estimator_.predict(stack.transform(X))
    assert wanted.dtype.kind == "f"
    assert_array_equal(stack.predict(X), wanted)
    assert stack.predict(X).dtype.kind == "i"
    assert_parity([stack], X, tmp_path / "stack.keras", 1e-12)


@pytest.mark.parametrize(
    ("build", "settings", "n_classes"),
    [
        (build_classifier, {}, 3),
        (build_classifier, {"logits": True}, 2),
        (build_classifier, {}, 2),
        (build_sigmoid, {}, 2),
        (build_sigmoid, {"logits": True}, 2),
    ],
)
def test_log_odds_of_networks(iris, build, settings, n_classes):
    X, y = iris
    X, y = X[y < n_classes], y[y < n_classes]
    network = sf.KerasClassifier(build, epochs=2, random_state=0, **settings).fit(X, y)
    x, decision = _decision_of(network, X)
    import keras

    got = np.asarray(keras.Model(x, decision)(X))
    assert_allclose(got, network.decision_function(X), rtol=1e-4, atol=1e-5)
    p = network.predict_proba(X)
    if n_classes == 2:
        assert_allclose(got, np.log(p[:, 1] / p[:, 0]), atol=1e-4)


def _decision_of(network, X):
    import keras

    x = keras.Input(X.shape[1:], dtype="float64")
    return x, sf.convert(network, x, "decision_function")


def test_calibrated_networks(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    model = CalibratedClassifierCV(network, cv=2).fit(X, y)
    assert_allclose(sf.to_keras(model)(X)["probabilities"], model.predict_proba(X), atol=1e-5)


def test_kernels_that_vanish_in_float32_are_refused(iris):
    X, y = iris
    model = LabelPropagation(gamma=20).fit(X, y)
    with pytest.raises(sf.NotConvertible, match="too small for float32: use precision='float64'"):
        sf.to_keras(model, precision="float32")
    far = X[:5] + 2.5  # exp(-20 * 2.5**2 * 4) is no float32
    assert np.isfinite(model.predict_proba(far)).all()
    assert_allclose(sf.to_keras(model)(far)["probabilities"], model.predict_proba(far), atol=1e-9)
