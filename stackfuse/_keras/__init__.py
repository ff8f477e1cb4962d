"""Properties of Keras models: architecture, outputs and their meaning, losses, rows, copies."""

from stackfuse._keras import (
    architecture,
    copies,
    indices,
    loading,
    losses,
    own_code,
    penultimate,
    private,
    several_outputs,
)
from stackfuse._keras.checks import check_network
from stackfuse._keras.rows import Rows, input_structure

__all__ = [
    "Rows",
    "architecture",
    "check_network",
    "copies",
    "indices",
    "input_structure",
    "loading",
    "losses",
    "own_code",
    "penultimate",
    "private",
    "several_outputs",
]
