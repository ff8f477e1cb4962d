"""Where metadata goes: to the base estimators, and to the splitter."""

from collections.abc import Sequence
from typing import Any

from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from stackfuse._core import sklearn_private


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
    return router.add(splitter=splitter, method_mapping=splits)


def route(
    router: Any, names: Sequence[str], groups, fit_params: dict[str, Any]
) -> tuple[dict[str, dict], dict[str, Any]]:
    """Return the fit parameters of each base, and the splitter's.

    Parameters
    ----------
    router : MetadataRouter, or an object that has one
    names : sequence of str
        Of the bases.
    groups : array-like of shape (n_samples,) or None
    fit_params : dict
    """
    if not sklearn_private.routing_enabled():
        split_params = {} if groups is None else {"groups": groups}
        return dict.fromkeys(names, fit_params), split_params
    if groups is not None:
        fit_params = {**fit_params, "groups": groups}
    routed = process_routing(router, "fit", **fit_params)
    return {name: routed[name]["fit"] for name in names}, routed["splitter"]["split"]


class _NoSplitter:
    """Stands in for a cv that takes no metadata, such as a number of folds."""

    def get_metadata_routing(self):
        return MetadataRouter(owner=self)
