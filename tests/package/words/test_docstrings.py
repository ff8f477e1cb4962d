"""Docstrings of public names keep numpydoc's rules, say the defaults, and show an example."""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

import stackfuse as sf

#: Rules that scikit-learn's docstrings do not keep either.
LEFT_OUT = {
    "ES01",  # a summary may be enough
    "GL01",  # the summary begins right behind the opening quotes
    "RT02",  # results have a name: "labels : ndarray of shape (n_samples,)"
    "SA01",  # the text links to what belongs together
}
SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Attributes")


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public class and function, with the name under which users find it."""
    for space in ("", "models", "engines", "formats", "testing"):
        module = getattr(sf, space) if space else sf
        for name in module.__all__:
            if not isinstance(value := getattr(module, name), ModuleType):
                yield ".".join(filter(None, ("stackfuse", space, name))), value


def members(owner: Any) -> Iterator[str]:
    """Yield the public methods and properties of a class that the package defines."""
    for name in dir(owner) if inspect.isclass(owner) else ():
        homes = [base for base in owner.__mro__ if name in vars(base)]
        if name.startswith("_") or not homes or not homes[0].__module__.startswith("stackfuse"):
            continue
        value = vars(homes[0])[name]
        computed = isinstance(value, property | cached_property)
        # Methods of scikit-learn, such as set_fit_request, have another module.
        ours = getattr(value, "__module__", "").startswith("stackfuse")
        if computed or (ours and callable(getattr(owner, name))):
            yield name


PUBLIC = dict(public())


@pytest.mark.parametrize("path", PUBLIC)
def test_public_docstrings_are_whole(path):
    found = {path: list(breaches(path, PUBLIC[path]))}
    for name in members(PUBLIC[path]):
        found[f"{path}.{name}"] = [
            breach
            for breach in breaches(f"{path}.{name}", getattr(PUBLIC[path], name))
            if not breach.startswith("EX01")  # an example of the class shows its methods
        ]
    assert {name: told for name, told in found.items() if told} == {}


def breaches(path: str, value: Any) -> Iterator[str]:
    """Yield what is wrong with a docstring."""
    for code, message in validate(path)["errors"]:
        # A protocol is no constructor: it is not called with parameters.
        if code not in LEFT_OUT and not (code == "PR01" and getattr(value, "_is_protocol", False)):
            yield f"{code}: {message}"
    doc = get_doc_object(value, config={"show_class_members": False})
    for section in SECTIONS:
        for entry in doc[section] if section in doc else ():
            text = " ".join(entry.desc).strip()
            if not text or re.match(r"(As|See) (for |in )?:\w+:`\w+`\.?$", text):
                yield f"{section}: {entry.name or entry.type} is not described"
    documented = {
        name.strip().lstrip("*"): entry.type
        for entry in doc["Parameters"]
        for name in entry.name.split(",")
    }
    yield from unsaid_defaults(value, documented)


def unsaid_defaults(value: Any, types: dict[str, str]) -> Iterator[str]:
    """Yield the parameters whose docstring does not say the default."""
    if not callable(value):
        return
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # of exceptions, say
        return
    for parameter in parameters:
        said = types.get(parameter.name, "")
        if parameter.default is not parameter.empty and "default" not in said:
            yield f"Parameters: the default of {parameter.name}, {parameter.default!r}, is not said"
