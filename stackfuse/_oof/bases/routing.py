"""Where metadata goes in an out-of-fold run: to the bases, and to the splitter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import has_fit_parameter

from stackfuse._core import sklearn_private
from stackfuse._oof.bases.validation import warn_where_groups_are_lost, with_groups

#: The splitter's name in the router: no base can have it, for theirs hold no "__".
_SPLITTER = "cv__splitter"


def router_of(bases: Sequence[tuple[str, Any]], cv) -> MetadataRouter:
    """Return the router of an out-of-fold run by itself."""
    router = MetadataRouter(owner="out_of_fold")
    for name, base in bases:
        fits = MethodMapping().add(caller="fit", callee="fit")
        router.add(**{name: base}, method_mapping=fits)
    return with_splitter(router, cv)


def with_splitter(router: MetadataRouter, cv) -> MetadataRouter:
    """Add a splitter to a router."""
    splits = MethodMapping().add(caller="fit", callee="split")
    splitter = cv if hasattr(cv, "get_metadata_routing") else _NoSplitter()
    return router.add(**{_SPLITTER: splitter}, method_mapping=splits)


def route(
    router: Any, bases: Sequence[tuple[str, Any]], groups, fit_params: dict[str, Any]
) -> tuple[dict[str, dict], dict[str, Any]]:
    """Return the fit parameters of each base, and the splitter's.

    Parameters
    ----------
    router : MetadataRouter, or an object that has one
    bases : sequence of (str, estimator)
    groups : array-like of shape (n_samples,) or None
    fit_params : dict
    """
    if not sklearn_private.routing_enabled():
        if groups is None:
            return {name: fit_params for name, _ in bases}, {}
        groups = np.asarray(groups)
        warn_where_groups_are_lost(bases)
        params = {name: fit_params | with_groups(base, groups) for name, base in bases}
        return params, {"groups": groups}
    if groups is not None:
        fit_params = {**fit_params, "groups": groups}
    routed = process_routing(router, "fit", **fit_params)
    return {name: routed[name]["fit"] for name, _ in bases}, routed[_SPLITTER]["split"]


class _NoSplitter:
    """Stands in for a cv that takes no metadata, such as a number of folds."""

    def get_metadata_routing(self):
        return MetadataRouter(owner=self)


def parameter_for_weights(final_estimator) -> str:
    """Return the name of the fit parameter by which weights reach a meta-learner.

    Raises
    ------
    ValueError
        If none does.
    """
    if has_fit_parameter(final_estimator, "sample_weight"):
        return "sample_weight"
    if not sklearn_private.routing_enabled():
        if isinstance(final_estimator, Pipeline):
            name, last = final_estimator.steps[-1]
            if has_fit_parameter(last, "sample_weight"):
                return f"{name}__sample_weight"
        if isinstance(final_estimator, sklearn_private.BaseSearchCV):
            return parameter_for_weights(final_estimator.estimator)
    raise ValueError(
        f"recency weighs the rows of the meta-learner, but {type(final_estimator).__name__} takes "
        "no sample_weight. Use another final_estimator, or recency=None."
    )
