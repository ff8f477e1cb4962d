"""Parameters outside the constructor: arguments of a builder, and settings for Keras."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from stackfuse._core import messages, sklearn_private

#: Arguments that stackfuse itself hands to ``model.fit``, and what to use instead.
_OWNED_BY_FIT = {
    "x": "fit(X, y)",
    "y": "fit(X, y)",
    "sample_weight": "fit(X, y, sample_weight=...)",
    "class_weight": "class_weight=",
    "callbacks": "callbacks=",
    "validation_split": "validation_split=",
    "validation_data": "validation_split=",
    "steps_per_epoch": "batch_size=",
    "initial_epoch": "warm_start=True or partial_fit",
}

#: Parameters that may be classes with settings: ``loss__from_logits``, ``callbacks__0__patience``.
_OBJECTS = ("optimizer", "loss", "metrics", "callbacks")

_ROUTES = ("model", "compile", "fit", "predict", *_OBJECTS)

#: Constructor parameters of scikeras that are settings for Keras.
BARE = {
    "run_eagerly": ("compile", "run_eagerly"),
    "validation_batch_size": ("fit", "validation_batch_size"),
}


def named_parameters(builder: Callable) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, or those of a class's constructor."""
    if not isinstance(builder, type):
        return inspect.signature(builder).parameters
    # Keras gives its classes a __new__ that takes anything, which hides the constructor.
    own = dict(inspect.signature(builder.__init__).parameters)
    own.pop(next(iter(own)))
    return own


def arguments_of(builder) -> tuple[set[str], bool]:
    """Return the names that a builder takes, and whether it takes any name at all."""
    if not isinstance(builder, Callable) or isinstance(builder, keras.Model):
        return set(), False
    parameters = named_parameters(builder).values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return names - {"meta", "compile_kwargs"}, any(p.kind is p.VAR_KEYWORD for p in parameters)


def is_bare(name: str, route: str, builder) -> bool:
    """Whether a parameter is a setting for this part of Keras, and no argument of the builder."""
    return BARE.get(name, ("",))[0] == route and name not in arguments_of(builder)[0]


def name_of(builder) -> str:
    """Return a builder's name for a message."""
    return getattr(builder, "__name__", repr(builder))


def refuse_taken(owner, names: Iterable[str]) -> None:
    """Raise if a builder's argument has the name of an attribute or method of the estimator."""
    own = sklearn_private.parameter_names(type(owner))
    for name in names:
        attribute = name.startswith("_") or hasattr(type(owner), name)
        if attribute and name not in own:
            raise ValueError(
                f"{name!r} is an attribute of {type(owner).__name__}. If it is an argument of the "
                f"builder, pass it as model__{name}=..."
            )


def check_names(owner, builder, names: Iterable[str]) -> None:
    """Raise if neither the builder nor Keras takes one of these parameters."""
    if not names:
        return

    arguments, any_name = arguments_of(builder)
    takers = {
        "model": arguments,
        "compile": set(inspect.signature(keras.Model.compile).parameters) - {"self"},
        "fit": set(inspect.signature(keras.Model.fit).parameters) - {"self"},
        "predict": {"batch_size", "output"},
    }
    for name in sorted(names):
        route, _, routed = name.partition("__")
        if routed and route in _ROUTES:
            if route == "fit" and routed in _OWNED_BY_FIT:
                raise ValueError(f"{name} is not available: use {_OWNED_BY_FIT[routed]}.")
            # The constructor of a class checks its own settings.
            if route in _OBJECTS or routed in takers[route] or (any_name and route == "model"):
                continue
        elif any_name or name in arguments or name in BARE:
            continue
        takes = f"takes {sorted(arguments) or 'no arguments'}"
        who = f"builder {name_of(builder)!r}" if isinstance(builder, Callable) else "model"
        raise ValueError(
            f"Invalid parameter {name!r} for estimator {type(owner).__name__}: it is none of "
            f"its own, and the {who} {takes}.{_hint(name, owner, takers)}"
        )


def _hint(name: str, owner, takers: dict[str, set[str]]) -> str:
    """Return a question after the parameters with nearly this name, as they are typed."""
    own = sklearn_private.parameter_names(type(owner))
    typed = {known: known for known in (*own, *takers["model"], *BARE)}
    settings = [(route, key) for route, keys in takers.items() for key in keys]
    for route, key in [*settings, ("optimizer", "learning_rate")]:
        shorter = route != "predict" and (key in own or key in BARE)
        if shorter or (route == "fit" and key in _OWNED_BY_FIT):
            continue
        typed[f"{route}__{key}"] = f"{route}__{key}"
        typed.setdefault(key, f"{route}__{key}")
    found = dict.fromkeys(typed[k] for k in difflib.get_close_matches(name, typed, n=3))
    return f" Did you mean {messages.listed(list(found))}?" if found else ""


def check_complete(owner, builder, arguments: dict[str, Any]) -> None:
    """Raise if a required argument of a builder is missing."""
    for p in named_parameters(builder).values():
        needed = p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        if needed and p.name not in arguments:
            taken = p.name in sklearn_private.parameter_names(type(owner)) or hasattr(
                type(owner), p.name
            )
            typed = f"model__{p.name}" if taken else p.name
            raise TypeError(
                f"The builder {name_of(builder)!r} needs the argument {p.name!r}: pass it, "
                f"{type(owner).__name__}({name_of(builder)}, {typed}=...), or give it a default."
            )
