"""How many jobs networks become, what goes to workers by name, and how long it is said to take."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from benchmarks.cluster import Load, simulate
from stackfuse._oof.engines.clusters.parcels import LARGE, Packer, unpacked
from stackfuse._oof.engines.clusters.sizing import in_groups
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, jobs_of
from tests.support.networks import build_regressor

X, Y = np.random.default_rng(0).normal(size=(400, 4)), np.arange(400.0)
FOLDS = [Fold(np.arange(k, 400), np.arange(k)) for k in range(1, 7)]


def groups_of(estimator, n_workers, n_networks=1):
    jobs = jobs_of(estimator, FOLDS, seeds=[1] * 6)
    groups = in_groups(jobs, Data(X, Y), n_workers, n_networks)
    assert [number for group in groups for number in group] == list(range(6))
    return [len(group) for group in groups]


def test_the_fewer_workers_the_more_networks_are_in_a_job():
    net = sf.KerasRegressor(build_regressor, epochs=500, batch_size=32)
    assert groups_of(net, 6) == [2] * 3  # two in a graph are done before one in a loop
    assert groups_of(net, 1000) == [2] * 3
    assert groups_of(net, 2) == [3, 3]
    assert groups_of(net, 1) == [6]
    assert groups_of(net, 6, n_networks=6) == [6]


def test_recurrent_networks_gain_less_together():
    def build(meta):
        import keras

        layers = [keras.layers.Reshape((4, 1)), keras.layers.GRU(8), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((4,)), *layers])

    net = sf.KerasRegressor(build, epochs=20)
    assert groups_of(net, 4) == [1] * 6
    assert groups_of(net, 1) == [6]
    assert groups_of(sf.KerasRegressor(build_regressor, epochs=20), 4) == [2] * 3


def test_networks_that_gain_nothing_together_are_jobs_of_their_own():
    alone = sf.KerasRegressor(build_regressor, epochs=500, optimizer="adafactor")  # whole tensors
    for net in (alone, make_pipeline(StandardScaler(), alone)):
        assert groups_of(net, 2) == [1] * 6


def test_large_arrays_are_sent_by_names_that_equal_arrays_share():
    packer, table = Packer(), np.random.default_rng(0).normal(size=(LARGE // 64, 8))
    first, again = packer.pack({"X": table, "few": X}), packer.pack([table.copy(), table])
    turned = packer.pack(np.asfortranarray(table))
    assert first.names == again.names
    assert len(first.content) < LARGE
    assert first.names != turned.names
    assert len(packer.arrays) == 2
    for parcel, want in ((first, {"X": table, "few": X}), (again, [table, table])):
        got = unpacked(parcel, packer.arrays)
        for one, other in zip(*(x.values() if isinstance(x, dict) else x for x in (got, want))):
            assert_array_equal(one, other)
    packer.pack(table + 1)
    assert len(packer.arrays) == 3


@pytest.mark.parametrize(("n_workers", "n_jobs"), [(1, 6), (2, 6), (4, 6), (100, 6)])
def test_without_overheads_the_simulation_counts_rounds(n_workers, n_jobs):
    load = Load([2.0] * n_jobs, start=0.0, send=0.0, dispatch=0.0, answer=0.0)
    assert simulate(load, n_workers) == 2.0 * math.ceil(n_jobs / n_workers)


def test_the_simulation_waits_for_a_client_that_is_busy():
    load = Load([1.0] * 100, start=3.0, send=5.0, dispatch=0.1, answer=0.5)
    assert simulate(load, 100) == pytest.approx(5 + 100 * 0.1 + 100 * 0.5)
