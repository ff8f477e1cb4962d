"""Callbacks of replicas that are trained side by side: which are taken, and what they are shown.

A callback sees the model of its own replica, whose variables and learning rate are written before
it is called, and read afterwards where it may have changed them.
"""

import dis
from collections.abc import Iterator
from enum import IntEnum
from types import CodeType, FunctionType
from typing import Any

import keras

from stackfuse._core import errors

_cb = keras.callbacks

#: Those of Keras that are taken.
_OF_KERAS = (
    _cb.CSVLogger,
    _cb.EarlyStopping,
    _cb.LambdaCallback,
    _cb.LearningRateScheduler,
    _cb.ModelCheckpoint,
    _cb.ReduceLROnPlateau,
    _cb.TerminateOnNaN,
)

#: Methods that are called between steps, and those that are called in validation.
_AT_BATCHES = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_IN_VALIDATION = ("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end")

#: Attributes that your own callback may set on other objects.
_MAY_BE_SET = {"learning_rate", "stop_training"}

#: Names by which code changes what cannot be seen in variables.
_HIDDEN_CHANGES = {"__dict__", "__setattr__", "compile", "eval", "exec", "setattr"}

_LOADS = ("LOAD_ATTR", "LOAD_METHOD")


class Sight(IntEnum):
    """How much of its model a callback looks at; each includes those before."""

    RATE = 0
    WEIGHTS = 1
    OPTIMIZER = 2
    CHANGES = 3  #: may assign to any variable of the model or the optimizer


def check_callback(callback) -> None:
    """Raise if a callback is not to be called side by side.

    Raises
    ------
    CannotTrainSideBySide
        With the reason.
    """
    kind = type(callback)
    if kind.__module__.startswith("stackfuse."):
        return
    name = f"the callback {kind.__name__}"
    if _is_of_keras(kind) and kind not in _OF_KERAS:
        raise errors.CannotTrainSideBySide(f"{name} may touch the model")
    if isinstance(callback, _cb.ModelCheckpoint) and (
        callback.save_freq != "epoch" or callback.verbose
    ):
        raise errors.CannotTrainSideBySide(
            f"{name} saves in the middle of epochs, or prints its paths"
        )
    if "://" in str(written_to(callback)):
        raise errors.CannotTrainSideBySide(f"{name} writes to another machine")
    for method in _IN_VALIDATION:
        if _overrides(callback, method):
            raise errors.CannotTrainSideBySide(f"{name} has {method}, which only model.fit calls")
    for code in _codes(callback):
        change = _hidden_change(code)
        if change is not None:
            raise errors.CannotTrainSideBySide(
                f"{name} has {change!r} in its code, and may change what the model computes"
            )


def written_to(callback) -> str | None:
    """Return the path, or the pattern of paths, that a callback writes to; None if to none."""
    if isinstance(callback, _cb.ModelCheckpoint):
        return callback.filepath
    return callback.filename if isinstance(callback, _cb.CSVLogger) else None


def is_called_at_batches(callback) -> bool:
    """Whether a callback has to be called after every step.

    TerminateOnNaN has not: a loss that is no number stays so until its epoch ends.
    """
    if type(callback) in _OF_KERAS and type(callback) is not _cb.LambdaCallback:
        return False
    return any(_overrides(callback, method) for method in _AT_BATCHES)


def sight_of(callback) -> Sight:
    """Return how much of its model a callback looks at."""
    kind = type(callback)
    if kind.__module__.startswith("stackfuse."):
        return Sight.WEIGHTS
    if any(_sees_more_than_the_rate(code) for code in _codes(callback)):
        return Sight.CHANGES
    if isinstance(callback, _cb.ModelCheckpoint):
        return Sight.OPTIMIZER
    if isinstance(callback, _cb.EarlyStopping) and callback.restore_best_weights:
        return Sight.WEIGHTS
    return Sight.RATE


def _is_of_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")


def _overrides(callback, method: str) -> bool:
    """Whether a callback does something in a method, as its class or one of its own tells."""
    own = vars(callback).get(method)
    if own is not None:  # LambdaCallback puts a function there
        return not _does_nothing(own)
    return any(
        method in vars(kind)
        for kind in type(callback).__mro__
        if not _is_of_keras(kind) and kind is not object
    )


def _does_nothing(function) -> bool:
    return (getattr(function, "__module__", None) or "").startswith("keras.")


def _codes(callback) -> Iterator[CodeType]:
    """Yield the code of a callback that is not of Keras, and of the functions that it names."""
    functions = [value for value in vars(callback).values() if _is_own(value)]
    for kind in type(callback).__mro__:
        if not _is_of_keras(kind) and kind is not object:
            for value in vars(kind).values():
                value = getattr(value, "fget", None) or getattr(value, "__func__", value)
                functions += [value] if _is_own(value) else []
    seen: set[int] = set()
    while functions:
        function = functions.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        for code in _nested(function.__code__):
            yield code
            named = [function.__globals__.get(name) for name in code.co_names]
            functions += [value for value in named if _is_own(value)]
        cells = [_content(cell) for cell in function.__closure__ or ()]
        functions += [value for value in cells if _is_own(value)]


def _is_own(value: Any) -> bool:
    """Whether a value is a function that the user wrote."""
    libraries = ("keras.", "tensorflow.", "numpy.", "sklearn.", "stackfuse.")
    return isinstance(value, FunctionType) and not (value.__module__ or "").startswith(libraries)


def _content(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been put into it yet
        return None


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _hidden_change(code: CodeType) -> str | None:
    """Return a name in code by which it may change more of a model than variables show."""
    known = _HIDDEN_CHANGES.intersection(code.co_names)
    if known:
        return min(known)
    steps = list(dis.get_instructions(code))
    for before, step in zip([None, *steps], steps):
        if step.opname == "STORE_ATTR" and step.argval not in _MAY_BE_SET:
            if not _is_on_itself(before, step.argval, steps):
                return step.argval
    return None


def _is_on_itself(before, name: str, steps: list) -> bool:
    """Whether an attribute is set on ``self``, as in ``self.x = 1`` or ``self.x += 1``."""
    if before is not None and before.opname.startswith("SWAP"):
        for loaded, copied, read in zip(steps, steps[1:], steps[2:]):
            if (copied.opname, read.argval) == ("COPY", name) and read.opname in _LOADS:
                before = loaded
    loaded = before.argval if before is not None else None
    return (loaded[-1] if isinstance(loaded, tuple) else loaded) == "self"


def _sees_more_than_the_rate(code: CodeType) -> bool:
    """Whether code reads ``model`` for more than ``model.optimizer.learning_rate`` and the like."""
    steps = list(dis.get_instructions(code))
    follows = {
        "model": {"optimizer", "stop_training", "name"},
        "_model": set(),
        "optimizer": {"learning_rate", "iterations", "name"},
    }
    for step, after in zip(steps, [*steps[1:], None]):
        if step.opname in _LOADS and step.argval in follows:
            if after is None or after.opname not in (*_LOADS, "STORE_ATTR", "COPY"):
                return True
            if after.opname != "COPY" and after.argval not in follows[step.argval]:
                return True
    return False
