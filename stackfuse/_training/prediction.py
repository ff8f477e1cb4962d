"""Predictions of networks, in compiled calls."""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from stackfuse._keras import Rows, indices
from stackfuse._training.process import locked, refuse_fork
from stackfuse._training.program import (
    MAX_PROGRAMS,
    CompiledFunction,
    Program,
    _input_specs,
    compiled,
)

#: Rows and bytes that one call of a compiled prediction takes at most; rows at least.
PREDICT_ROWS = 8192


_PREDICT_BYTES = 2**23


FEW_ROWS = 32


#: The functions of several networks as one, by these functions.
_joined: "OrderedDict[tuple, Callable]" = OrderedDict()


_functions: "weakref.WeakKeyDictionary[Any, dict[str, Callable]]" = weakref.WeakKeyDictionary()


def all_of(model):
    """Return the model."""
    return model


class Question(NamedTuple):
    """A computation of a network: ``finish(of(model)(x))``.

    Attributes
    ----------
    model : keras.Model
        Any built model.
    x : Rows
    finish : callable
        From the model's outputs to the tensor of predictions.
    name : str
        The name of this `finish` among others on the same model.
    of : callable
        From a model to the part of it that is computed, by default all.
    batch_size : int or None
        Rows per call; by default `PREDICT_ROWS`, of long rows fewer.
    """

    model: Any
    x: Rows
    finish: Callable
    name: str
    of: Callable = all_of
    batch_size: int | None = None


def predict(question: Question) -> np.ndarray | list[np.ndarray]:
    """Return the outputs of a network, compiled, in batches.

    Returns
    -------
    predictions : ndarray, or list of ndarray where `finish` returns a list
    """
    refuse_fork()
    model, x, finish, name, of, batch_size = question
    function, n_rows = finished_model(model, finish, name, of), batch_size or rows_per_call(x)
    with indices.failed_lookups_explained(model):
        parts = [function(x[slice(start, start + n_rows)]) for start in range(0, len(x), n_rows)]
    if isinstance(parts[0], list):  # several outputs
        return [np.concatenate([tensor.numpy() for tensor in tensors]) for tensors in zip(*parts)]
    return np.concatenate([part.numpy() for part in parts])


def predict_together(questions: Sequence[Question]) -> list:
    """Return the outputs of networks for a few rows, by one call of TensorFlow.

    A call takes about as long as a small network computes a few rows.

    Returns
    -------
    predictions : list of (ndarray, list of ndarray, or None)
        As :func:`predict` returns them. None for questions about more rows, and of networks that
        share no program with others of their architecture.
    """
    refuse_fork()
    few = [q for q in questions if len(q.x) <= min(FEW_ROWS, q.batch_size or FEW_ROWS)]
    found = [(q, finished_model(q.model, q.finish, q.name, q.of)) for q in few]
    together = [(q, f) for q, f in found if isinstance(f, _Finished) and f.can_be_joined]
    if len(together) < 2:
        return [None] * len(questions)
    joined = _join(tuple(finished.function for _, finished in together))
    flat, shared = [], {}
    for question, finished in together:
        x, form = question.x, question.x.form
        key = (id(x.X), form or id(question))  # networks that take X alike are given it once
        if key not in shared:
            shared[key] = tf.nest.flatten(x[slice(None)])
        flat += [*finished.values(), *shared[key]]
    with ExitStack() as explained:
        for question, _ in together:
            explained.enter_context(indices.failed_lookups_explained(question.model))
        results = joined.of_flat(flat)
    answers: dict[int, Any] = {}
    for (question, _), y in zip(together, results):
        several = isinstance(y, list)
        answers[id(question)] = [part.numpy() for part in y] if several else y.numpy()
    return [answers.get(id(question)) for question in questions]


#: The type of a variable's handle as an argument.
_HANDLE = tf.TensorSpec((), tf.resource)


def _join(functions: tuple[CompiledFunction, ...]) -> Any:
    """Return functions of (variables, x) as one function of such pairs."""
    with locked():
        if functions not in _joined:

            def compute(*pairs):
                return [function(*pair) for function, pair in zip(functions, pairs)]

            # By their handles: variables that come twice would become one argument, where networks
            # of one architecture have those of their program.
            like = [([_HANDLE] * len(f.like[0]), *f.like[1:]) for f in functions]
            _joined[functions] = compiled(compute, *like)
            if len(_joined) > MAX_PROGRAMS:
                _joined.popitem(last=False)
        _joined.move_to_end(functions)
        return _joined[functions]


def rows_per_call(x: Rows) -> int:
    if len(x) <= FEW_ROWS:
        return PREDICT_ROWS
    return rows_at_once(x.bytes_per_row)


def rows_at_once(bytes_per_row: int) -> int:
    """Return the number of rows that one call of a compiled prediction takes."""
    fitting = _PREDICT_BYTES // max(1, bytes_per_row)
    return min(PREDICT_ROWS, max(FEW_ROWS, fitting))


def finished_model(model, finish: Callable, name: str, of: Callable = all_of) -> Callable:
    """Return ``finish(of(model)(x))`` as a compiled function of x, made at the first call."""
    if model.run_eagerly:
        return lambda x: finish(of(model)(x, training=False))
    functions = _functions.setdefault(model, {})
    if name not in functions:
        program = Program.of(model)
        # The cache's values must not keep its keys alive; a part shares the layers only.
        own: Any = weakref.proxy(model)
        part = own if of is all_of else of(model)
        if program:
            functions[name] = _Finished(own, program.predictor(finish, name, of))
        else:
            functions[name] = compiled(
                lambda x: finish(part(x, training=False)), _input_specs(model)
            )
    return functions[name]


class _Finished:
    """A model, finished, by the function that all models of its architecture share.

    Parameters
    ----------
    model : weak proxy of a keras.Model
    function : callable
        A function of (variables, x).
    """

    def __init__(self, model, function: Callable):
        self._model = model
        self.function: Any = function
        self._variables: list = []
        self._values: list = []

    @property
    def can_be_joined(self) -> bool:
        """Whether the function is one graph, whatever the shape of its rows."""
        return isinstance(self.function, CompiledFunction)

    def values(self) -> list:
        """Return the handles of the model's variables, as TensorFlow knows them."""
        variables = self._model.variables
        if list(map(id, variables)) != list(map(id, self._variables)):
            self._variables, self._values = variables, [v.value.handle for v in variables]
        return self._values

    def __call__(self, x):
        return self.function(self.values(), x)
