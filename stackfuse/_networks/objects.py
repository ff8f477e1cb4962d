"""Objects made from a description and routed settings: ``callbacks=EarlyStopping, patience=3``."""

import inspect
from typing import Any

import keras

from stackfuse._core import fitting, messages
from stackfuse._keras import own_code, private

#: Names of metrics that Keras reads by the shape of y.
_CHOSEN_BY_KERAS = ("acc", "accuracy", "ce", "crossentropy")


def _is_share(value: Any) -> bool:
    return fitting.is_number(value) and 0 <= value < 1


def _is_rate(value: Any) -> bool:
    if fitting.is_number(value):
        return value >= 0
    schedules = keras.optimizers.schedules.LearningRateSchedule
    return callable(value) or isinstance(value, schedules | dict)


_SHARE = fitting.Wanted(_is_share, "a number from 0 to below 1")
_LIMIT = fitting.Wanted(
    lambda value: value is None or fitting.is_positive(value), "None or a number above 0"
)

#: Checks of the settings of optimizers. Keras checks few of them.
_OF_OPTIMIZERS = {
    "learning_rate": fitting.Wanted(
        _is_rate, "a finite number of at least 0, or a learning rate schedule of Keras"
    ),
    **dict.fromkeys(("beta_1", "beta_2", "rho", "ema_momentum"), _SHARE),
    "momentum": fitting.Wanted(
        lambda value: fitting.is_number(value) and 0 <= value <= 1, "a number from 0 to 1"
    ),
    "epsilon": fitting.Wanted(
        lambda value: fitting.is_number(value) and value >= 0, "a number of at least 0"
    ),
    "weight_decay": fitting.Wanted(
        lambda value: value is None or (fitting.is_number(value) and value >= 0),
        "None or a number of at least 0",
    ),
    **dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"), _LIMIT),
}


def build_from_settings(spec: Any, settings: dict[str, Any], name: str) -> Any:
    """Return the object that a parameter and its settings describe.

    Parameters
    ----------
    spec : object, class, name, list or dict of these
        A class, or the class that a loss's or metric's name stands for, is called with its
        settings; an object is returned as it is.
    settings : dict of str to object
        By name; the members of a list or dict have ``position__setting`` or ``key__setting``, and
        settings without a prefix are for all classes among them.
    name : str
        Names the parameter in the message.

    Raises
    ------
    ValueError
        If settings are given for an entry that is no class, or is missing.

    Examples
    --------
    >>> build_from_settings([complex, 3], {"0__real": 1.0, "imag": 2.0}, "numbers")
    [(1+2j), 3]
    """
    if isinstance(spec, dict):
        members = _list_from_settings(list(spec), list(spec.values()), settings, name)
        return dict(zip(spec, members))
    if isinstance(spec, list | tuple):
        return _list_from_settings([str(k) for k in range(len(spec))], list(spec), settings, name)
    if settings and isinstance(spec, str):
        spec = _class_named(spec, name)
    if isinstance(spec, type):
        return _called(spec, settings, name)
    if settings:
        raise ValueError(
            f"{name}__{next(iter(settings))} needs a class to apply to, but {name} is {spec!r}: "
            f"pass the class itself, {name}=TheClass."
        )
    return spec


def _class_named(spec: str, name: str) -> Any:
    """Return the class of Keras that a name stands for, to be made with settings."""
    module = {"loss": keras.losses, "metrics": keras.metrics}.get(name.partition("__")[0])
    if module is None:
        return spec
    if spec.lower() in _CHOSEN_BY_KERAS:
        raise ValueError(
            f"{name}={spec!r} lets Keras choose the class by y, so it takes no settings. Name the "
            "class, for example 'BinaryAccuracy' or 'SparseCategoricalAccuracy'."
        )
    found = messages.keras_object_named(spec, module, name)
    plain = getattr(found, "__name__", type(found).__name__).replace("_", "").lower()
    classes = {key.lower(): kind for key, kind in vars(module).items() if isinstance(kind, type)}
    return classes.get(plain, spec)


def _called(kind: type, settings: dict[str, Any], name: str) -> Any:
    """Return an object of a class; a setting that the class does not have is named."""
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        _check_settings(kind, settings, name, error)
        raise


def _check_settings(kind: type, settings, name: str, error: Exception | None = None) -> None:
    """Raise if no constructor of a class or its bases takes a setting."""
    known = [
        parameter
        for base in kind.__mro__[:-1]
        for parameter in inspect.signature(base.__init__).parameters
        if parameter not in ("self", "args", "kwargs")
    ]
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"{name}__{setting} is not a setting of "
                f"{kind.__name__}.{messages.did_you_mean(setting, known)}"
            ) from error


def check_loss(loss: Any) -> Any:
    """Return `loss`; raise ValueError if it, or one in a list or dict, can be none."""
    for one in keras.tree.flatten(loss):
        kind = one if isinstance(one, type) else type(one)
        no_loss = issubclass(kind, keras.metrics.Metric | keras.layers.Layer)
        if no_loss or not (one is None or isinstance(one, str) or callable(one)):
            raise ValueError(
                "loss must be a name, a function, a keras.losses class or an instance, got "
                f"{messages.in_short(one)}."
            )
    return loss


def check_metrics(metrics: Any) -> Any:
    """Return `metrics` in a list or dict, checked.

    Raises
    ------
    ValueError
        If Keras knows no metric of a name.
    """
    given = keras.tree.flatten(metrics)
    if metrics is not None and given and all(metric is None for metric in given):
        raise ValueError(
            "metrics must be names, functions, keras.metrics classes or instances, got "
            f"{messages.in_short(metrics)}: leave them out."
        )
    for metric in given:
        if not (metric is None or isinstance(metric, str | dict) or callable(metric)):
            raise ValueError(
                "metrics must be names, functions, keras.metrics classes or instances, got "
                f"{messages.in_short(metric)}."
            )
        if not isinstance(metric, str) or metric.lower() in ("accuracy", "acc"):
            continue
        if not hasattr(keras.metrics, metric):
            messages.keras_object_named(metric, keras.metrics, "metrics")
    several = metrics is None or isinstance(metrics, list | tuple | dict)
    return metrics if several else [metrics]


def check_callbacks(callbacks: list) -> None:
    """Raise if an entry is no callback.

    Raises
    ------
    ValueError
        Naming it.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"callbacks must be keras.callbacks.Callback objects or classes, got {callback!r}."
            )


def _list_from_settings(keys: list[str], parts: list, settings: dict[str, Any], name: str) -> list:
    """Return the objects that the entries of a list or dict describe."""
    general = {key: value for key, value in settings.items() if "__" not in key}
    own: dict[str, dict[str, Any]] = {key: {} for key in keys}
    for setting in settings.keys() - general.keys():
        key, _, rest = setting.partition("__")
        if key not in own:
            raise ValueError(f"{name}__{setting}: {name} has no entry {key!r}, only {keys}.")
        own[key][rest] = settings[setting]
    # Settings without a place are for classes; for names only where there is no class.
    kind = type if any(isinstance(part, type) for part in parts) else str
    if general and not any(isinstance(part, kind) for part in parts):
        raise ValueError(
            f"{name}__{next(iter(general))} needs a class to apply to, but {name} holds none. "
            f"Pass a class in {name}."
        )
    return [
        build_from_settings(
            part, (general if isinstance(part, kind) else {}) | own[key], f"{name}__{key}"
        )
        for key, part in zip(keys, parts)
    ]


def fresh_optimizer(optimizer, config: dict[str, Any]):
    """Return a new optimizer from a name, a class or an instance that stays as it is."""
    prefixed = {f"optimizer__{name}": value for name, value in config.items()}
    wanted = {f"optimizer__{name}": one for name, one in _OF_OPTIMIZERS.items() if name in config}
    fitting.check_settings(prefixed, wanted)
    if fitting.is_number(config.get("learning_rate")):  # Keras takes no whole numbers
        config = config | {"learning_rate": float(config["learning_rate"])}
    if isinstance(optimizer, str):
        # One name for all: TensorFlow keeps something for every name it has seen, for good.
        one_name = {"name": optimizer.lower()}
        optimizer = messages.keras_object_named(optimizer, keras.optimizers, "optimizer", one_name)
        if not config:
            return optimizer
    if isinstance(optimizer, type):
        return _called(optimizer, config, "optimizer")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"optimizer must be a name, a keras.optimizers class or an instance, got {optimizer!r}."
        )
    try:
        settings = optimizer.get_config() | config
        settings["name"] = type(optimizer).__name__.lower()
        if private.knows_exempt_weights(optimizer):
            raise TypeError("its configuration does not hold exclude_from_weight_decay")
        with own_code.known_to_keras(own_code.own_code(optimizer)):
            return type(optimizer).from_config(settings)
    except (TypeError, ValueError, NotImplementedError) as error:
        _check_settings(type(optimizer), config, "optimizer", error)
        raise ValueError(
            f"The optimizer {type(optimizer).__name__} cannot be copied for a fit: {error}. Pass a "
            "name and optimizer__ parameters, or let the builder make it and compile the model."
        ) from error
