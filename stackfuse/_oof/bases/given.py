"""Base estimators as they are given: checked, told the classes by number, given a memory."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import has_fit_parameter

from stackfuse import _networks
from stackfuse._core import messages, targets


def pairs_of(estimators: Any) -> list[tuple[str, Any]]:
    """Return names and estimators as a list.

    Raises
    ------
    TypeError
        If they are anything else, or a name is no text.
    ValueError
        If a name is empty, or has two underscores, which stand between the names of parameters.
    """
    example = "a list of (name, estimator), such as [('forest', RandomForestClassifier())]"
    if isinstance(estimators, Mapping):
        raise TypeError(f"estimators must be {example}, got a dict: use list(estimators.items()).")
    if isinstance(estimators, str) or not isinstance(estimators, Iterable):
        raise TypeError(f"estimators must be {example}, got {messages.in_short(estimators)}.")
    pairs: list[Any] = list(estimators)
    for k, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError(
                f"estimators must be {example}, but estimators[{k}] is {messages.in_short(pair)}."
            )
        if not isinstance(pair[0], str):
            raise TypeError(
                f"The name in estimators[{k}] must be text, got {messages.in_short(pair[0])}."
            )
        if not pair[0] or "__" in pair[0]:
            problem = "Estimator names must not contain __" if pair[0] else "A name is empty"
            raise ValueError(f"{problem}: estimators[{k}] is named {pair[0]!r}.")
    return pairs


def named_bases(estimators: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the names and estimators that are not dropped.

    Raises
    ------
    TypeError
        If one of them is no estimator.
    """
    bases = [(name, base) for name, base in estimators if not targets.is_dropped(base)]
    for name, estimator in bases:
        if isinstance(estimator, type):
            raise TypeError(
                f"Base estimator {name!r} is the class {estimator.__name__}: "
                f"pass an instance, {estimator.__name__}()."
            )
        if not hasattr(estimator, "get_params"):
            raise TypeError(
                f"Base estimator {name!r} must be a scikit-learn estimator, got "
                f"{messages.in_short(estimator)}. Wrap a function that builds a Keras model: "
                "sf.KerasClassifier(build)."
            )
    return bases


def networks_from_files(estimators, *, classifier: bool) -> list:
    """Replace the paths of Keras files among the estimators by networks that are not trained."""

    def is_path(base) -> bool:
        return isinstance(base, str | os.PathLike) and not targets.is_dropped(base)

    def network(path):
        kind = _networks.KerasClassifier if classifier else _networks.KerasRegressor
        return kind(os.fspath(path), epochs=0)

    return [(name, network(base)) if is_path(base) else (name, base) for name, base in estimators]


def relabelled(estimator, classes: np.ndarray | None):
    """Return an estimator whose class weights are by class number, as it is told the classes.

    Raises
    ------
    ValueError
        If a class weight is for a label that y does not hold.
    """
    if classes is None or np.array_equal(classes, np.arange(len(classes))):
        return estimator
    weights = {
        name: value
        for name, value in estimator.get_params(deep=True).items()
        if isinstance(value, dict) and (name == "class_weight" or name.endswith("__class_weight"))
    }
    _refuse_searched_weights(estimator)
    if not weights:
        return estimator
    numbers = {label: k for k, label in enumerate(classes.tolist())}
    for name, weight in weights.items():
        unknown = [label for label in weight if label not in numbers]
        if unknown:
            raise ValueError(
                f"{name} of {type(estimator).__name__} weighs {unknown[0]!r}, which is not one of "
                f"the classes {list(numbers)}."
            )
        weights[name] = {numbers[label]: value for label, value in weight.items()}
    return clone(estimator).set_params(**weights)


def _refuse_searched_weights(estimator) -> None:
    """Raise if a search inside the estimator tries class weights, which nobody translates."""
    for name, grid in estimator.get_params(deep=True).items():
        if not name.endswith(("param_grid", "param_distributions")):
            continue
        for part in grid if isinstance(grid, list) else [grid]:
            for key, values in part.items():
                dicts = isinstance(values, list | tuple) and any(
                    isinstance(value, dict) for value in values
                )
                if key.endswith("class_weight") and dicts:
                    raise ValueError(
                        f"{type(estimator).__name__} searches {key} by label, but a stack passes "
                        "classes as numbers 0, 1, ... Number the classes in y and in the "
                        "weights: LabelEncoder().fit_transform(y)."
                    )


def check_weights(
    bases: Sequence[tuple[str, Any]],
    on_error: str,
    failures: dict[str, str],
    final_estimator: Any = None,
) -> list[tuple[str, Any]]:
    """Return the bases that can take sample weights.

    Raises
    ------
    TypeError
        If the meta-learner cannot, or a base with ``on_error="raise"``; with ``"drop"`` such bases
        are added to the failures, and told.
    """
    takers = []
    final = [] if final_estimator is None else [("final_estimator", final_estimator)]
    for name, estimator in [*bases, *final]:
        if has_fit_parameter(estimator, "sample_weight"):
            takers.append((name, estimator))
            continue
        cause = (
            f"Underlying estimator {messages.printable(name)} ({type(estimator).__name__}) does "
            "not support sample weights"
        )
        if on_error == "raise" or estimator is final_estimator:
            raise TypeError(
                f"{cause}. Leave sample_weight out, drop such bases with on_error='drop', or "
                "enable scikit-learn's metadata routing and set_fit_request on those that take it."
            )
        failures[name] = cause
        warnings.warn(f"{cause}, so it is dropped.", stacklevel=2)
    takers = takers[: len(takers) - len(final)]
    if not takers:
        raise ValueError("No base estimator supports sample weights: leave sample_weight out.")
    return takers


def with_memory(base, memory):
    """Return a base whose inner stacks keep their fits in the same place, if in none yet."""
    if memory is None or isinstance(base, FrozenEstimator):
        return base
    parts = {"": base, **base.get_params(deep=True)}
    stacks = [name for name, part in parts.items() if hasattr(part, "refit_final")]
    names = [f"{name}__memory" if name else "memory" for name in stacks]
    unset = {name: memory for name in names if base.get_params(deep=True)[name] is None}
    return clone(base).set_params(**unset) if unset else base
