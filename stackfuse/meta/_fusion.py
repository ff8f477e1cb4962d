"""Meta-learners beyond scikit-learn's: Keras heads as estimators over out-of-fold predictions."""

import math
from typing import Any

import numpy as np

from stackfuse._inputs import MultiInput
from stackfuse._kinds import NetworkClassifier, NetworkRegressor
from stackfuse._network import NetworkEstimator
from stackfuse._settings import rows_per_batch
from stackfuse.fusion import fusion_named

#: Gradient steps that a head takes where the number of epochs is not given.
_STEPS = 1000


class _Fusion(NetworkEstimator):
    """The parameters of the two heads; all arithmetic is in float64."""

    _takes_sparse = False

    def __init__(
        self,
        fusion="dense",
        *,
        hidden_units=(),
        activation="relu",
        optimizer="adam",
        learning_rate=0.01,
        epochs=None,
        batch_size=128,
        validation_split=0.0,
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.fusion = fusion
        self.hidden_units = hidden_units
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _build(self, X, y, meta: dict[str, Any], compile_kwargs: dict[str, Any]):
        import keras

        strategy = fusion_named(self.fusion)
        if isinstance(self.hidden_units, int):
            raise ValueError(
                f"hidden_units must be a sequence of widths, got {self.hidden_units}: "
                f"use hidden_units=({self.hidden_units},)."
            )
        if isinstance(X, MultiInput) or X.ndim != 2:
            given = f"is {X!r}" if isinstance(X, MultiInput) else f"has shape {X.shape}"
            raise ValueError(
                f"{type(self).__name__} combines predictions, a table with two axes; X {given}."
            )
        table = keras.Input((X.shape[1],), dtype="float64")
        mean, scale = _moments(X)
        fused = strategy(
            [_affine(1 / scale, -mean / scale)(table)],
            hidden_units=self.hidden_units,
            activation=self.activation,
        )
        activation = {
            "binary": "softmax",
            "multiclass": "softmax",
            "multilabel-indicator": "sigmoid",
        }.get(meta["target_type_"])
        outputs = keras.layers.Dense(meta["n_outputs_"], activation, dtype="float64")(fused)
        if activation is None:
            mean, scale = _moments(y.reshape(len(y), -1))
            outputs = _affine(scale, mean)(outputs)
        return keras.Model(table, outputs), False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        return tags

    def _routed(self, route: str) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate} if route == "optimizer" else {}

    def _fit_params(self, n_samples: int) -> dict[str, Any]:
        if self.epochs is not None:
            return {}
        steps_per_epoch = math.ceil(n_samples / rows_per_batch(self.batch_size, n_samples))
        return {"epochs": max(20, math.ceil(_STEPS / steps_per_epoch))}


def _moments(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns' means and standard deviations, 1 where a column is constant."""
    scale = table.std(axis=0, dtype=np.float64)
    return table.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0)


def _affine(scale: np.ndarray, offset: np.ndarray):
    """Return a frozen layer that computes ``x * scale + offset``, column by column.

    A batch normalisation of mean 0 and variance 1 does that with two weights, so that heads
    for different data remain one architecture and share one compiled program.
    """
    import keras

    layer = keras.layers.BatchNormalization(epsilon=0.0, trainable=False, dtype="float64")
    layer.build((None, len(scale)))
    layer.gamma.assign(scale)
    layer.beta.assign(offset)
    return layer


class FusionClassifier(_Fusion, NetworkClassifier):
    """A Keras head that learns how to combine classifiers.

    A meta-learner for :class:`StackingClassifier`, trained and computed in float64; it works on
    any numeric table.

    Parameters
    ----------
    fusion : {"dense"}, default="dense"
        ``"dense"`` concatenates the predictions under dense layers.
    hidden_units : sequence of int, default=()
        Widths of the hidden layers. Without any the head is a linear softmax model.
    activation : str, default="relu"
        Of the hidden layers.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
    learning_rate : float, default=0.01
    epochs : int or None, default=None
        By default as many as make 1,000 gradient steps, at least 20.
    batch_size : int, default=128
    validation_split : float, default=0.0
    callbacks : list of keras.callbacks.Callback, default=None
    random_state : int, RandomState or None, default=None
        See :class:`KerasClassifier`.
    verbose : int, default=0

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    classes_ : ndarray of shape (n_classes,)
    history_ : dict of str to list of float
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[0.9, 0.8], [0.2, 0.1], [0.7, 0.9], [0.3, 0.2]])
    >>> head = sf.FusionClassifier("dense", epochs=300, random_state=0)
    >>> head.fit(predictions, ["yes", "no", "yes", "no"]).predict([[0.8, 0.8]]).tolist()
    ['yes']
    """


class FusionRegressor(_Fusion, NetworkRegressor):
    """A Keras head that learns how to combine regressors.

    Parameters are those of :class:`FusionClassifier`.

    Parameters
    ----------
    fusion, hidden_units, activation, optimizer, learning_rate, epochs, batch_size, \
validation_split, callbacks, random_state, verbose
        See :class:`FusionClassifier`.

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    history_ : dict of str to list of float
    n_features_in_ : int
    """
