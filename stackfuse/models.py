"""Starter networks that are good without tuning, and bases for tables.

A builder is the ``model`` of a :class:`KerasClassifier` or :class:`KerasRegressor`; its settings
are parameters of the estimator. :func:`classifier` and :func:`regressor` add those of training.

Examples
--------
>>> import stackfuse as sf
>>> sf.models.classifier(sf.models.mlp, depth=3).get_params()["depth"]
3
"""

from stackfuse._models import (
    classifier,
    cnn,
    mlp,
    mlp_plr,
    regressor,
    resnet,
    rnn,
    table_bases,
    tabm,
)

__all__ = [
    "classifier",
    "cnn",
    "mlp",
    "mlp_plr",
    "regressor",
    "resnet",
    "rnn",
    "table_bases",
    "tabm",
]
