"""Random fits, and whether their check notices what is wrong."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from tests.support import random_fits
from tests.support.drawn_networks import DrawnNetwork, dropped, plain
from tests.support.plain_keras import Plain
from tests.support.random_fits import (
    TASKS,
    DrawnFit,
    check_refusal,
    draw,
    network_of,
    outcome_of,
    tally,
)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 60, 6))
def test_each_equals_the_loop_or_is_refused(first):
    """There is no third outcome; `make random-fits` tries 500."""
    n_wrong, text = tally(6, first)
    assert n_wrong == 0, text


def test_a_number_draws_one_fit(tmp_path):
    for number in range(10):
        first, again = draw(number, tmp_path), draw(number, tmp_path)
        assert first.in_words() == again.in_words()
        assert first.task == TASKS[number % 5]
        np.testing.assert_array_equal(first.y, again.y)
    assert len({draw(number, tmp_path).in_words() for number in range(20)}) == 20


def drawn_by_hand(builder=plain, **settings):
    """Return a fit of one network on two classes."""
    random = np.random.default_rng(0)
    network = DrawnNetwork({"model": builder, "epochs": 2, "batch_size": 16})
    bases = [("net", lambda ours: network_of(True, network, ours))]
    settings = {"cv": 2, "random_state": 0, **settings}
    X = random.normal(size=(40, 3))
    return DrawnFit(0, "binary", bases, "stack", X[:30], np.arange(30) % 2, X[30:], settings)


def test_a_fit_of_digits_that_are_off_is_noticed(tmp_path, monkeypatch):
    drawn = drawn_by_hand(dropped)
    outcome = outcome_of(drawn, tmp_path)
    assert (outcome.kind, outcome.reason) == ("equal", "")
    assert outcome.difference < 1e-6
    outputs = Plain.outputs
    monkeypatch.setattr(Plain, "outputs", lambda network, X: outputs(network, X) + 2e-4)
    with pytest.raises(AssertionError, match="out-of-fold predictions: off by 2"):
        outcome_of(drawn, tmp_path)


def test_another_seed_or_order_is_noticed(tmp_path, monkeypatch):
    drawn = drawn_by_hand()
    monkeypatch.setattr(random_fits, "_derived", lambda *path: 0)
    with pytest.raises(AssertionError, match="off by"):
        outcome_of(drawn, tmp_path)


def test_a_warning_is_noticed(tmp_path, monkeypatch):
    fit = sf.StackingClassifier.fit

    def warns(stack, *args, **params):
        import warnings

        warnings.warn("Mind the gap.", stacklevel=2)
        return fit(stack, *args, **params)

    monkeypatch.setattr(sf.StackingClassifier, "fit", warns)
    with pytest.raises(AssertionError, match="warns: UserWarning: Mind the gap"):
        outcome_of(drawn_by_hand(), tmp_path)


def test_a_refusal_comes_before_any_training(tmp_path):
    drawn = drawn_by_hand(engine="no engine")
    outcome = outcome_of(drawn, tmp_path)
    assert outcome.kind == "refused"
    assert outcome.reason.startswith("engine must be")
    network = drawn.bases
    drawn.bases = [*network, ("lr", lambda ours: LogisticRegression(C=-1.0))]
    drawn.settings.pop("engine")
    with pytest.raises(AssertionError, match="refused after 3 trainings"):
        outcome_of(drawn, tmp_path)


def refusal(message):
    """Return an error that somebody else than the package raises."""
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("Use three folds.", "refused by others"),
        ("First line.\nSecond line.", "refused in 2 lines"),
        ("x" * 401, "refused in 401 letters"),
        ("", "refused in 0 lines"),
    ],
)
def test_a_refusal_is_one_sentence_of_ours(message, wrong):
    with pytest.raises(AssertionError, match=wrong):
        check_refusal(refusal(message), 0)


def test_what_is_wrong_says_how_to_try_it_again(monkeypatch):
    def broken(number, folder):
        raise KeyError("broken")

    monkeypatch.setattr(random_fits, "draw", broken)
    n_wrong, text = tally(1, 17)
    assert n_wrong == 1
    assert "again: python -m tests.support.random_fits 1 17" in text
