"""The answers of a worker, asked in this process."""

import copyreg
import pickle
import types

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression

from stackfuse._core import errors
from stackfuse._oof.engines.clusters import worker
from stackfuse._oof.engines.clusters.parcels import Packer
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, FoldJob


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
    packer, X = Packer(), np.zeros((6, 2))
    job = FoldJob(Odd(), Fold(np.arange(4), np.arange(4, 6)), place="on fold 1")
    parcels = [packer.pack([job]), packer.pack(Data(X, X[:, 0]))]
    message = pickle.dumps((parcels, {"sklearn": sklearn.get_config()}, []))
    (failure,) = pickle.loads(worker.run(message))
    assert isinstance(failure, errors.FitFailed)
    assert failure.place == "on fold 1"
    assert str(failure.cause) == "OddError: a strange thing"
