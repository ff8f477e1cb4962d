"""Compiled training and prediction of a network."""

from stackfuse._training import prediction
from stackfuse._training.batches import rows_of
from stackfuse._training.process import locked, seeded
from stackfuse._training.program import compiled, copy_state
from stackfuse._training.side_by_side.eligibility import check_replica, groups_of, worth_a_graph
from stackfuse._training.side_by_side.loop import SideBySide
from stackfuse._training.training import Training, train

__all__ = [
    "SideBySide",
    "Training",
    "check_replica",
    "compiled",
    "copy_state",
    "groups_of",
    "locked",
    "prediction",
    "rows_of",
    "seeded",
    "train",
    "worth_a_graph",
]
