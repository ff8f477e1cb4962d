"""What networks predict, in compiled calls."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from stackfuse._keras import Rows
from stackfuse._training.process import refuse_fork
from stackfuse._training.program import Program, _input_specs, compiled

#: Rows and bytes that one call of a compiled prediction takes at most; rows at least.
PREDICT_ROWS = 8192


_PREDICT_BYTES = 2**23


_LEAST_ROWS = 32


_functions: "weakref.WeakKeyDictionary[Any, dict[str, Callable]]" = weakref.WeakKeyDictionary()


def _all_of(model):
    return model


def predict(
    model,
    x: Rows,
    finish: Callable,
    name: str,
    batch_size: int | None = None,
    *,
    of: Callable = _all_of,
) -> np.ndarray | list[np.ndarray]:
    """Return ``finish(of(model)(x))``, compiled, in batches.

    Parameters
    ----------
    model : keras.Model
        Any built model.
    x : Rows
    finish : callable
        From the model's outputs to the tensor of predictions.
    name : str
        What tells this `finish` from others on the same model.
    batch_size : int, default=None
        Rows per call; by default `PREDICT_ROWS`, of long rows fewer.
    of : callable
        From a model to the part of it that is computed, by default all.

    Returns
    -------
    predictions : ndarray, or list of ndarray where `finish` returns a list
    """
    refuse_fork()
    function, n_rows = finished_model(model, finish, name, of), batch_size or rows_per_call(x)
    parts = [function(x[slice(start, start + n_rows)]) for start in range(0, len(x), n_rows)]
    if isinstance(parts[0], list):  # several outputs
        return [np.concatenate([tensor.numpy() for tensor in tensors]) for tensors in zip(*parts)]
    return np.concatenate([part.numpy() for part in parts])


def rows_per_call(x: Rows) -> int:
    if len(x) <= _LEAST_ROWS:
        return PREDICT_ROWS
    return rows_at_once(x.bytes_per_row)


def rows_at_once(bytes_per_row: int) -> int:
    """Return the number of rows that one call of a compiled prediction takes."""
    fitting = _PREDICT_BYTES // max(1, bytes_per_row)
    return min(PREDICT_ROWS, max(_LEAST_ROWS, fitting))


def finished_model(model, finish: Callable, name: str, of: Callable = _all_of) -> Callable:
    """Return ``finish(of(model)(x))`` as a compiled function of x, made at the first call."""
    if model.run_eagerly:
        return lambda x: finish(of(model)(x, training=False))
    functions = _functions.setdefault(model, {})
    if name not in functions:
        program = Program.of(model)
        # The cache's values must not keep its keys alive; a part shares the layers only.
        own: Any = weakref.proxy(model)
        part = own if of is _all_of else of(model)
        if program:
            function = program.predictor(finish, name, of)
            functions[name] = lambda x: function([v.value for v in own.variables], x)
        else:
            functions[name] = compiled(
                lambda x: finish(part(x, training=False)), _input_specs(model)
            )
    return functions[name]
