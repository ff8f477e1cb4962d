"""Random stacks, and what they have found."""

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from random_stacks import TASKS, Draw, draw, outcome_of, tally

#: How many stacks are tried, and which comes first; `make random-stacks` tries 500.
N_STACKS = int(os.environ.get("STACKFUSE_RANDOM_STACKS", "40"))
FIRST = int(os.environ.get("STACKFUSE_FIRST_SEED", "0"))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_each_agrees_or_is_refused(part):
    """Each stack either exports and agrees, or is refused: there is no third outcome."""
    n_each = -(-N_STACKS // 4)
    n_wrong, text = tally(n_each, FIRST + part * n_each)
    assert n_wrong == 0, text


def test_a_seed_draws_one_stack():
    for seed in range(10):
        first, again = draw(seed), draw(seed)
        assert str(first.estimator) == str(again.estimator)
        assert_array_equal(np.asarray(first.X), np.asarray(again.X))
        assert_array_equal(first.y, again.y)
        assert first.task == TASKS[seed % 5]
    assert Draw(3).of(range(1000)) == Draw(3).of(range(1000))


def test_a_graph_that_is_bent_is_noticed(tmp_path, monkeypatch):
    """The comparison can fail: a converter that is off by little is a third outcome."""
    from stackfuse.export import _graph

    run = _graph.run
    monkeypatch.setattr(_graph, "run", lambda *a: {name: y + 1e-4 for name, y in run(*a).items()})
    drawn = next(d for d in map(draw, range(100)) if d.task == "regression")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        outcome_of(drawn, tmp_path)
