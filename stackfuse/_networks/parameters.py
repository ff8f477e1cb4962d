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


#: Methods of subclasses that scikeras calls and stackfuse does not, and the alternatives.
_HOOKS = {
    "dataset_transformer": "pass X and y as arrays, and weights as sample_weight",
    "feature_encoder": "put the transformer in front: make_pipeline(transformer, network)",
    "target_encoder": "encode y before fit, or use TransformedTargetRegressor",
    "_ensure_compiled_model": "compile the model in _keras_build_fn",
    "_fit_keras_model": "give the model a train_step, or pass callbacks=",
    "_type_of_target": "pass y in its final form",
}


def refuse_hooks(kind: type) -> None:
    """Raise if a class of estimators defines a method that would never be called."""
    for name, instead in _HOOKS.items():
        if name in vars(kind):
            raise TypeError(
                f"{kind.__name__} defines {name}, which scikeras calls but stackfuse does not. "
                f"Instead, {instead}."
            )


def offer_inherited(kind: type) -> None:
    """Show, in the signature of a constructor that takes ``**kwargs``, what its base takes.

    scikit-learn reads the names of an estimator's parameters there.
    """
    own: Any = vars(kind).get("__init__")
    if not inspect.isfunction(own):
        return
    signature = inspect.signature(own)
    parts = list(signature.parameters.values())
    if not any(part.kind is part.VAR_KEYWORD for part in parts):
        return
    inherited = list(inspect.signature(super(kind, kind).__init__).parameters.values())[1:]
    named = [part for part in inherited if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)]
    added = [p.replace(kind=p.KEYWORD_ONLY) for p in named if p.name not in signature.parameters]
    own.__signature__ = signature.replace(parameters=[*parts[:-1], *added, parts[-1]])


def own_arguments(kind: type) -> list[str]:
    """Return the names of the arguments that a class's constructor itself lists."""
    code = inspect.unwrap(kind.__init__).__code__
    return list(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def check_kept(owner) -> None:
    """Raise if a constructor does not keep an argument under its name."""
    names = sklearn_private.parameter_names(type(owner))
    lost = [name for name in names if not hasattr(owner, name)]
    if lost:
        raise AttributeError(
            f"{type(owner).__name__}.__init__ takes {lost[0]!r} but does not keep it. Add "
            f"self.{lost[0]} = {lost[0]}, or pass it on to super().__init__."
        )


def is_method_of(owner, value: Any) -> bool:
    """Whether a value is a method of an estimator, which its copies have by themselves."""
    return getattr(value, "__self__", None) is owner


def named_parameters(builder: Callable) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, or those of a class's constructor."""
    if not isinstance(builder, type):
        return inspect.signature(builder).parameters
    # Keras gives its classes a __new__ that takes anything, which hides the constructor.
    own = dict(inspect.signature(builder.__init__).parameters)
    own.pop(next(iter(own)))
    return own


def arguments_of(builder) -> tuple[set[str], bool]:
    """Return the names that a builder takes, and whether it takes any name at all.

    A builder that takes `params` finds in it whatever the estimator was given.
    """
    if not isinstance(builder, Callable) or isinstance(builder, keras.Model):
        return set(), False
    parameters = named_parameters(builder).values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    takes_any = "params" in names or any(p.kind is p.VAR_KEYWORD for p in parameters)
    return names - {"meta", "compile_kwargs"}, takes_any


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
        if name == "build_fn":
            raise TypeError(
                f"build_fn is called model in stackfuse: {type(owner).__name__}(model=build_fn)."
            )
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
    twice = [name for name in names if f"model__{name}" in names]
    if twice:
        raise ValueError(f"{twice[0]} and model__{twice[0]} are the same: pass one of them.")
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
            f"Invalid parameter {name!r} for estimator {type(owner).__name__}. It is not one of "
            f"its own parameters, and the {who} {takes}.{_hint(name, owner, takers)}"
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


def check_for_call(owner, method: str, given: Iterable[str]) -> None:
    """Raise if a method of an estimator takes no such setting for one call.

    Parameters
    ----------
    owner : estimator
    method : {"fit", "predict"}
    given : iterable of str
        The names of the settings.

    Raises
    ------
    TypeError
        With what to type instead.
    """
    ours = {"callbacks", "class_weight", "validation_split"}
    known = {"batch_size", "verbose"}  # nothing is printed in prediction, whatever verbose is
    if method == "fit":
        known = set(inspect.signature(keras.Model.fit).parameters) - {"self"}
    for name in given:
        if method == "fit" and name in _OWNED_BY_FIT and name not in ours:
            raise TypeError(
                f"{type(owner).__name__}.fit takes no {name}: use {_OWNED_BY_FIT[name]}."
            )
        if name not in known:
            raise TypeError(
                f"{type(owner).__name__}.{method} takes no {name!r}."
                f"{messages.did_you_mean(name, known)}"
            )


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
