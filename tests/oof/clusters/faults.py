"""Trials for both kinds of clusters; each function takes the name of the engine."""

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

import stackfuse as sf
from stackfuse._oof.engines import engine_named
from stackfuse._oof.engines.clusters.parcels import LARGE
from tests.oof.clusters.bases import Base, lines_of
from tests.support.networks import build_regressor

Y = np.random.default_rng(1).normal(size=150)
X = np.random.default_rng(0).normal(size=(150, 4)) + Y[:, None]


def stack_of(bases, engine, **options):
    """Return a stack that is fitted on X and Y."""
    stack = sf.StackingRegressor(bases, cv=3, random_state=0, engine=engine, **options)
    return stack.fit(X, Y)


def check_equal_numbers(engine):
    """Networks and trees are fitted to the bit as by the loop, all bases at the same time."""
    net = sf.KerasRegressor(build_regressor, epochs=2, optimizer="adafactor")  # never side by side
    bases = [("net", net), ("tree", DecisionTreeRegressor(max_depth=3, max_features=2))]
    there, here = stack_of(bases, engine), stack_of(bases, "sequential")
    assert_array_equal(there.oof_.predictions, here.oof_.predictions)
    assert_array_equal(there.predict(X), here.predict(X))
    assert there.oof_.histories == here.oof_.histories
    title = engine.title()
    assert there.engine_ == dict.fromkeys(
        ["net", "tree"], f"by {title} on 2 workers, 4 fits in 4 jobs"
    )


def check_kept(engine, folder):
    """A fit is found by the next that runs on workers alike; a base that fails loses no other."""
    bases = [("one", LinearRegression()), ("two", Base(folder / "log", dies="always"))]
    with pytest.warns(UserWarning, match="'two' failed and is dropped"):
        stack = stack_of(bases, engine, memory=folder, on_error="drop")
    assert list(stack.failures_) == ["two"]
    assert "killed, one after another" in stack.failures_["two"]
    again = stack_of(bases[:1], engine, memory=folder)
    assert again.engine_ == {"one": "from memory"}
    assert_array_equal(again.oof_.predictions, stack.oof_.predictions)


def check_killed_worker(engine, folder):
    """Jobs of a killed worker run elsewhere, with the same numbers, and no other job runs again."""
    bases = [("base", Base(folder / "log", seconds=0.3, dies="once"))]
    there = stack_of(bases, engine)
    lines = [line.split() for line in lines_of(folder / "log")]
    assert [n for n, _ in lines].count("150") == 2
    assert len(lines) <= 5 + 1  # the other worker's job may have been waiting on the dead one
    assert str(os.getpid()) not in {process for _, process in lines}
    here = stack_of([("base", Base(folder / "here"))], "sequential")
    assert_array_equal(there.oof_.predictions, here.oof_.predictions)
    assert_array_equal(there.predict(X), here.predict(X))


def count_sent(engine, monkeypatch, place, name) -> list[int]:
    """Return how many arrays each of three fits brings to the workers, the last of other rows."""
    sent = []
    send = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *a, **k: sent.append(1) or send(*a, **k))
    counts = []
    rows = np.random.default_rng(0).normal(size=(1 + LARGE // 64, 8))
    for table in (rows, rows.copy(), rows + 1):
        sent.clear()
        bases = [("one", LinearRegression()), ("two", DecisionTreeRegressor(max_depth=2))]
        stack = sf.StackingRegressor(bases, cv=3, random_state=0, engine=engine)
        stack.fit(table, rows[:, 0])
        counts.append(len(sent))
    return counts


def engine_of(name):
    """Return an engine by its name."""
    return engine_named(name)
