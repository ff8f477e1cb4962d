"""A stack on a cluster: a discrete simulation, measured on two workers, and what breaks first.

``python benchmarks/cluster.py`` measures and extrapolates; ``--only-simulate`` needs no Dask.
"""

import argparse
import heapq
import logging
from dataclasses import dataclass

import numpy as np

GIB = 2**30


@dataclass(frozen=True)
class Load:
    """What a fit gives a cluster to do.

    Attributes
    ----------
    jobs : list of float
        Seconds that each takes on a worker.
    start : float
        Seconds that a worker takes for its first job besides: it imports packages.
    send : float
        Seconds until the data are with all workers.
    dispatch, answer : float
        Seconds of the client for each job, and for each answer.
    """

    jobs: list[float]
    start: float
    send: float
    dispatch: float
    answer: float


def simulate(load: Load, n_workers: int) -> float:
    """Return the seconds of a fit, event by event.

    The client sends one job after the other; whichever worker is free first takes the next; the
    client takes in one answer after the other, and is done with the last.
    """
    free = [(load.send, True)] * min(n_workers, len(load.jobs))
    ends = []
    for number, seconds in enumerate(load.jobs):
        since, is_new = heapq.heappop(free)
        sent = load.send + (number + 1) * load.dispatch
        end = max(since, sent) + seconds + (load.start if is_new else 0.0)
        heapq.heappush(free, (end, False))
        ends.append(end)
    client = load.send + len(load.jobs) * load.dispatch
    for end in sorted(ends):
        client = max(client, end) + load.answer
    return client


@dataclass(frozen=True)
class Machines:
    """What computers can do; bytes, and bytes a second."""

    memory: float = 64 * GIB
    network: float = 1.25e9
    hashing: float = 1.0e9
    fit_rows: float = 1.0e6  # rows that a fit of a base reads in a second
    start: float = 8.0
    dispatch: float = 0.002
    answer: float = 0.005


@dataclass(frozen=True)
class Size:
    """The size of a stack; every base is fitted on every fold and on all rows."""

    n_rows: float
    n_bases: int = 20
    n_folds: int = 5
    row_bytes: int = 80  # 20 columns of float32

    @property
    def n_jobs(self) -> int:
        """All fits of the bases."""
        return self.n_bases * (self.n_folds + 1)

    @property
    def sent_bytes(self) -> float:
        """What each worker is sent: X, y, and of each fold the numbers of its rows."""
        return self.n_rows * (self.row_bytes + 8 + 8 * (self.n_folds + 1))

    @property
    def client_bytes(self) -> float:
        """What the client holds: that, and a column of predictions of each base."""
        return self.sent_bytes + self.n_rows * 8 * self.n_bases

    @property
    def worker_bytes(self) -> float:
        """What a worker holds: that, and the training rows of a fit, copied out."""
        return self.sent_bytes + self.n_rows * (self.row_bytes + 8)


def load_of(size: Size, machines: Machines, n_workers: int) -> Load:
    """Return what a stack of this size gives machines to do.

    Dask hands data on from worker to worker, in two directions each: the last one has them after
    the logarithm of their number.
    """
    hops = 1 + np.log2(max(1, n_workers))
    return Load(
        [size.n_rows / machines.fit_rows] * size.n_jobs,
        machines.start,
        size.sent_bytes * (1 / machines.hashing + hops / machines.network),
        machines.dispatch,
        machines.answer + size.n_rows / size.n_folds * 8 / machines.network,
    )


def first_limit(size: Size, machines: Machines, n_workers: int) -> str:
    """Return what breaks first, or what a further worker would not help against."""
    if size.client_bytes > machines.memory:
        return f"the client's memory: {size.client_bytes / GIB:,.0f} GiB"
    if size.worker_bytes > machines.memory:
        return f"each worker's memory: {size.worker_bytes / GIB:,.0f} GiB"
    load = load_of(size, machines, n_workers)
    if n_workers > size.n_jobs:
        return f"{n_workers - size.n_jobs:,} workers idle: {size.n_jobs} jobs"
    if load.send > simulate(load, n_workers) / 2:
        return "sending the data takes longer than fitting"
    return ""


def extrapolate() -> None:
    """Print seconds, speed-up and limits for up to 1,000 workers and a billion rows."""
    machines = Machines()
    print(
        f"{'rows':>14} {'workers':>8} {'GiB each':>9} {'seconds':>10} {'speed-up':>9}  first limit"
    )
    for n_rows in (1e5, 1e7, 1e8, 1e9):
        for n_workers in (1, 2, 10, 100, 1000):
            size = Size(n_rows)
            seconds = simulate(load_of(size, machines, n_workers), n_workers)
            alone = n_rows / machines.fit_rows * size.n_jobs
            print(
                f"{n_rows:14,.0f} {n_workers:8,} {size.sent_bytes / GIB:9,.2f} {seconds:10,.1f} "
                f"{alone / seconds:9.1f}  {first_limit(size, machines, n_workers)}"
            )


def measure() -> None:
    """Fit on one worker and on two; print what the simulation says of two from the first."""
    import distributed
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression

    import stackfuse as sf

    X = np.random.default_rng(0).normal(size=(1500, 20))
    y = X[:, 0] + np.random.default_rng(1).normal(size=1500)
    forests = [(f"forest{k}", RandomForestRegressor(20 + 10 * k)) for k in range(3)]
    quick = [(f"line{k}", LinearRegression()) for k in range(3)]

    def seconds_of(bases, times=2):
        taken = []
        for _ in range(times):
            stack = sf.StackingRegressor(bases, cv=5, random_state=0, engine="dask")
            stack.fit(X, y)
            taken.append(stack.fit_seconds_["bases"])
        return min(taken)

    found = {}
    for n_workers in (1, 2):
        options = {"threads_per_worker": 1, "dashboard_address": ":0"}
        with (
            distributed.LocalCluster(
                n_workers=n_workers, silence_logs=logging.CRITICAL, **options
            ) as cluster,
            distributed.Client(cluster),
        ):
            seconds_of(quick, 1)  # workers import what they need
            found[n_workers] = seconds_of(quick), seconds_of(forests)
    overhead, whole = found[1]
    trees = [20 + 10 * k for k in range(3) for _ in range(6)]
    rows = [0.8 if k % 6 < 5 else 1.0 for k in range(18)]
    work = np.multiply(trees, rows)
    jobs = ((whole - overhead) * work / work.sum()).tolist()
    load = Load(jobs, start=0.0, send=0.0, dispatch=0.0, answer=overhead / len(jobs))
    print(f"one worker: {whole:.2f} s measured, {simulate(load, 1):.2f} s simulated")
    told, seen = simulate(load, 2), found[2][1]
    print(f"two workers: {seen:.2f} s measured, {told:.2f} s simulated, {told / seen - 1:+.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-simulate", action="store_true")
    if not parser.parse_args().only_simulate:
        measure()
    extrapolate()
