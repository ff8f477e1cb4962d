"""A limit of time: what is finished is whole, and what is not is named."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from tests.support.networks import build_classifier

LR = ("lr", LogisticRegression(max_iter=1000))
TREE = ("tree", DecisionTreeClassifier())
FOREST = ("forest", RandomForestClassifier(5))


class Slow(GaussianNB):
    """Takes some seconds for every fit; tells in a folder which processes are at it."""

    def __init__(self, seconds=0.0, folder=None):
        super().__init__()
        self.seconds = seconds
        self.folder = folder

    def fit(self, X, y, sample_weight=None):
        if self.folder is not None:
            Path(self.folder, str(os.getpid())).touch()
        time.sleep(self.seconds)
        return super().fit(X, y, sample_weight)


def endless():
    return sf.KerasClassifier(build_classifier, epochs=10**6)


def stack_of(*bases, cv: Any = 3, **settings: Any):
    return sf.StackingClassifier(list(bases), cv=cv, random_state=0, **settings)


def assert_stacks_equal(stack, other, X):
    assert_array_equal(stack.oof_.predictions, other.oof_.predictions)
    assert_array_equal(stack.predict_proba(X), other.predict_proba(X))


def test_what_cannot_be_finished_is_skipped_and_named(iris):
    X, y = iris
    stack = stack_of(LR, FOREST, ("slow", Slow(1.5)), time_limit=5)
    why = r"2 of its 4 fits could be made within time_limit=5 s"
    with pytest.warns(UserWarning, match=rf"'slow' is left out: {why}\.$"):
        stack.fit(X, y)
    assert list(stack.failures_) == ["slow"]
    assert_stacks_equal(stack, stack_of(LR, FOREST).fit(X, y), X)
    assert list(stack.engine_) == ["lr", "forest"]
    facts = stack.report().facts
    assert facts is not None
    assert "slow" in str(facts.warnings)


def test_who_is_too_slow_leaves_its_time_to_the_next(iris):
    X, y = iris
    cv = KFold(60)
    stack = stack_of(("slow", Slow(1.0)), FOREST, time_limit=40, cv=cv)
    started = time.monotonic()
    with pytest.warns(UserWarning, match=r"'slow' is left out: 2 of its 61 fits"):
        stack.fit(X, y)
    assert time.monotonic() - started < 30
    assert_stacks_equal(stack, stack_of(FOREST, cv=cv).fit(X, y), X)


def test_a_base_that_hangs_is_ended_in_its_process(iris, tmp_path):
    X, y = iris
    hangs = ("hangs", Slow(3600, str(tmp_path)))
    alone = stack_of(FOREST, n_jobs=2).fit(X, y)  # starts the processes
    stack = stack_of(FOREST, hangs, n_jobs=2, time_limit=6)
    with pytest.warns(UserWarning, match=r"'hangs' is left out: 0 of its 4 fits could be made wi"):
        stack.fit(X, y)
    assert_stacks_equal(stack, alone, X)
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert started
    assert os.getpid() not in started
    assert not any(Path(f"/proc/{process}").exists() for process in started)


@pytest.mark.parametrize("engine", ["auto", "sequential"])
def test_networks_stop_at_the_next_epoch(iris, engine):
    X, y = iris
    stack = stack_of(FOREST, ("net", endless()), time_limit=4, engine=engine)
    started = time.monotonic()
    with pytest.warns(UserWarning, match=r"'net' is left out: 0 of its 4 fits could be made"):
        stack.fit(X, y)
    assert time.monotonic() - started < 30
    assert_stacks_equal(stack, stack_of(FOREST).fit(X, y), X)


def test_a_search_does_not_go_on_without_the_candidates_that_were_stopped(iris):
    X, y = iris
    search = GridSearchCV(endless(), {"epochs": [1, 10**6]}, cv=2, error_score=np.nan)
    stack = stack_of(FOREST, ("search", search), time_limit=5)
    with pytest.warns(UserWarning, match=r"'search' is left out: 0 of its 4 fits could be made"):
        stack.fit(X, y)
    assert list(stack.failures_) == ["search"]


def test_kept_fits_are_found_whatever_the_limit(iris, tmp_path):
    X, y = iris
    net = ("net", sf.KerasClassifier(build_classifier, epochs=2))
    whole = stack_of(FOREST, net, memory=tmp_path).fit(X, y)
    late = stack_of(FOREST, net, TREE, memory=tmp_path, time_limit=1e-6)
    with pytest.warns(UserWarning, match=r"'tree' is left out: 0 of .*=1e-06 s; what it finished"):
        late.fit(X, y)
    assert late.engine_ == {"forest": "from memory", "net": "from memory"}
    assert_stacks_equal(late, whole, X)


def test_what_was_finished_is_kept_for_the_next_run(iris, tmp_path):
    X, y = iris
    slow = ("slow", Slow(1.0))
    stack = stack_of(FOREST, slow, memory=tmp_path, time_limit=3)
    with pytest.warns(UserWarning, match=r"'slow' is left out: 2 of"):
        stack.fit(X, y)
    stack.fit(X, y)  # the other two
    assert stack.failures_ == {}
    assert_stacks_equal(stack, stack_of(FOREST, ("slow", Slow())).fit(X, y), X)


def test_if_nothing_is_finished_it_is_an_error(iris):
    X, y = iris
    stack = stack_of(LR, FOREST, time_limit=1e-6)
    told = (
        r"^No base estimator was finished in time, so there is nothing to stack\. lr: 0 of its 4 "
        r"fits could be made within time_limit=1e-06 s; forest: .*\. Give a larger time_limit, or "
    )
    with (
        pytest.warns(UserWarning, match="is left out"),
        pytest.raises(TimeoutError, match=told),
    ):
        stack.fit(X, y)
    assert not hasattr(stack, "final_estimator_")


def test_out_of_fold_within_a_limit(iris):
    X, y = iris
    with pytest.warns(UserWarning, match=r"'slow' is left out: 2 of its 3 fits"):
        oof = sf.out_of_fold(
            [FOREST, ("slow", Slow(2.0))], X, y, cv=3, random_state=0, time_limit=5
        )
    alone = sf.out_of_fold([FOREST], X, y, cv=3, random_state=0)
    assert_array_equal(oof.predictions, alone.predictions)


def test_a_stack_inside_follows_the_limit_around_it(iris):
    X, y = iris
    inner = stack_of(FOREST, ("net", endless()))
    stack = stack_of(FOREST, ("inner", inner), time_limit=4)
    with pytest.warns(UserWarning, match=r"'inner' is left out: 0 of its 4 fits"):
        stack.fit(X, y)
    assert_stacks_equal(stack, stack_of(FOREST).fit(X, y), X)


def test_a_stack_inside_may_have_a_limit_of_its_own(iris):
    X, y = iris
    inner = stack_of(FOREST, ("net", endless()), time_limit=3, cv=2)
    with pytest.warns(UserWarning, match="'net' is left out"):
        stack = stack_of(("inner", inner), cv=2).fit(X, y)
    assert stack.failures_ == {}
    assert list(stack.estimators_[0].failures_) == ["net"]


@pytest.mark.parametrize("limit", [0, -1, "10s", True, np.nan])
def test_a_limit_is_a_positive_number_of_seconds(iris, limit):
    with pytest.raises(ValueError, match="time_limit must be a positive number of seconds, or Non"):
        stack_of(LR, time_limit=limit).fit(*iris)


RUNS_OUT = """
import resource, sys, warnings
import numpy as np
from sklearn.naive_bayes import GaussianNB
import stackfuse as sf

class Large(GaussianNB):
    def fit(self, X, y):
        self.held_ = np.ones(250 * 2**17)  # 250 MiB
        return super().fit(X, y)

X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
stack = sf.StackingClassifier([("large", Large())], cv=4, refit=False)
sf.out_of_fold([("nb", GaussianNB())], X, y)  # imports what is needed
now = int(open("/proc/self/status").read().split("VmSize:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + 700 * 2**20,) * 2)
warnings.simplefilter("always")
stack.fit(X, y)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_told_before_memory_runs_out():
    environment = {**os.environ, "PYTHONPATH": str(Path(sf.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", RUNS_OUT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(
        r"Base estimator 'large' took (\d+)\.\d MiB of memory for its first fit. The other 3 fits "
        r"will take about (\d+)\.\d MiB, but (\d+)\.\d MiB are free\.",
        ran.stderr,
    )
    assert told is not None, ran.stderr
    took, needed, free = map(int, told.groups())
    assert abs(took - 250) < 25
    assert abs(needed - 750) < 75
    assert free < 500
    assert ran.stderr.index("'large' took") < ran.stderr.index("MemoryError")  # it does run out
