"""Compiled training and prediction of a network."""

from stackfuse._training import prediction
from stackfuse._training.batches import rows_of
from stackfuse._training.process import locked, numbers_of_threads, seeded, undisturbing
from stackfuse._training.program import compiled, copy_state
from stackfuse._training.side_by_side import eligibility
from stackfuse._training.side_by_side.loop import SideBySide
from stackfuse._training.training import Training, train

__all__ = [
    "SideBySide",
    "Training",
    "compiled",
    "copy_state",
    "eligibility",
    "locked",
    "numbers_of_threads",
    "prediction",
    "rows_of",
    "seeded",
    "train",
    "undisturbing",
]
