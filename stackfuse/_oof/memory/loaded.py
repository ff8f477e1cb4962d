"""Loaded networks that nobody uses any more, for those who are about to load the same again.

A search over meta-learners fits one stack after another on the same kept networks, and loading a
network takes far longer than fitting a meta-learner. A network that was loaded stays here, and is
handed out again once nobody else holds it, if it is still what it was.
"""

import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from stackfuse._oof.memory.fingerprint import fingerprint, networks

#: How many estimators are held, and of how many bytes altogether when they are pickled.
_MOST, _MOST_BYTES = 64, 1 << 28


@dataclass
class _Loaded:
    """An estimator that was loaded, as it was then.

    Attributes
    ----------
    estimator : fitted estimator
    models : list of keras.Model
        Those in it.
    n_holders : list of int
        References to the estimator and to each model, while nobody uses them.
    state : tuple
        The state of its variables and parameters.
    size : int
        Bytes of its pickle.
    """

    estimator: Any
    models: list
    n_holders: list[int]
    state: tuple
    size: int


_lock = threading.Lock()
_pool: OrderedDict[tuple, list[_Loaded]] = OrderedDict()


def take(place: tuple) -> Any:
    """Return an estimator that was loaded from a place and is free, None if there is none."""
    with _lock:
        for loaded in list(_pool.get(place, ())):
            if _count_holders(loaded) != loaded.n_holders:
                continue  # somebody uses it
            if _state_of(loaded.estimator, loaded.models) == loaded.state:
                _pool.move_to_end(place)
                return loaded.estimator
            _pool[place].remove(loaded)
    return None


def keep(place: tuple, estimator: Any, size: int) -> None:
    """Hold an estimator that was just loaded and that nobody has seen yet."""
    models = networks.models_in(estimator)
    if not models or size > _MOST_BYTES:
        return
    loaded = _Loaded(estimator, models, [], _state_of(estimator, models), size)
    del estimator, models
    with _lock:
        _pool.setdefault(place, []).append(loaded)
        # The caller has it, too, until it hands it out.
        first, *others = _count_holders(loaded)
        loaded.n_holders = [first - 1, *others]
        _let_go()


def _count_holders(loaded: _Loaded) -> list[int]:
    counts = [sys.getrefcount(loaded.estimator)]
    return counts + [sys.getrefcount(model) for model in loaded.models]


def _let_go() -> None:
    """Let go of the fits that were not asked for in the longest time."""
    while True:
        held = [loaded for several in _pool.values() for loaded in several]
        if len(held) <= _MOST and sum(loaded.size for loaded in held) <= _MOST_BYTES:
            return
        _pool.popitem(last=False)


def _state_of(estimator: Any, models: list) -> tuple:
    """Return the state that shows a change of an estimator: its variables and parameters."""
    variables = [v for model in models for v in (*model.variables, *_of_optimizer(model))]
    params = {name: id(value) for name, value in estimator.get_params(deep=True).items()}
    return fingerprint([variable.numpy() for variable in variables]), params


def _of_optimizer(model: Any) -> list:
    optimizer = getattr(model, "optimizer", None)
    return [] if optimizer is None else list(optimizer.variables)
