"""Keras heads as meta-learners: every fusion strategy as an estimator over predictions."""

import math
from typing import Any

import keras
import numpy as np
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    numeric,
)
from stackfuse._meta.head_networks import Head
from stackfuse._networks import (
    NetworkClassifier,
    NetworkEstimator,
    NetworkRegressor,
)
from stackfuse._oof import prediction_columns

#: Gradient steps that a head takes where the number of epochs is not given.
_STEPS = 1000

#: Rows that are needed, in all and of each class, for some to be held out without being asked.
_ENOUGH, _ENOUGH_OF_A_CLASS = 200, 10

_TASKS: dict[str, Any] = {
    "multilabel-indicator": "multilabel",
    "continuous": "regression",
    "continuous-multioutput": "multioutput",
}


class _Fusion(prediction_columns.ColumnsMixin, NetworkEstimator):
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
        validation_split: Any = "auto",
        patience=None,
        callbacks=None,
        random_state=None,
        verbose=0,
        columns=None,
    ):
        self.fusion = fusion
        self.hidden_units = hidden_units
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.columns = columns

    @property
    def _head(self) -> Head:
        return Head(self.fusion, self.hidden_units, self.activation, self.columns)

    def _build(self, X, rows, y, meta: dict[str, Any], compile_kwargs: dict[str, Any]):
        self._head.check()
        if isinstance(X, MultiInput) or X.ndim != 2:
            given = f"is {X!r}" if isinstance(X, MultiInput) else f"has shape {X.shape}"
            raise ValueError(
                f"{type(self).__name__} combines predictions, a table with two axes; X {given}."
            )
        task = _TASKS.get(meta["target_type_"], meta["target_type_"])
        X = np.asarray(X if rows is None else X[rows], np.float64)
        return self._head.network(X, y, task, meta["n_outputs_"]), False

    @property
    def weights_(self) -> np.ndarray:
        """The weights of the bases, with "weighted" and "geometric"; shape (n_models,)."""
        if self.fusion not in ("weighted", "geometric"):
            raise AttributeError(f"fusion={self.fusion!r} has no weights that hold for all rows.")
        check_is_fitted(self)
        # Of trainable layers there is this one only: calibrators are frozen.
        layers = [layer for layer in self.model_.layers if layer.trainable_weights]
        scores = np.asarray(layers[0].kernel)[0] if layers else np.zeros(1)
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        pools = not self._head.makes_features(numbers=tags.regressor_tags is not None)
        for own in (tags.classifier_tags, tags.regressor_tags):
            if own is not None:
                own.poor_score = pools  # then it weighs predictions, and learns no features
        return tags

    def _routed(self, route: str) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate} if route == "optimizer" else {}

    def _fit_params(self, n_samples: int) -> dict[str, Any]:
        # Without anything to learn, the network predicts as it is.
        return {"epochs": self._epochs(n_samples) if self.model_.trainable_weights else 0}

    def _epochs(self, n_samples: int) -> int:
        if self.epochs is not None:
            return self.epochs
        steps_per_epoch = math.ceil(n_samples / numeric.rows_per_batch(self.batch_size, n_samples))
        return max(20, math.ceil(_STEPS / steps_per_epoch))

    def _hold_out(self, n_rows: int, strata, groups):
        if self.validation_split != "auto":
            return super()._hold_out(n_rows, strata, groups)
        few = strata is not None and np.bincount(strata).min() < _ENOUGH_OF_A_CLASS
        fraction = 0.0 if few or n_rows < _ENOUGH else 0.1
        return self._held_out(fraction, n_rows, strata, groups)

    def _training(self, rows, numbers, task, weights, groups, settings):
        training = super()._training(rows, numbers, task, weights, groups, settings)
        if training.validation is not None:
            patience = max(5, training.epochs // 10) if self.patience is None else self.patience
            numeric.check_count("patience", patience)
            training.callbacks.append(
                keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
            )
        return training


class FusionClassifier(_Fusion, NetworkClassifier):
    """A Keras head that learns how to combine classifiers.

    A meta-learner for :class:`StackingClassifier`, trained and computed in float64.

    Parameters
    ----------
    fusion : str, default="dense"
        How the table is combined. ``"dense"``, ``"concat"`` and ``"bilinear"`` make features of any
        numeric table, under a softmax layer. The others combine probabilities:
        ``"average"``, ``"add"`` (the same, once it sums to one), ``"maximum"`` and ``"multiply"``
        (product of experts) learn nothing; ``"weighted"`` and ``"geometric"`` learn one convex
        weight per base, ``"attention"`` and ``"gated"`` weights of each row, from all columns,
        those of X that are passed through included.
    hidden_units : sequence of int, default=()
        Widths of the hidden layers of ``"dense"``, a linear softmax model without any, and of the
        gate of ``"gated"``, by default one of 16 units.
    activation : str, default="relu"
        Of the hidden layers.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
    learning_rate : float, default=0.01
    epochs : int or None, default=None
        By default as many as make 1,000 gradient steps, at least 20.
    batch_size : int, default=128
    validation_split : float or "auto", default="auto"
        Part of the rows that is held out; training stops when the loss on it has not fallen for
        some epochs, and the best weights are kept. By default a tenth where there are 200 rows and
        10 of each class, else nothing.
    patience : int or None, default=None
        How many epochs that is; by default a tenth of `epochs`, at least 5.
    callbacks : list of keras.callbacks.Callback, default=None
    random_state : int, RandomState or None, default=None
        See :class:`KerasClassifier`.
    verbose : int, default=0
    columns : list of Column, default=None
        See :class:`ConvexClassifier`; scores are made probabilities there, without weights.

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    weights_ : ndarray of shape (n_models,)
        With ``"weighted"`` and ``"geometric"``.
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

    Parameters
    ----------
    fusion : str, default="dense"
        See :class:`FusionClassifier`. A sum or a product of forecasts is none, so under ``"add"``
        and ``"multiply"`` there is a linear layer, as under ``"dense"``.
    hidden_units, activation, optimizer, learning_rate, epochs, batch_size, validation_split, \
patience, callbacks, random_state, verbose, columns
        See :class:`FusionClassifier`.

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    history_ : dict of str to list of float
    n_features_in_ : int
    """
