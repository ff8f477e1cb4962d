"""Starter networks, and bases for tables."""

from stackfuse._models.images import cnn
from stackfuse._models.mlp import mlp
from stackfuse._models.periodic import mlp_plr
from stackfuse._models.resnet import resnet
from stackfuse._models.sequences import rnn
from stackfuse._models.tables import holds_classes, table_bases
from stackfuse._models.tabm import tabm
from stackfuse._models.training import classifier, regressor

__all__ = [
    "classifier",
    "cnn",
    "holds_classes",
    "mlp",
    "mlp_plr",
    "regressor",
    "resnet",
    "rnn",
    "table_bases",
    "tabm",
]
