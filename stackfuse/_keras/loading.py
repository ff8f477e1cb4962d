"""Models from files, without what they were compiled with, and models that wait in a pickle.

Files of Keras 2 are read as well. Keras 3 refuses their .h5 files with settings that its layers no
longer have, although nearly all such files hold the value at which they do nothing. The settings
are left out here, in a copy.
"""

import inspect
import json
import pickle
import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import private
from stackfuse._keras.checked_files import check_model_file
from stackfuse._keras.own_code import Portable

#: Errors of Keras about a file that it cannot load, besides ValueErrors.
FAILURES = (
    AttributeError,
    KeyError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    tf.errors.OpError,
)

#: Settings that layers of Keras 2 had, and the value at which they did nothing; ... for any value.
_GONE: dict[str, Any] = {
    "groups": 1,
    "implementation": ...,
    "input_length": ...,
    "kernel_constraint": ...,  # of separable convolutions, which have two kernels of other names
    "kernel_initializer": ...,
    "kernel_regularizer": ...,
    "time_major": False,
}


def load_uncompiled(path: Path) -> Any:
    """Return the model of a ``.keras`` or ``.h5`` file, not compiled.

    Metrics and optimizers of other versions of Keras often cannot be loaded, and are not needed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        If it is no file, or holds more than it can; see :func:`check_model_file`.
    Exception
        Whatever Keras raises of a file that it cannot load.
    """
    refuse_weights(path)
    check_model_file(path)
    if path.suffix not in (".h5", ".hdf5") or not _is_of_keras_2(path):
        return keras.models.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, f"model{path.suffix}")
        shutil.copyfile(path, copy)
        _modernise(copy)
        return keras.models.load_model(copy, compile=False, safe_mode=True)


def refuse_weights(path: Path) -> None:
    """Raise if the name of a file says that it holds the weights of a model, but no model."""
    if path.name.endswith(".weights.h5"):
        raise ValueError(
            f"{str(path)!r} holds weights but no model. Build the model, call "
            "model.load_weights(path), and pass the model. Or save the whole model with "
            "model.save('model.keras')."
        )


def _is_of_keras_2(path: Path) -> bool:
    with h5py.File(path) as file:
        return _text(file.attrs.get("keras_version", "")).startswith("2.")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _modernise(path: Path) -> None:
    """Rewrite, in place, the configuration in a file of Keras 2."""
    with h5py.File(path, "r+") as file:
        config = file.attrs.get("model_config")
        if config is not None:  # without one there are weights only, as Keras will say
            file.attrs["model_config"] = json.dumps(_as_of_now(json.loads(_text(config))))


def _as_of_now(part: Any) -> Any:
    """Return a part of a configuration of Keras 2 as Keras 3 writes it."""
    if isinstance(part, list):
        return [_as_of_now(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {name: _as_of_now(value) for name, value in part.items()}
    settings = part.get("config")
    if not isinstance(settings, dict):
        return part
    if part.get("class_name") in ("Policy", "PolicyV1"):  # of mixed precision: its name says it
        return settings["name"]
    return {**part, "config": _settings(part.get("class_name"), settings)}


def _settings(class_name: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer without those that it no longer has."""
    layer = vars(keras.layers).get(class_name)
    if not isinstance(layer, type):
        return settings
    taken = inspect.signature(layer).parameters
    if "alpha" in settings and "negative_slope" in taken:  # LeakyReLU
        settings = {**settings, "negative_slope": settings["alpha"]}
        del settings["alpha"]
    settings = {name: _placed(value) for name, value in settings.items()}
    idle = {n for n, value in _GONE.items() if n in settings and value in (..., settings[n])}
    return {n: value for n, value in settings.items() if n in taken or n not in idle}


def _placed(value: Any) -> Any:
    """Return a setting, of which layers inside a layer are said to be those of Keras."""
    if isinstance(value, list):
        return [_placed(item) for item in value]
    name = value.get("class_name") if isinstance(value, dict) else None
    if not isinstance(vars(keras.layers).get(name), type):
        return value
    return {"module": "keras.layers", "registered_name": None, **value}


class PortableModel(Portable):
    """Stands in a pickle for the model of a fit, which may be made later than the rest of it."""


class UnreadModel:
    """A model that is still in bytes: it is made when somebody asks for it, once.

    Parameters
    ----------
    data : bytes
        The pickle of a :class:`PortableModel`.
    answers : object
        The place of the model's answers, which are right until somebody has the model. It is told
        of the model before anybody has it.
    values : sequence of ndarray, default=()
        Those of its :func:`counters`.
    """

    def __init__(self, data: bytes, answers: Any, values: Sequence[np.ndarray] = ()):
        self.data = data
        self.answers = answers
        self.values = list(values)
        self._model: Any = None
        self._lock = threading.Lock()

    @property
    def is_read(self) -> bool:
        """Whether somebody has the model, and may change it."""
        return self._model is not None

    def with_counters(self, values: Sequence[np.ndarray]) -> "UnreadModel":
        """Return the same model with these values of its :func:`counters`."""
        answers = self.answers and self.answers.with_states(values)
        return UnreadModel(self.data, answers, values)

    def model(self) -> Any:
        """Return the model."""
        with self._lock:
            if self._model is None:
                with private.without_array_warnings():
                    model = pickle.loads(self.data)
                set_counters(model, self.values)
                if self.answers is not None:
                    self.answers.has_made(model)
                self._model = model
            return self._model

    def __reduce__(self):
        return pickle.loads, (self.data,)


#: For models that were just fitted and kept, the place of their first answers.
FIRST_ANSWERS: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()


def counters(model) -> list:
    """Return the variables of a model that are no weights: the states of its random layers."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def set_counters(model, values: Sequence[np.ndarray]) -> None:
    """Set the states of a model's random layers."""
    for variable, value in zip(counters(model) if values else [], values):
        variable.assign(value)
