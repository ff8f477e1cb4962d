"""State of the whole process: the lock of training, seeds, forks."""

import os
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import private

_lock = threading.RLock()


_process: int | None = None


def refuse_fork() -> None:
    """Raise in a fork of a process that has trained: TensorFlow would hang here."""
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise RuntimeError(
            "This process was forked after TensorFlow had run, and would hang. Use joblib's "
            "backend 'loky', the default, or 'threading', instead of 'multiprocessing'."
        )


def refuse_other_backend() -> None:
    """Raise if Keras computes with anything but TensorFlow."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"stackfuse needs Keras with the TensorFlow backend, got {backend!r}: set "
            "KERAS_BACKEND=tensorflow before keras is imported."
        )


@contextmanager
def undisturbing() -> Iterator[None]:
    """Let Keras draw unused numbers and count names for a block, unnoticed by anybody else.

    For graphs whose initial weights are never used. No lock is held, and Python's and numpy's
    generators are not touched.
    """
    refuse_fork()
    refuse_other_backend()
    with private.names_anew(defaultdict(int)), private.seeds_from(random.Random(0)):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what builders, initializers and random layers draw from, then put it back as it was.

    Keras takes the seed of every initializer and random layer that has none from Python's
    ``random``; here from a generator that is seeded alike and that no other thread draws from, as
    those of a cluster's worker do. Models built here equal those built after
    ``keras.utils.set_random_seed(seed)``, the names that Keras counts up included: TensorFlow keeps
    something for every name it has seen.
    """
    refuse_fork()
    refuse_other_backend()
    of_keras = random.Random(seed)
    with _lock, private.names_anew(defaultdict(int)), private.seeds_from(of_keras):
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def locked() -> threading.RLock:
    """Return the lock of all that trains: threads that train at once are not reproducible."""
    return _lock


def numbers_of_threads() -> tuple[int, int]:
    """Return the numbers of threads that networks are computed with; results depend on them.

    Returns
    -------
    within, between : int
        The threads of one operation, and of operations at the same time; 0 lets TensorFlow choose.
    """
    told = tf.config.threading
    return told.get_intra_op_parallelism_threads(), told.get_inter_op_parallelism_threads()
