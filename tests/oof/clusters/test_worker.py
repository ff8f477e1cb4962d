"""The answers of a worker, asked in this process."""

import copyreg
import pickle
import types

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression

import stackfuse as sf
from stackfuse._core import errors
from stackfuse._oof.engines.clusters import worker
from stackfuse._oof.engines.clusters.parcels import Packer
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, FoldJob
from tests.support.networks import build_regressor


class OddError(Exception):
    """Cannot be unpickled."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Odd(LinearRegression):
    """Cannot be fitted."""

    def fit(self, X, y):
        raise OddError(3, "a strange thing")


def test_an_error_that_cannot_be_unpickled_is_told(monkeypatch):
    support = pytest.importorskip("tblib.pickling_support")
    # As it is where stackfuse was imported before distributed, and the error's class after it.
    monkeypatch.setitem(copyreg.dispatch_table, errors.FitFailed, support.pickle_exception)
    monkeypatch.setitem(copyreg.dispatch_table, types.TracebackType, support.pickle_traceback)
    monkeypatch.delitem(copyreg.dispatch_table, OddError, raising=False)
    packer, X = Packer(), np.zeros((6, 2))
    job = FoldJob(Odd(), Fold(np.arange(4), np.arange(4, 6)), place="on fold 1")
    parcels = [packer.pack([job]), packer.pack(Data(X, X[:, 0]))]
    message = pickle.dumps((parcels, {"sklearn": sklearn.get_config()}, []))
    (failure,) = pickle.loads(worker.run(message))
    assert isinstance(failure, errors.FitFailed)
    assert failure.place == "on fold 1"
    assert str(failure.cause) == "OddError: a strange thing"


def test_a_worker_leaves_other_processors_to_other_workers(monkeypatch):
    from stackfuse._training import eligibility
    from stackfuse._training.side_by_side import loop

    graphs = []
    monkeypatch.setattr(eligibility.joblib, "cpu_count", lambda: 4)
    count = eligibility.graphs_of
    monkeypatch.setattr(loop, "graphs_of", lambda jobs: graphs.append(count(jobs)) or graphs[-1])
    packer, X = Packer(), np.random.default_rng(0).normal(size=(12, 2))
    net = sf.KerasRegressor(build_regressor, epochs=1)
    jobs = [FoldJob(net, Fold(np.arange(8), np.arange(8, 12)), seed=k) for k in range(3)]
    parcels = [packer.pack(jobs), packer.pack(Data(X, X[:, 0]))]
    settings = {"sklearn": sklearn.get_config(), "keras": worker.keras_settings()}
    fits = pickle.loads(worker.run(pickle.dumps((parcels, settings, []))))
    assert [fit.how for _, fit in fits] == ["side by side"] * 3
    assert {len(found) for found in graphs} == {1}
    assert len(count(range(3))) == 3
