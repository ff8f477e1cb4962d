"""Copies of trained networks: through a file, renamed, with nothing random left in them."""

import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
import numpy as np

from stackfuse._core import (
    NotConvertible,
    errors,
    messages,
)
from stackfuse._keras import own_code, private
from stackfuse._keras.architecture import foreign_parts

#: Attributes of stock layers that say how much chance there is in training; 0 switches it off.
_CHANCE = ("rate", "stddev", "dropout", "recurrent_dropout", private.DROPOUT)

_numbers = count()


def isolated(model, *, trainable: bool = False, narrow: bool = False):
    """Return a copy of a model that shares nothing with it and, by default, cannot be trained.

    The copy has a new name, because no two models of one graph may share one. With ``narrow`` the
    layers of float64 compute in float32.

    Raises
    ------
    NotConvertible
        If the model holds objects that are not stock Keras, or keeps state between calls.
    """
    check_stock(model)
    copy = copied(model, narrow=narrow)
    copy = copy if trainable else frozen(copy)
    copy.name = f"network_{next(_numbers)}"
    return copy


def copied(model, *, narrow: bool = False):
    """Return a copy of a model, through a file, that shares nothing with it.

    ``clone_model`` loses the state of preprocessing layers. Classes and functions of the user's own
    are handed over; whether the copy is the same model is checked then, since Keras writes down
    the defaults of a constructor where a class does not say what it was called with.

    Raises
    ------
    NotConvertible
        If the model cannot be written, read, or does not come back as it was.
    """
    refuse_unsafe(model)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        try:
            code = own_code.own_code(model)
            with own_code.uncompiled(model), private.without_array_warnings():
                model.save(path)
            if narrow:
                _narrow(path)
            with own_code.known_to_keras(code):
                copy = keras.models.load_model(path, compile=False, safe_mode=True)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise NotConvertible(
                f"The model {model.name!r} cannot be copied through a file, which joining needs: "
                f"{errors.message_of(error)} Give its classes a get_config that returns the "
                "arguments of __init__."
            ) from error
    if code:
        _check_same(model, copy)
    return copy


def _narrow(path: str) -> None:
    """Make a saved model that computes in float64 one that computes in float32."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"float64"', b'"float32"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)


def frozen(model):
    """Switch off, in place, everything that a model does in training only, and return the model.

    An outer ``training=True`` reaches every layer inside. So the rates of dropout and noise are set
    to 0, wherever they stand, augmentation is replaced, and batch normalisation, which looks at
    nothing but ``trainable``, stays with its moving statistics.
    """
    if any(_is_augmentation(layer) for layer in private.flatten_layers(model)):
        model = keras.models.clone_model(
            model, clone_function=_without_augmentation, recursive=True
        )
    for layer in private.flatten_layers(model):
        rates = [name for name in _CHANCE if isinstance(vars(layer).get(name), int | float)]
        if layer.__module__.startswith("keras."):
            for name in rates:
                setattr(layer, name, 0.0)
        if _holds_generator(layer) and not rates:
            raise NotConvertible(
                f"The layer {layer.name!r} of model {model.name!r} draws random numbers in "
                f"training, and {messages.with_article(type(layer).__name__)} cannot be switched "
                "off. Remove it from the model, or let the models train."
            )
    model.trainable = False
    return model


def thaws_on_loading(model) -> bool:
    """Whether Keras would let a part of a frozen model train again once it is read from a file.

    Attention layers make the layers inside them when they are built, and a file does not say of
    those that they are frozen.
    """
    attention = keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention
    return any(isinstance(layer, attention) for layer in private.flatten_layers(model))


def refuse_unsafe(model) -> None:
    """Raise if a model holds layers that Keras does not load safely, or remembers its last call."""
    for layer in private.flatten_layers(model):
        if type(layer).__name__ in ("Lambda", "TFSMLayer"):
            raise NotConvertible(
                f"The model {model.name!r} holds {messages.with_article(type(layer).__name__)} "
                f"layer {layer.name!r}, which Keras does not load in safe mode. Use keras.ops or "
                "a stock layer instead."
            )
        if getattr(layer, "stateful", False):
            raise NotConvertible(
                f"The model {model.name!r} holds a stateful layer {layer.name!r}: its predictions "
                "depend on earlier calls. Use stateful=False."
            )


def check_stock(model, *, besides: tuple[type, ...] = ()) -> None:
    """Raise unless a model consists of stock Keras objects and computes row by row.

    Layers of the classes `besides` are allowed too.
    """
    refuse_unsafe(model)
    allowed = {messages.with_article(cls.__name__) for cls in besides}
    foreign = next((part for part in foreign_parts(model) if part not in allowed), None)
    if foreign:
        raise NotConvertible(
            f"The model {model.name!r} holds {foreign}, which only loads together with its code. "
            "Build it from stock Keras layers and functions."
        )


def _foreign_layers(model) -> Iterator[Any]:
    """Yield the layers of a model, itself included, whose classes are not of Keras."""
    for layer in private.flatten_layers(model):
        if not type(layer).__module__.startswith("keras."):
            yield layer


def _check_same(model, copy) -> None:
    """Raise unless a copy has the weights of the model, and computes the same on some rows."""
    if len(model.weights) != len(copy.weights) or not all(
        np.array_equal(one, other, equal_nan=True)
        for one, other in zip(model.get_weights(), copy.get_weights())
    ):
        raise own_code.another_model(copy)
    own_code.check_probe(copy, own_code.probe(model))


def _holds_generator(layer) -> bool:
    return any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values())


def _is_augmentation(layer) -> bool:
    """Whether a stock layer changes images at random in training, and else only casts them."""
    return (
        hasattr(layer, "get_random_transformation")
        and _holds_generator(layer)
        and layer.__module__.startswith("keras.")
        and type(layer).__name__ != "RandomCrop"  # which always crops
    )


def _without_augmentation(layer):
    if _is_augmentation(layer):
        return keras.layers.Rescaling(1.0, name=layer.name, dtype=layer.dtype_policy.name)
    return layer


def warn_of_classes(model) -> None:
    """Warn if what was switched off in a model comes back when its class makes it anew."""
    foreign = next(_foreign_layers(model), None)
    chance = any(_holds_generator(layer) for layer in private.flatten_layers(model))
    if foreign is not None and chance:
        warnings.warn(
            f"The model {model.name!r} has layers that are random in training. They are off now. "
            f"But {type(foreign).__name__} is not a Keras class: when the joined model is loaded "
            "from a file, it makes these layers anew. With training=True they are random again.",
            UserWarning,
            stacklevel=4,
        )
