"""Keras heads as meta-learners: every fusion strategy as an estimator over predictions."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    fitting,
)
from stackfuse._meta.head_networks import Head
from stackfuse._networks import (
    Builder,
    FitSettings,
    NetworkClassifier,
    NetworkRegressor,
    Target,
)
from stackfuse._oof import prediction_columns

#: Gradient steps of a head's fit if `epochs` is None.
_STEPS = 1000

#: With fewer rows, in all or of a class, or fewer groups, "auto" holds no rows out.
_MIN_ROWS, _MIN_ROWS_OF_A_CLASS, _MIN_GROUPS = 200, 10, 10


@dataclass(frozen=True)
class HeadBuilder(Builder):
    """Makes the network of a head.

    Attributes
    ----------
    head : Head
    owner : estimator
        Named in the message.
    """

    head: Any = None
    owner: Any = None

    def build(self, X, rows, target: Target, meta, compile_kwargs) -> tuple[Any, bool]:
        """See :meth:`stackfuse._networks.Builder.build`."""
        self.head.check()
        if isinstance(X, MultiInput) or X.ndim != 2:
            given = f"is {X!r}" if isinstance(X, MultiInput) else f"has shape {X.shape}"
            raise ValueError(
                f"{type(self.owner).__name__} combines predictions, so X must be a table with two "
                f"axes, but X {given}."
            )
        X = np.asarray(X if rows is None else X[rows], np.float64)
        n_classes = meta["n_classes_"]  # a list for several columns, which are refused below
        n_outputs = n_classes if isinstance(n_classes, int) else meta["n_outputs_"]
        return self.head.network(X, target.numbers, target.task, n_outputs), False


@dataclass(frozen=True)
class HeadSettings(FitSettings):
    """The settings of a head's fit; some defaults depend on the data.

    Attributes
    ----------
    patience : int or None
        Epochs without a smaller loss after which training stops.
    """

    patience: int | None = None

    def n_epochs(self, model, n_samples: int) -> Any:
        """See :meth:`stackfuse._networks.FitSettings.n_epochs`."""
        if self.patience is not None:
            fitting.check_count("patience", self.patience)
        if not model.trainable_weights:
            return 0  # there is nothing to learn
        if self.for_fit["epochs"] is not None:
            return self.for_fit["epochs"]
        n_rows = fitting.rows_per_batch(self.for_fit["batch_size"], n_samples)
        return max(20, math.ceil(_STEPS / math.ceil(n_samples / n_rows)))

    def fraction(self, n_rows: int, strata, groups) -> Any:
        """See :meth:`stackfuse._networks.FitSettings.fraction`."""
        if self.validation_split != "auto":
            return self.validation_split
        too_few = strata is not None and np.bincount(strata).min() < _MIN_ROWS_OF_A_CLASS
        few_groups = groups is not None and len(np.unique(groups)) < _MIN_GROUPS
        return 0.0 if too_few or few_groups or n_rows < _MIN_ROWS else 0.1

    def training(self, fitted, rows, target, weights, groups, for_fit):
        """See :meth:`stackfuse._networks.FitSettings.training`; validation may end it early."""
        training = super().training(fitted, rows, target, weights, groups, for_fit)
        if training.validation is not None:
            patience = max(5, training.epochs // 10) if self.patience is None else self.patience
            training.callbacks.append(
                keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
            )
        return training


class _HeadParameters(prediction_columns.ColumnsMixin):
    """The parameters that both heads share; heads compute in float64."""

    _takes_sparse = False
    _takes_strings = False

    model_: Any

    def __init__(
        self,
        fusion: str = "dense",
        *,
        hidden_units: Any = (),
        activation: str = "relu",
        optimizer: Any = "adam",
        learning_rate: float = 0.01,
        epochs: Any = None,
        batch_size: int = 128,
        validation_split: Any = "auto",
        validation: str = "auto",
        patience: Any = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: int = 0,
        columns: Any = None,
    ):
        self.fusion = fusion
        self.hidden_units = hidden_units
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.validation = validation
        self.patience = patience
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.columns = columns

    @property
    def _head(self) -> Head:
        return Head(self.fusion, self.hidden_units, self.activation, self.columns)

    def _builder(self) -> HeadBuilder:
        settings = {"optimizer__learning_rate": self.learning_rate}
        return HeadBuilder(self.optimizer, settings=settings, head=self._head, owner=self)

    def _fit_settings(self) -> HeadSettings:
        return HeadSettings.of(self, self._builder(), patience=self.patience)

    def _tell_of_training(self, training) -> None:
        """Warn of nothing: what a head is given is of the scale of y already."""

    @property
    def weights_(self) -> np.ndarray:
        """The weights of the bases, with "weighted" or "geometric"; shape (n_models,)."""
        if self.fusion not in ("weighted", "geometric"):
            raise AttributeError(
                f"fusion={self.fusion!r} has no fixed weights: they differ from row to row."
            )
        check_is_fitted(self)
        # This is the only trainable layer: calibrators are frozen.
        layers = [layer for layer in self.model_.layers if layer.trainable_weights]
        scores = np.asarray(layers[0].kernel)[0] if layers else np.zeros(1)
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()


def _head_tags(tags, head: Head):
    """Adapt the tags of a network to a head."""
    tags.input_tags.three_d_array = False
    combines = not head.makes_features(numbers=tags.regressor_tags is not None)
    for task_tags in (tags.classifier_tags, tags.regressor_tags):
        if task_tags is not None:
            task_tags.poor_score = combines  # then it weighs predictions, and learns no features
    return tags


class FusionClassifier(_HeadParameters, NetworkClassifier):
    """A Keras head that learns how to combine classifiers.

    A meta-learner for :class:`StackingClassifier`, trained and computed in float64.

    Parameters
    ----------
    fusion : str, default="dense"
        How the table is combined. ``"dense"``, ``"concat"`` and ``"bilinear"`` make features of any
        numeric table, below a softmax layer. The others combine probabilities. ``"average"``,
        ``"add"`` (the same after scaling to one), ``"maximum"`` and ``"multiply"`` (product of
        experts) learn nothing. ``"weighted"`` and ``"geometric"`` learn one convex weight per base.
        ``"attention"`` and ``"gated"`` compute the weights of each row from all columns, also
        from those of X that are passed through.
    hidden_units : sequence of int, default=()
        The widths of the hidden layers. By default, ``"dense"`` has none: it is a linear softmax
        model. The gate of ``"gated"`` has one layer of 16 units by default.
    activation : str, default="relu"
        The activation of the hidden layers.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        The optimizer; a copy is used in every fit.
    learning_rate : float, default=0.01
        The learning rate of the optimizer.
    epochs : int or None, default=None
        The number of epochs. By default, as many as make 1,000 gradient steps, at least 20.
    batch_size : int, default=128
        The rows of one gradient step; -1 stands for all rows.
    validation_split : float or "auto", default="auto"
        The part of the rows to hold out. Training stops when the loss on them has not fallen for
        `patience` epochs, and keeps the best weights. "auto" holds out a tenth if there are at
        least 200 rows and 10 of each class (and 10 groups, if groups are given), and nothing
        otherwise.
    validation : {"auto", "random", "last"}, default="auto"
        The rows to hold out: see :class:`KerasClassifier`.
    patience : int or None, default=None
        The number of epochs to wait for a smaller loss. By default, a tenth of `epochs`, at least
        5.
    callbacks : list of keras.callbacks.Callback, default=None
        Callbacks of the training; copies are used in every fit.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights and the order of the rows.
    verbose : int, default=0
        How much Keras prints while it trains: 0 nothing, 1 a progress bar, 2 a line per epoch.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base if there are two classes; with more classes,
        each run of ``n_classes`` columns is a base. Columns that hold no probabilities are scores:
        a logistic regression, which does not use ``sample_weight``, makes probabilities of them.

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    weights_ : ndarray of shape (n_models,)
        The weights of the bases, with ``fusion="weighted"`` or ``"geometric"``.
    classes_ : ndarray of shape (n_classes,)
        The labels; for a multilabel target the numbers of its columns.
    history_ : dict of str to list of float
        The values of loss and metrics, one per epoch.
    n_features_in_ : int
        The number of columns of X.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[0.9, 0.8], [0.2, 0.1], [0.7, 0.9], [0.3, 0.2]])
    >>> head = sf.FusionClassifier("dense", epochs=300, random_state=0)
    >>> head.fit(predictions, ["yes", "no", "yes", "no"]).predict([[0.8, 0.8]]).tolist()
    ['yes']
    """

    def __sklearn_tags__(self) -> Tags:
        return _head_tags(super().__sklearn_tags__(), self._head)


class FusionRegressor(_HeadParameters, NetworkRegressor):
    """A Keras head that learns how to combine regressors.

    A meta-learner for :class:`StackingRegressor`, trained and computed in float64.

    Parameters
    ----------
    fusion : str, default="dense"
        How the predictions are combined. ``"dense"``, ``"concat"`` and ``"bilinear"`` make features
        below a linear layer. ``"average"`` and ``"maximum"`` learn nothing. ``"weighted"`` and
        ``"geometric"`` learn one convex weight per base. ``"add"`` and ``"multiply"`` are followed
        by a linear layer, because a sum or a product of forecasts is no forecast.
        ``"attention"`` and ``"gated"`` compute the weights of each row from all columns.
    hidden_units : sequence of int, default=()
        The widths of the hidden layers. By default, ``"dense"`` has none: it is a linear model. The
        gate of ``"gated"`` has one layer of 16 units by default.
    activation : str, default="relu"
        The activation of the hidden layers.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        The optimizer; a copy is used in every fit.
    learning_rate : float, default=0.01
        The learning rate of the optimizer.
    epochs : int or None, default=None
        The number of epochs. By default, as many as make 1,000 gradient steps, at least 20.
    batch_size : int, default=128
        The rows of one gradient step; -1 stands for all rows.
    validation_split : float or "auto", default="auto"
        The part of the rows to hold out. Training stops when the loss on them has not fallen for
        `patience` epochs, and keeps the best weights. "auto" holds out a tenth if there are at
        least 200 rows (and 10 groups, if groups are given), and nothing otherwise.
    validation : {"auto", "random", "last"}, default="auto"
        The rows to hold out: see :class:`KerasRegressor`.
    patience : int or None, default=None
        The number of epochs to wait for a smaller loss. By default, a tenth of `epochs`, at least
        5.
    callbacks : list of keras.callbacks.Callback, default=None
        Callbacks of the training; copies are used in every fit.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights and the order of the rows.
    verbose : int, default=0
        How much Keras prints while it trains: 0 nothing, 1 a progress bar, 2 a line per epoch.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base; with several targets, each run of
        ``n_outputs`` columns is one.

    Attributes
    ----------
    model_ : keras.Model
        The trained head.
    weights_ : ndarray of shape (n_models,)
        The weights of the bases, with ``fusion="weighted"`` or ``"geometric"``.
    history_ : dict of str to list of float
        The values of loss and metrics, one per epoch.
    n_features_in_ : int
        The number of columns of X.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> predictions = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 3.0]])
    >>> head = sf.FusionRegressor("average").fit(predictions, [1.5, 2.5, 4.5])
    >>> head.predict(predictions).tolist()
    [2.0, 3.0, 4.0]
    """

    def __sklearn_tags__(self) -> Tags:
        return _head_tags(super().__sklearn_tags__(), self._head)
