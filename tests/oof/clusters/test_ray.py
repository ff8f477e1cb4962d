"""Fits on two workers of a Ray that is really there."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeRegressor

import stackfuse as sf
from stackfuse._core import errors
from tests.oof.clusters import faults

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

OPTIONS = {
    "include_dashboard": False,
    "log_to_driver": False,
    "logging_level": "ERROR",
    "object_store_memory": 100 * 2**20,
}


@contextmanager
def ray_of(n_processors):
    """Start Ray, and stop it."""
    ray.init(num_cpus=n_processors, **OPTIONS)
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def running():
    with ray_of(2):
        yield


def test_without_ray_it_is_told_at_once():
    with pytest.raises(ValueError, match=r"ray.init\(address\)"):
        faults.engine_of("ray")


@pytest.mark.clusters
def test_without_a_worker_it_is_told_within_seconds():
    faults.stack_of([("lr", LinearRegression())], "sequential")  # imports what it needs
    with ray_of(0):
        start = time.monotonic()
        with pytest.raises(errors.EngineFailed, match="no worker for 5 seconds"):
            faults.stack_of([("lr", LinearRegression())], "ray", on_error="drop")
        assert time.monotonic() - start < 10


@pytest.mark.clusters
def test_the_engine_computes_what_it_must(running):
    sf.testing.check_engine(faults.engine_of("ray"))


@pytest.mark.clusters
def test_numbers_are_those_of_the_loop(running):
    faults.check_equal_numbers("ray")


@pytest.mark.clusters
def test_data_go_to_the_store_once_and_are_found_again(running, monkeypatch):
    assert faults.count_sent("ray", monkeypatch, ray, "put") == [1, 0, 1]


@pytest.mark.clusters
def test_what_parallel_config_names_is_used(running):
    from ray.util.joblib import register_ray

    register_ray()
    bases = [("net", sf.KerasRegressor(faults.build_regressor, epochs=2))]
    bases += [("tree", DecisionTreeRegressor(max_depth=3))]
    with joblib.parallel_config("ray", n_jobs=2):
        there = faults.stack_of(bases, "auto")
    how = "2 at a time by joblib's RayBackend"
    assert there.engine_ == {"net": how, "tree": how}
    with joblib.parallel_config("ray"):  # one at a time is none for Ray, as in scikit-learn
        here = faults.stack_of(bases[1:], "auto")
    assert here.engine_ == {"tree": "one by one"}
    assert_array_equal(there.oof_.predictions[:, 1], here.oof_.predictions[:, 0])


def search_over_stacks(engine):
    bases = [("tree", DecisionTreeRegressor(max_features=2)), ("lr", LinearRegression())]
    stack = sf.StackingRegressor(bases, cv=2, random_state=0, engine=engine)
    return GridSearchCV(stack, {"tree__max_depth": [2, 3]}, cv=2, error_score="raise")


@pytest.mark.clusters
def test_searches_of_scikit_learn_over_stacks(running):
    from ray.util.joblib import register_ray

    register_ray()
    here = search_over_stacks("sequential").fit(faults.X, faults.Y)
    found = [search_over_stacks("ray").fit(faults.X, faults.Y)]  # one candidate after another
    with joblib.parallel_config("ray", n_jobs=2):
        found += [search_over_stacks(engine).fit(faults.X, faults.Y) for engine in ("auto", "ray")]
    for there in found:
        for name in ("mean_test_score", "params"):
            assert_array_equal(there.cv_results_[name], here.cv_results_[name])
        assert_array_equal(there.predict(faults.X), here.predict(faults.X))


@pytest.mark.clusters
def test_searches_over_networks(running):
    from ray.util.joblib import register_ray

    def search(kind=sf.GridSearchCV, **options):
        net = sf.KerasRegressor(faults.build_regressor, epochs=2, random_state=0)
        return kind(net, {"model__units": [4, 8]}, cv=2, error_score="raise", **options)

    register_ray()
    here = search(GridSearchCV).fit(faults.X, faults.Y)
    found = [search(engine="ray").fit(faults.X, faults.Y)]
    with joblib.parallel_config("ray", n_jobs=2):
        found += [search(kind).fit(faults.X, faults.Y) for kind in (GridSearchCV, sf.GridSearchCV)]
    for there in found:
        assert there.best_params_ == here.best_params_
        scores = [search.cv_results_["mean_test_score"] for search in (there, here)]
        assert_allclose(*scores, rtol=1e-5)
    with pytest.raises(ValueError, match="engine='ray'"):
        sf.GridSearchCV(LinearRegression(), {"fit_intercept": [True]}, engine="ray").fit(
            faults.X, faults.Y
        )


@pytest.mark.clusters
def test_a_killed_worker_costs_one_fit(running, tmp_path):
    faults.check_killed_worker("ray", tmp_path)


@pytest.mark.clusters
def test_a_base_that_kills_its_workers_loses_no_other(running, tmp_path):
    faults.check_kept("ray", tmp_path)


@pytest.mark.clusters
def test_more_than_the_memory_of_a_node_is_told(running):
    stack = sf.StackingRegressor([("lr", LinearRegression())], cv=3, engine="ray")
    with pytest.raises(errors.EngineFailed, match="data take 200 MiB, but worker"):
        stack.fit(np.zeros((100, 2**18)), np.arange(100.0))


@pytest.mark.clusters
def test_a_head_that_is_gone_is_told_and_what_is_kept_stays(tmp_path):
    code = f"""
import threading, time
from contextlib import suppress
from pathlib import Path
import psutil, ray
from stackfuse._core import errors
from tests.oof.clusters import faults
from tests.oof.clusters.bases import Base, lines_of

ray.init(num_cpus=1, **{OPTIONS!r})
folder = Path({str(tmp_path)!r})

family = []

def kill():
    while not (folder / "slow").exists() or len(lines_of(folder / "log")) < 4:
        time.sleep(0.05)
    time.sleep(1)
    family.extend(psutil.Process().children(recursive=True))
    for process in family:
        if "gcs_server" in process.name():
            process.kill()

threading.Thread(target=kill, daemon=True).start()
bases = [("quick", Base(folder / "log")), ("slow", Base(folder / "slow", seconds=3))]
try:
    faults.stack_of(bases, "ray", memory=folder)
except errors.EngineFailed as error:
    print(error, flush=True)
ray.shutdown()
for process in family:  # parts of Ray that would end by themselves in a minute
    with suppress(psutil.NoSuchProcess):
        process.kill()
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "The head of Ray is gone" in done.stdout, done.stderr
    assert len(list(tmp_path.rglob("done.json"))) >= 4
