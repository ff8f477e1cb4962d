"""The work of a worker: it runs jobs, and describes itself."""

import contextvars
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import cloudpickle
import sklearn

from stackfuse._core import errors
from stackfuse._oof import engines
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines.base import SequentialEngine
from stackfuse._oof.engines.clusters.parcels import Parcel, unpacked
from stackfuse._oof.jobs import Data, FoldFit, FoldJob

#: Settings of Keras that change what a network computes.
_KERAS_SETTINGS = ("backend", "epsilon", "floatx", "image_data_format")

_runs_jobs = contextvars.ContextVar("runs_jobs", default=False)


def runs_jobs() -> bool:
    """Whether this is a worker, within a job."""
    return _runs_jobs.get()


def keras_settings() -> dict[str, Any]:
    """Return the settings in ``keras.config`` that change results."""
    import keras

    return {name: getattr(keras.config, name)() for name in _KERAS_SETTINGS}


def run(message: bytes, *arrays) -> bytes:
    """Run jobs.

    Parameters
    ----------
    message : bytes
        Pickled: a list of two parcels, the jobs of one base and the data; the settings of
        scikit-learn and, for networks, of Keras in the process that sends the jobs; the names of
        the arrays.
    *arrays : ndarray

    Returns
    -------
    fits : bytes
        Pickled: a list of (place among the jobs, FoldFit); an exception ends it.
    """
    parcels, settings, names = pickle.loads(message)
    token = _runs_jobs.set(True)
    done: list[Any] = []
    try:
        with sklearn.config_context(**settings["sklearn"]):
            for place, fit in _fits(parcels, settings, dict(zip(names, arrays))):
                done.append((place, fit))
        return cloudpickle.dumps(done)
    except Exception as error:  # of the jobs; what becomes of it is for the client to say
        failure = error if isinstance(error, errors.FitFailed) else errors.FitFailed("", error)
        failure.make_picklable()
        return cloudpickle.dumps([*done, failure])
    finally:
        _runs_jobs.reset(token)


def _fits(parcels: list[Parcel], settings: dict, arrays: dict) -> Iterator[tuple[int, FoldFit]]:
    jobs: list[FoldJob] = unpacked(parcels[0], arrays)
    data: Data = unpacked(parcels[1], arrays)
    network = holds_network(jobs[0].estimator)
    if network and keras_settings() != settings["keras"]:
        raise RuntimeError(
            f"keras.config holds {keras_settings()} on a worker and {settings['keras']} in the "
            "process that fits. Set the same on the workers, for example in ~/.keras/keras.json."
        )
    # A job alone is run by its own fit; several are networks, side by side where that pays.
    engine: Any = SequentialEngine()
    if network and len(jobs) > 1:
        engine = engines.SideBySideEngine(engine)
    with _one_processor() if network else nullcontext():
        for place, fit in engine.run_jobs(jobs, data):
            jobs[place].keep_here(fit)
            yield place, fit


def _one_processor() -> AbstractContextManager[None]:
    """Leave the other processors of the machine to other workers."""
    from stackfuse._training import eligibility  # loads TensorFlow

    return eligibility.on_processors(1)


def facts_of(packages: tuple[str, ...]) -> Callable[[], dict[str, Any]]:
    """Return a function that tells what is installed where it is called, and with how many threads.

    It is made here, so that it goes to a worker as code: stackfuse itself may be missing there.
    """

    def facts() -> dict[str, Any]:
        import importlib.metadata
        import importlib.util
        import os
        import platform

        versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
        for package in packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                versions[package] = "not installed"
        variables = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        threads = {name: os.environ.get(name) for name in variables}
        try:
            threads["cores"] = str(len(os.sched_getaffinity(0)))
        except AttributeError:  # not on this system
            threads["cores"] = str(os.cpu_count())
        return {
            "versions": versions,
            "threads": threads,
            "stackfuse": importlib.util.find_spec("stackfuse") is not None,
            "tensorflow": importlib.util.find_spec("tensorflow") is not None,
        }

    return facts
