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
        If there are settings for what is no class.

    Examples
    --------
    >>> made([complex, 3], {"0__real": 1.0, "imag": 2.0}, "numbers")
    [(1+2j), 3]
    """
    _check(spec, settings, name)
    if isinstance(spec, dict):
        return {key: _member(part, settings, key, name) for key, part in spec.items()}
    if isinstance(spec, list | tuple):
        return [_member(part, settings, str(k), name) for k, part in enumerate(spec)]
    if isinstance(spec, type):
        return spec(**{key: value for key, value in settings.items() if "__" not in key})
    return spec


def _member(part: Any, settings: dict[str, Any], key: str, name: str) -> Any:
    own = {k for k in settings if k.startswith(f"{key}__")}
    takes = isinstance(part, type | list | tuple | dict) or own
    return made(part, _below(settings, key), name) if takes else part


def _check(spec: Any, settings: dict[str, Any], name: str) -> None:
    parts = list(spec.values()) if isinstance(spec, dict) else spec
    parts = parts if isinstance(parts, list | tuple) else [parts]
    if settings and not any(isinstance(part, type | list | tuple | dict) for part in parts):
        raise ValueError(
            f"{name}__{next(iter(settings))} needs a class to apply to, but {name} is {spec!r}: "
            f"pass the class itself, {name}=TheClass."
        )


def _below(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the settings of one member: those with its prefix go before those for all."""
    prefix = f"{key}__"
    general = {k: v for k, v in settings.items() if "__" not in k}
    own = {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
    return general | own
