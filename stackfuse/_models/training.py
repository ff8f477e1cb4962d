"""Estimators of the starter networks, with settings of training that need no tuning."""

import math
from collections.abc import Callable
from typing import Any

from keras import callbacks

from stackfuse._models.tabm import settings_of_members, tabm
from stackfuse._networks import KerasClassifier, KerasRegressor


class _EarlyStopping(callbacks.EarlyStopping):
    """Early stopping that looks at no epoch before 20 steps are taken.

    The loss on few rows can be lowest by chance before anything is learnt. Steps count, not epochs:
    five epochs are ten steps of 100 rows, and by then a network may have learnt 10,000 by heart.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.start_from_epoch = math.ceil(20 / (self.params["steps"] or 20))  # None: unknown


def _settings(builder: Callable, classifier: bool, given: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "epochs": 100,
        "batch_size": 64,
        "optimizer": "adamw",
        "optimizer__learning_rate": 1e-3,
        "validation_split": 0.15,
        "callbacks": [_EarlyStopping(patience=10, restore_best_weights=True)],
    }
    if builder is tabm:
        settings |= settings_of_members(given.get("n_members", 16), classifier)
    return settings | given


def classifier(builder: Callable, **params: Any) -> KerasClassifier:
    """Return a classifier of a starter network, which trains well without tuning.

    It trains with AdamW for up to 100 epochs. It holds out 15 % of its training rows, and stops
    when the loss on them has not fallen for 10 epochs. It keeps the weights of the best epoch, but
    of none before 20 steps were taken.

    Parameters
    ----------
    builder : callable
        A function of ``sf.models``, or a builder of your own.
    **params : dict
        Parameters of the builder and of :class:`KerasClassifier`. They replace these settings.

    Returns
    -------
    classifier : KerasClassifier
        The classifier, not fitted.

    Examples
    --------
    >>> import stackfuse as sf
    >>> sf.models.classifier(sf.models.resnet, epochs=20).epochs
    20
    """
    return KerasClassifier(builder, **_settings(builder, True, params))


def regressor(builder: Callable, **params: Any) -> KerasRegressor:
    """Return a regressor of a starter network, which trains well without tuning.

    It trains as :func:`classifier` does. Scale its target:
    ``TransformedTargetRegressor(regressor, transformer=StandardScaler())``.

    Parameters
    ----------
    builder : callable
        A function of ``sf.models``, or a builder of your own.
    **params : dict
        Parameters of the builder and of :class:`KerasRegressor`. They replace these settings.

    Returns
    -------
    regressor : KerasRegressor
        The regressor, not fitted.

    Examples
    --------
    >>> import stackfuse as sf
    >>> sf.models.regressor(sf.models.mlp, width=64).validation_split
    0.15
    """
    return KerasRegressor(builder, **_settings(builder, False, params))
