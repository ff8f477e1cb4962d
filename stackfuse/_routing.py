"""Objects made from a description and routed settings: ``callbacks=EarlyStopping, patience=3``."""

from typing import Any


def made(spec: Any, settings: dict[str, Any], name: str) -> Any:
    """Return what a parameter describes, its settings applied.

    Parameters
    ----------
    spec : object, class, list or dict of these
        A class is called with its settings; an object is returned as it is.
    settings : dict of str to object
        By name; the members of a list or dict have ``position__setting`` or ``key__setting``, and
        settings without a prefix are for all classes among them.
    name : str
        Names the parameter in the message.

    Raises
    ------
    ValueError
        If there are settings for what is no class, or no member.

    Examples
    --------
    >>> made([complex, 3], {"0__real": 1.0, "imag": 2.0}, "numbers")
    [(1+2j), 3]
    """
    if isinstance(spec, dict):
        members = _members(list(spec), list(spec.values()), settings, name)
        return dict(zip(spec, members))
    if isinstance(spec, list | tuple):
        return _members([str(k) for k in range(len(spec))], list(spec), settings, name)
    if isinstance(spec, type):
        return spec(**settings)
    if settings:
        raise ValueError(
            f"{name}__{next(iter(settings))} needs a class to apply to, but {name} is {spec!r}: "
            f"pass the class itself, {name}=TheClass."
        )
    return spec


def _members(keys: list[str], parts: list, settings: dict[str, Any], name: str) -> list:
    """Return the members of a list or dict, made."""
    general = {key: value for key, value in settings.items() if "__" not in key}
    own: dict[str, dict[str, Any]] = {key: {} for key in keys}
    for setting in settings.keys() - general.keys():
        key, _, rest = setting.partition("__")
        if key not in own:
            raise ValueError(f"{name}__{setting}: {name} has no member {key!r}, only {keys}.")
        own[key][rest] = settings[setting]
    if general and not any(isinstance(part, type) for part in parts):
        raise ValueError(
            f"{name}__{next(iter(general))} needs a class to apply to, but {name} holds none."
        )
    return [
        made(part, (general if isinstance(part, type) else {}) | own[key], f"{name}__{key}")
        for key, part in zip(keys, parts)
    ]


def fresh_optimizer(optimizer, config: dict[str, Any]):
    """Return a new optimizer from a name, a class or an instance that stays as it is."""
    import keras

    if isinstance(optimizer, str):
        optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, type):
        return optimizer(**config)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"optimizer must be a name, a keras.optimizers class or an instance, got {optimizer!r}."
        )
    try:
        settings = optimizer.get_config() | config
        # One name for all: TensorFlow keeps something for every name it has seen, for good.
        settings["name"] = type(optimizer).__name__.lower()
        if getattr(optimizer, "_exclude_from_weight_decay_cache", None) is not None:
            raise TypeError("its configuration does not hold exclude_from_weight_decay")
        return type(optimizer).from_config(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The optimizer {type(optimizer).__name__} cannot be copied for a fit: {error}. Pass a "
            "name and optimizer__ parameters, or let the builder make it and compile the model."
        ) from error
