"""Pickles of fitted estimators, which name the code that only this program knows."""

import io
import pickle
import types
from collections.abc import Callable
from typing import Any

import cloudpickle

from stackfuse._keras import loading, private
from stackfuse._oof.memory.fingerprint import networks


def _own_code(estimator) -> dict[str, Any]:
    """Return by name the classes and functions of an estimator that cannot be imported."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    parts += [v for part in parts if isinstance(part, list) for pair in part for v in _items(pair)]
    code = [part for part in parts if isinstance(part, type | types.FunctionType)]
    code += [base for part in parts for base in type(part).__mro__]
    names = {f"{thing.__module__}.{thing.__qualname__}": thing for thing in code}
    local = {n: t for n, t in names.items() if "<" in n or t.__module__ == "__main__"}
    return local


def _items(pair: Any) -> list:
    return list(pair) if isinstance(pair, tuple | list) else [pair]


class _Pickler(cloudpickle.Pickler):
    """Names the code that only this program knows, where it would be written out and loaded anew.

    To load a class of a running program anew would set its attributes back.
    """

    def __init__(self, file, estimator):
        super().__init__(file)
        self.models: list[tuple[Any, bytes]] = []
        self._names = {id(thing): name for name, thing in _own_code(estimator).items()}

    def persistent_id(self, obj):
        if isinstance(obj, loading.UnreadModel):
            return (_MODEL, obj.data)
        if isinstance(obj, loading.PortableModel) and networks.is_plain(obj.item):
            self.models.append((obj.item, pickle.dumps(obj)))
            return (_MODEL, self.models[-1][1])
        return self._names.get(id(obj)) if isinstance(obj, type | types.FunctionType) else None


#: The first part of the pair that stands in a pickle for a model that is read later.
_MODEL = "model"


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, like, answers):
        super().__init__(file)
        self._code = _own_code(like)
        self._answers = answers

    def persistent_load(self, pid):
        if isinstance(pid, tuple):
            return loading.UnreadModel(pid[1], self._answers(pid[1]))
        return self._code[pid]


def pickled(estimator) -> tuple[bytes, list[tuple[Any, bytes]]]:
    """Return the pickle of a fitted estimator, which can be loaded again.

    Returns
    -------
    data : bytes
    models : list of (keras.Model, bytes)
        The models that can be read later, with the part of the pickle that stands for each.

    Raises
    ------
    Exception
        Whatever its classes raise when they are pickled, or loaded again.
    """
    buffer = io.BytesIO()
    with private.without_array_warnings():
        pickler = _Pickler(buffer, estimator)
        pickler.dump(estimator)
    if networks.have_own_code(estimator):
        unpickled(buffer.getvalue(), estimator)  # a class of one's own may not be found again
    return buffer.getvalue(), pickler.models


def unpickled(data: bytes, like, answers: Callable[[bytes], Any] = lambda model: None) -> Any:
    """Return a fitted estimator from its pickle.

    Parameters
    ----------
    data : bytes
    like : estimator
        Classes and functions that only this program knows are taken from it.
    answers : callable
        From the pickle of a model to the place of its answers. Models without code of the user's
        stay in bytes until somebody asks for them.
    """
    with private.without_array_warnings():
        return _Unpickler(io.BytesIO(data), like, answers).load()
