"""The time and groups of the folds, passed to networks that hold rows out for validation."""

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from stackfuse._core import sklearn_private
from stackfuse._oof.contributions import is_network
from stackfuse._oof.folds import Fold, are_in_time_order, needs_groups


def following_time(estimator, folds: Sequence[Fold]) -> Any:
    """Return an estimator whose networks hold out their last rows, if the folds predict later ones.

    Parameters
    ----------
    estimator : estimator
        Stays as it is; a clone is changed. Networks whose `validation` is set stay too.
    folds : sequence of Fold
    """
    if not are_in_time_order(folds):
        return estimator
    parts = {"": estimator, **estimator.get_params(deep=True)}
    unsaid = [
        name
        for name, value in parts.items()
        if name.rpartition("__")[2] == "validation"
        and isinstance(value, str)
        and value == "auto"
        and is_network(parts.get(name.removesuffix("validation").removesuffix("__")))
    ]
    return clone(estimator).set_params(**dict.fromkeys(unsaid, "last")) if unsaid else estimator


def with_groups(estimator, groups) -> dict[str, Any]:
    """Return the fit parameters by which groups reach an estimator, without metadata routing.

    Networks that hold rows out are given them, in a pipeline or under a transformed target too;
    and so are stacks and searches whose own splitter needs groups.

    Parameters
    ----------
    estimator : estimator
    groups : array-like of shape (n_samples,) or None
    """
    name = None if groups is None else _parameter_for_groups(estimator)
    return {} if name is None else {name: groups}


def _parameter_for_groups(estimator) -> str | None:
    """Return the name of the fit parameter by which groups reach an estimator; None if they don't.

    Only what hands on each row once, in its place, is looked into.
    """
    if is_network(estimator):
        takes = has_fit_parameter(estimator, "groups")
        return "groups" if takes and _holds_out_any(estimator) else None
    if isinstance(estimator, Pipeline):
        if any(hasattr(step, "fit_resample") for _, step in estimator.steps):
            return None
        name, last = estimator.steps[-1]
        inner = _parameter_for_groups(last) if hasattr(last, "get_params") else None
        return inner and f"{name}__{inner}"
    if isinstance(estimator, TransformedTargetRegressor):
        return estimator.regressor and _parameter_for_groups(estimator.regressor)
    if is_stack(estimator):
        outer = isinstance(estimator.cv, str) and estimator.cv == "outer"
        return "groups" if outer or needs_groups(estimator.cv) else None
    searches = isinstance(estimator, sklearn_private.BaseSearchCV)
    return "groups" if searches and needs_groups(estimator.cv) else None


def _holds_out_any(network) -> bool:
    """Whether a network holds out rows of which groups may say which."""
    return bool(network.validation_split) and network.validation != "last"


def is_stack(estimator) -> bool:
    """Whether an estimator is a stack of ours."""
    return hasattr(type(estimator), "refit_final")


def warn_where_groups_are_lost(bases: Sequence[tuple[str, Any]]) -> None:
    """Warn of networks that hold out rows of any group, because groups do not reach them."""
    for name, base in bases:
        if isinstance(base, FrozenEstimator):
            continue
        if _parameter_for_groups(base) and not isinstance(base, sklearn_private.BaseSearchCV):
            continue
        parts = [base, *base.get_params(deep=True).values()]
        if any(is_network(part) and _holds_out_any(part) for part in parts):
            warnings.warn(
                f"Base estimator {name!r} ({type(base).__name__}) cannot pass groups on to its "
                "network, so validation_split would cut through groups. Use validation_split=0. "
                "Groups only reach a network that stands alone, in a Pipeline, in a "
                "TransformedTargetRegressor or in a stack with cv='outer'.",
                stacklevel=2,
            )
