"""The table of formats: each registers itself, those of other packages by an entry point."""

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import TypeVar

from stackfuse._core import messages
from stackfuse._export.checking.process import REFUSED
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.loading import check_stands_alone

#: The formats that are known, by their names.
FORMATS: dict[str, Format] = {}

#: The entry points by which packages name modules that register formats.
GROUP = "stackfuse.formats"

Class = TypeVar("Class", bound=type[Format])


def register(format_class: Class) -> Class:
    """Register a format: use it as the decorator of its class.

    From then on, :func:`stackfuse.export` and all that reads exported files find it by its name and
    by the ending of its files. An installed package makes ``stackfuse inspect`` find it too, with
    an entry point that names the module::

        [project.entry-points."stackfuse.formats"]
        foo = "my_package.foo"

    Parameters
    ----------
    format_class : type
        A subclass of :class:`Format` that is made without arguments.

    Returns
    -------
    format_class : type
        The same class.

    Raises
    ------
    TypeError
        If the class is no complete format.
    ValueError
        If another format has its name or its ending.

    Examples
    --------
    >>> import stackfuse as sf
    >>> @sf.formats.register
    ... class Nameless(sf.formats.Format):
    ...     def write(self, graph, path): ...
    ...     def load(path): ...
    Traceback (most recent call last):
    ...
    TypeError: Nameless has no name: set it in the class to a string.
    """
    if not isinstance(format_class, type) or not issubclass(format_class, Format):
        raise TypeError(f"register takes a subclass of Format, got {format_class!r}.")
    form = format_class()  # a method that is missing is named by Python itself
    _check_names(format_class)
    check_stands_alone(format_class)
    for other in FORMATS.values():
        known = type(other)
        again = (known.__module__, known.__qualname__) == (
            format_class.__module__,
            format_class.__qualname__,
        )
        if not again and (other.name == form.name or other.suffix == form.suffix):
            raise ValueError(
                f"{format_class.__name__} has the name {form.name!r} and the ending "
                f"{form.suffix!r}, but {other.title} already uses one of them. Choose others."
            )
    FORMATS[form.name] = form
    return format_class


def _check_names(cls: type[Format]) -> None:
    """Raise if a format has no names, or such as cannot be found again."""
    for attribute in ("name", "suffix", "title"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise TypeError(f"{cls.__name__} has no {attribute}: set it in the class to a string.")
    for ending in (cls.suffix, *cls.companions):
        if ending and (not ending[1:].strip() or Path(f"x{ending}").suffix != ending):
            raise ValueError(f"An ending of files must be like '.foo', got {ending!r}.")
    refused = sorted(set(REFUSED).intersection(m.partition(".")[0] for m in cls.runs_with))
    if refused:
        raise ValueError(
            f"{cls.__name__} names {refused[0]} in runs_with, but files must run without it. "
            "Take it out."
        )


@cache
def _broken_packages() -> list[str]:
    """Import the formats of installed packages; return what is wrong with those that fail."""
    broken = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # any error of another package's module
            broken.append(f" ({entry.value} of the format {entry.name!r} fails: {error!r})")
    return broken


def format_of(path: Path, format: str | None = None) -> Format:
    """Return the format of a path, by its name if that is given, else by the path's ending.

    Raises
    ------
    ValueError
        If no format has this name or ending, or they contradict each other.
    """
    bare = path.name in {form.suffix for form in FORMATS.values() if form.suffix}
    if not path.name or path.name == ".." or bare:
        raise ValueError(
            f"The path {str(path)!r} names no file. Write, for example, 'stack.keras'."
        )
    if format is not None:
        form = named(format)
        if form.suffix and path.suffix != form.suffix:
            raise ValueError(
                f"A path for format={format!r} must end in {form.suffix!r}, got "
                f"{messages.printable(path)}."
            )
        return form
    found = _with_suffix(path.suffix)
    if found is not None:
        return found
    broken = "".join(_broken_packages())
    found = _with_suffix(path.suffix)
    if found is not None:
        return found
    endings = ", ".join(sorted(form.suffix for form in FORMATS.values() if form.suffix))
    raise ValueError(
        f"The ending of {str(path)!r} names no format. Use {endings}, or a path without an ending "
        f"for a SavedModel directory.{broken}"
    )


def _with_suffix(suffix: str) -> Format | None:
    return next((form for form in FORMATS.values() if form.suffix == suffix), None)


def named(name: str) -> Format:
    """Return the format with a name.

    Parameters
    ----------
    name : str
        The name, as in ``sf.export(..., format=name)``.

    Returns
    -------
    format : Format
        The format.

    Raises
    ------
    ValueError
        If there is no such format; the message lists them all.

    Examples
    --------
    >>> import stackfuse as sf
    >>> sf.formats.named("onnx").suffix
    '.onnx'
    """
    if not isinstance(name, str) or name not in FORMATS:
        broken = "".join(_broken_packages())
        if not isinstance(name, str) or name not in FORMATS:
            raise ValueError(
                f"format must be {messages.listed(sorted(FORMATS))}, got {name!r}."
                f"{_meant(name)}{broken}"
            )
    return FORMATS[name]


def _meant(name: object) -> str:
    """Return the question whether a format was meant: by its ending, or a similar name."""
    ending = f".{str(name).lower().lstrip('.')}"
    form = _with_suffix(ending)
    return f" Did you mean {form.name!r}?" if form else messages.did_you_mean(name, FORMATS)
