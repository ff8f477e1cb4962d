"""Fits of a network on two workers: in which number of jobs they are done first, and by the rule.

Every number of jobs is tried on two workers of Dask with one thread each, in turn with the others,
and the best of several times is taken. The networks of each try are new to the workers: their
graphs have to be traced, as in a first fit. The time is that of the processor of the busiest
worker, which other programs on the machine do not change; seconds on the clock stand beside it.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import distributed
import numpy as np

import stackfuse as sf
from stackfuse._oof.engines.clusters import sizing

#: No two tries have networks of one architecture.
_number = count(1)


class Case(NamedTuple):
    """A network and its rows.

    Attributes
    ----------
    title : str
    build : callable
        From a number of units and the shape of a row to the layers of a network.
    units : int
    shape : tuple of int
        The shape of a row.
    n_rows, epochs, batch_size : int
    """

    title: str
    build: Callable[[int], list]
    units: int
    shape: tuple[int, ...]
    n_rows: int
    epochs: int
    batch_size: int = 32

    def base(self) -> sf.KerasRegressor:
        """Return the network, with as many units as none had before."""
        build, units, shape = self.build, self.units + next(_number), self.shape

        def network(meta):
            import keras

            return keras.Sequential([keras.Input(shape), *build(units), keras.layers.Dense(1)])

        return sf.KerasRegressor(network, epochs=self.epochs, batch_size=self.batch_size)


def _dense(units: int) -> list:
    import keras

    return [keras.layers.Dense(units, activation="relu")]


def _wide(units: int) -> list:
    return [layer for _ in range(3) for layer in _dense(units)]


def _normalized(units: int) -> list:
    import keras

    parts = [[*_dense(units), keras.layers.BatchNormalization()] for _ in range(3)]
    return [layer for part in parts for layer in [*part, keras.layers.Dropout(0.2)]]


def _convolution(units: int) -> list:
    import keras

    layers = keras.layers
    return [layers.Conv2D(units, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]


def _recurrent(units: int) -> list:
    import keras

    return [keras.layers.GRU(units)]


CASES = [
    Case("tiny MLP, 5 epochs", _dense, 16, (8,), 400, 5),
    Case("tiny MLP, 100 epochs", _dense, 16, (8,), 400, 100),
    Case("MLP with normalization", _normalized, 32, (30,), 2000, 20),
    Case("wide MLP", _wide, 512, (30,), 4000, 3, 256),
    Case("small CNN", _convolution, 8, (8, 8, 1), 1000, 10),
    Case("GRU", _recurrent, 16, (10, 4), 600, 20),
]


class Try(NamedTuple):
    """What a fit took: seconds of the busiest worker's processor, and on the clock."""

    processor: float
    clock: float


@contextmanager
def _jobs(n_jobs: int, chosen: list[int]) -> Iterator[None]:
    """Have the fits of a base made in so many jobs; note how many the rule takes."""
    rule = sizing.in_groups

    def in_groups(jobs: Any, *rest: Any) -> list[list[int]]:
        chosen.append(len(rule(jobs, *rest)))
        return [part.tolist() for part in np.array_split(np.arange(len(jobs)), n_jobs)]

    sizing.in_groups = in_groups
    try:
        yield
    finally:
        sizing.in_groups = rule


def fit(case: Case, client: Any, n_networks: int, n_jobs: int, chosen: list[int]) -> Try:
    """Fit networks alike, each in so many jobs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(case.n_rows, *case.shape)).astype("float32")
    y = X.reshape(len(X), -1)[:, :3].sum(axis=1) + rng.normal(size=len(X))
    bases = [(f"net{k}", case.base()) for k in range(n_networks)]
    before = client.run(time.process_time)
    with _jobs(n_jobs, chosen):
        start = time.perf_counter()
        sf.StackingRegressor(bases, cv=5, random_state=0, engine="dask").fit(X, y)
        clock = time.perf_counter() - start
    after = client.run(time.process_time)
    return Try(max(after[worker] - before[worker] for worker in after), clock)


def main(n_networks: int = 1, times: int = 2, titles: str = "") -> None:
    """Print what each number of jobs takes, and what the choice of the rule loses."""
    numbers = (1, 2, 6)
    print(f"{n_networks} network(s), six fits each, on two workers: seconds (on the clock)")
    heads = "".join(f"{f'{n} jobs':>14}" for n in numbers)
    print(f"{'':24}{heads}{'the rule':>10}{'lost':>8}")
    options = {"threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=2, silence_logs=logging.ERROR, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        fit(CASES[0], client, 1, 2, [])  # workers import what they need
        for case in CASES:
            if titles not in case.title:
                continue
            chosen: list[int] = []
            tries: dict[int, list[Try]] = {n: [] for n in numbers}
            for n in numbers * times:
                tries[n].append(fit(case, client, n_networks, n, chosen))
            rule = chosen[0]
            if rule not in tries:
                tries[rule] = [fit(case, client, n_networks, rule, chosen) for _ in range(times)]
            best = {n: min(t.processor for t in found) for n, found in tries.items()}
            clock = {n: min(t.clock for t in found) for n, found in tries.items()}
            shown = "".join(f"{best[n]:7.2f} {f'({clock[n]:.1f})':>6}" for n in numbers)
            lost = best[rule] / min(best.values()) - 1
            print(f"{case.title:24}{shown}{rule:>10}{lost:>8.0%}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=1, help="networks alike in the stack")
    parser.add_argument("--times", type=int, default=2, help="tries, of which the best counts")
    parser.add_argument("--only", default="", help="networks whose title holds this")
    given = parser.parse_args()
    main(given.networks, given.times, given.only)
