"""Base estimators before they are fitted: checked, told what they need to know, routed to."""

from stackfuse._oof.bases.given import (
    check_weights,
    named_bases,
    networks_from_files,
    pairs_of,
    relabelled,
    with_memory,
)
from stackfuse._oof.bases.routing import parameter_for_weights, route, router_of, with_splitter
from stackfuse._oof.bases.validation import following_time, with_groups

__all__ = [
    "check_weights",
    "following_time",
    "named_bases",
    "networks_from_files",
    "pairs_of",
    "parameter_for_weights",
    "relabelled",
    "route",
    "router_of",
    "with_groups",
    "with_memory",
    "with_splitter",
]
