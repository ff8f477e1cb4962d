"""Fits on two workers of Dask that are really there."""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeRegressor

import stackfuse as sf
from stackfuse._core import errors
from stackfuse._oof.engines.clusters import cluster
from tests.oof.clusters import faults
from tests.oof.clusters.bases import Base, lines_of

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")


@contextmanager
def cluster_of(n_workers, **settings):
    """Start workers and a client, and stop them."""
    options: Any = {
        "threads_per_worker": 1,
        "dashboard_address": ":0",
        "silence_logs": logging.CRITICAL,
    }
    with distributed.LocalCluster(n_workers=n_workers, **{**options, **settings}) as workers:
        with distributed.Client(workers) as client:
            yield client


@pytest.fixture(scope="module")
def client():
    with cluster_of(2) as client:
        yield client


def test_without_a_client_it_is_told_at_once():
    with pytest.raises(ValueError, match=r"distributed.Client\(address\)"):
        faults.engine_of("dask")


@pytest.mark.clusters
def test_the_engine_computes_what_it_must(client):
    sf.testing.check_engine(faults.engine_of("dask"))


def test_numbers_are_those_of_the_loop(client):
    faults.check_equal_numbers("dask")


@pytest.mark.clusters
def test_data_go_to_each_worker_once_and_are_found_again(client, monkeypatch):
    assert faults.count_sent("dask", monkeypatch, client, "scatter") == [1, 0, 1]
    holders = client.who_has()
    kept = [workers for key, workers in holders.items() if str(key).startswith("stackfuse-")]
    assert kept
    assert {len(workers) for workers in kept} == {2}


@pytest.mark.clusters
def test_what_parallel_config_names_is_used(client):
    bases = [("net", sf.KerasRegressor(faults.build_regressor, epochs=2))]
    bases += [("tree", DecisionTreeRegressor(max_depth=3))]
    with joblib.parallel_config("dask"):
        there = faults.stack_of(bases, "auto")
    how = "2 at a time by joblib's DaskDistributedBackend"
    assert there.engine_ == {"net": how, "tree": how}
    here = faults.stack_of(bases, "sequential")
    assert_array_equal(there.oof_.predictions, here.oof_.predictions)


@pytest.mark.clusters
def test_a_killed_worker_costs_one_fit(tmp_path):
    with cluster_of(2):  # its own: Dask does not start every killed worker again
        faults.check_killed_worker("dask", tmp_path)


@pytest.mark.clusters
def test_a_base_that_kills_its_workers_loses_no_other(tmp_path):
    with cluster_of(2):
        faults.check_kept("dask", tmp_path)


@pytest.mark.clusters
def test_a_cluster_within_a_job_is_refused(client):
    inner = sf.StackingRegressor([("lr", LinearRegression())], cv=2, engine="dask")
    with pytest.raises(ValueError, match="would wait for its own worker"):
        faults.stack_of([("inner", inner)], "dask")


@pytest.mark.clusters
def test_a_killed_client_keeps_what_is_done(client, tmp_path):
    bases = f"""[("quick", Base({str(tmp_path / "log")!r})),
                 ("slow", Base({str(tmp_path / "slow")!r}, seconds=60))]"""
    code = f"""
import distributed
from tests.oof.clusters.bases import Base
from tests.oof.clusters.faults import stack_of
client = distributed.Client({client.scheduler.address!r})
stack_of({bases}, "dask", memory={str(tmp_path)!r})
"""
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT})
    try:
        until(lambda: len(list(tmp_path.rglob("done.json"))) == 4)
    finally:
        other.kill()
        other.wait()
    stack = faults.stack_of([("quick", Base(str(tmp_path / "log")))], "dask", memory=tmp_path)
    assert stack.engine_ == {"quick": "from memory"}
    assert len(lines_of(tmp_path / "log")) == 4


@pytest.mark.clusters
def test_a_killed_client_loses_no_fit_of_a_network(client, tmp_path):
    code = f"""
import distributed
import stackfuse as sf
from tests.oof.clusters import faults
from tests.oof.clusters.pauses import Pause
client = distributed.Client({client.scheduler.address!r})
net = sf.KerasRegressor(faults.build_regressor, callbacks=[Pause({str(tmp_path)!r})])
faults.stack_of([("net", net)], "dask", memory={str(tmp_path)!r})
"""
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT})
    try:
        until((tmp_path / "begun").exists)
    finally:
        other.kill()
        other.wait()
    assert not list(tmp_path.rglob("done.json"))
    (tmp_path / "go").touch()
    until(lambda: list(tmp_path.rglob("done.json")))
    from tests.oof.clusters.pauses import Pause  # loads Keras

    net = sf.KerasRegressor(faults.build_regressor, callbacks=[Pause(str(tmp_path))])
    stack = faults.stack_of([("net", net)], "dask", memory=tmp_path)
    assert "from memory" in stack.engine_["net"]
    assert len(list(tmp_path.rglob("done.json"))) == 4
    here = faults.stack_of([("net", net)], "sequential")
    assert_allclose(stack.oof_.predictions, here.oof_.predictions, atol=1e-6)


@pytest.mark.clusters
def test_searches_of_scikit_learn_over_stacks(client):
    def search(engine):
        bases = [("tree", DecisionTreeRegressor(max_features=2)), ("lr", LinearRegression())]
        stack = sf.StackingRegressor(bases, cv=2, random_state=0, engine=engine)
        grid = {"tree__max_depth": [2, 3]}
        return GridSearchCV(stack, grid, cv=2, error_score="raise")

    with joblib.parallel_config("dask"):
        there = search("auto").fit(faults.X, faults.Y)
        with pytest.raises(ValueError, match="Give the stack there engine='auto'"):
            search("dask").fit(faults.X, faults.Y)
    here = search("sequential").fit(faults.X, faults.Y)
    of_dask = search("dask").fit(faults.X, faults.Y)  # from here, one candidate after another
    for found in (there, of_dask):
        for name in ("mean_test_score", "params"):
            assert_array_equal(found.cv_results_[name], here.cv_results_[name])
        assert_array_equal(found.predict(faults.X), here.predict(faults.X))


@pytest.mark.clusters
def test_without_a_worker_it_is_told_within_seconds():
    with cluster_of(0):
        start = time.monotonic()
        with pytest.raises(errors.EngineFailed, match="no worker for 5 seconds"):
            faults.stack_of([("lr", LinearRegression())], "dask", on_error="drop")
        assert time.monotonic() - start < 10


@contextmanager
def processes_of_a_cluster(folder):
    """Start a scheduler, a worker that nobody starts again, and a client; what it yields kills."""
    start = "import sys; from distributed.cli import dask_{0} as c; sys.exit(c.main())"
    options = ["--no-dashboard", "--scheduler-file", str(folder / "scheduler.json")]
    run = [sys.executable, "-W", "ignore", "-c"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": ROOT}
    scheduler = subprocess.Popen(
        [*run, start.format("scheduler"), "--port", "0", *options], env=environment, **quiet
    )
    worker = subprocess.Popen(
        [*run, start.format("worker"), "--no-nanny", "--nthreads", "1", *options[1:]],
        env=environment,
        **quiet,
    )
    started: dict[str, Any] = {"worker": worker, "scheduler": scheduler}

    def kill_when_there(name, file):
        killer = [*run, KILLER, str(started[name].pid), str(file)]
        started["killer"] = subprocess.Popen(killer, env=environment)

    try:
        until((folder / "scheduler.json").exists)
        with distributed.Client(scheduler_file=str(folder / "scheduler.json")) as client:
            client.wait_for_workers(1, timeout=300)
            yield kill_when_there
    finally:
        for process in started.values():
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.mark.clusters
@pytest.mark.parametrize(
    ("killed", "message"),
    [
        ("scheduler", "scheduler of Dask is gone"),
        ("worker", "no worker for 3 seconds"),
    ],
)
def test_a_scheduler_or_all_workers_gone_is_told_and_what_is_kept_stays(
    tmp_path, monkeypatch, killed, message
):
    monkeypatch.setattr(cluster, "_PATIENCE_AGAIN", 3.0)
    bases = [("quick", Base(tmp_path / "log")), ("slow", Base(tmp_path / "slow", seconds=2))]
    with processes_of_a_cluster(tmp_path) as kill_when_there:
        kill_when_there(killed, tmp_path / "slow")
        with pytest.raises(errors.EngineFailed, match=message):
            faults.stack_of(bases, "dask", memory=tmp_path)
    assert len(list(tmp_path.rglob("done.json"))) == 4


@pytest.mark.clusters
def test_workers_that_cannot_run_a_job_are_told(tmp_path):
    preload = tmp_path / "lacks.py"
    preload.write_text("import sys\nsys.modules['tensorflow'] = None\n")
    net = [("net", sf.KerasRegressor(faults.build_regressor))]
    with cluster_of(1, preload=str(preload)):
        with pytest.raises(errors.EngineFailed, match="has no TensorFlow, which networks need"):
            faults.stack_of(net, "dask")
        assert "1 worker" in faults.stack_of([("lr", LinearRegression())], "dask").engine_["lr"]
    other = tmp_path / "scipy-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 0.0.1\n")
    preload.write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n")
    with cluster_of(1, preload=str(preload)):
        with pytest.raises(errors.EngineFailed, match=r"has scipy 0\.0\.1, but this process"):
            faults.stack_of([("lr", LinearRegression())], "dask")


@pytest.mark.clusters
def test_more_than_the_memory_of_a_worker_is_told(tmp_path):
    from dask.config import set as settings

    with settings({"distributed.scheduler.allowed-failures": 0}):
        with cluster_of(1, memory_limit=700 * 2**20):
            bases = [("large", Base(tmp_path / "log", n_blocks=40))]
            with pytest.raises(RuntimeError, match="may need more memory than a worker has"):
                faults.stack_of(bases, "dask")
            rows = np.zeros((100, 2**20))
            stack = sf.StackingRegressor([("lr", LinearRegression())], cv=3, engine="dask")
            with pytest.raises(errors.EngineFailed, match="data take 800 MiB, but worker"):
                stack.fit(rows, np.arange(100.0))


ROOT = str(Path(__file__).parents[3])

KILLER = """
import os, signal, sys, time
from pathlib import Path
while not Path(sys.argv[2]).exists():
    time.sleep(0.05)
time.sleep(0.5)
os.kill(int(sys.argv[1]), signal.SIGKILL)
"""


def until(holds, seconds=300):
    """Wait until something holds; a busy machine takes minutes to start Python."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
