"""KerasClassifier and KerasRegressor: networks from a function, a model or a file."""

from typing import Any, Self

from stackfuse._core import sklearn_private
from stackfuse._networks.keras_builder import KerasBuilder
from stackfuse._networks.kinds import NetworkClassifier, NetworkRegressor
from stackfuse._networks.parameters import arguments_of, refuse_taken
from stackfuse._networks.target import Probabilities


def _builder_of(estimator) -> KerasBuilder:
    """Return the builder that an estimator's parameters describe."""
    model = estimator._keras_build_fn if estimator.model is None else estimator.model
    own = {}
    if type(estimator).__init__ is not KerasClassifier.__init__:
        names = set(sklearn_private.parameter_names(type(estimator)))
        names -= set(sklearn_private.parameter_names(KerasClassifier))
        own = {name: getattr(estimator, name) for name in names & arguments_of(model)[0]}
    return KerasBuilder(
        estimator.optimizer,
        estimator.loss,
        estimator.metrics,
        own | estimator._extra_params(),
        model,
        estimator,
    )


class KerasClassifier(NetworkClassifier):
    """A Keras network as a scikit-learn classifier.

    Parameters
    ----------
    model : callable, keras.Model or path, default=None
        A function that returns a ``keras.Model``, compiled or not. It may take ``meta`` (a dict of
        ``n_features_in_``, ``X_shape_``, ``X_dtype_``, ``classes_``, ``n_classes_``,
        ``n_outputs_``, the number of y's columns, ``target_type_`` and ``cardinalities_``),
        ``compile_kwargs``, ``params``, all parameters of this estimator, and arguments of its own;
        with ``**kwargs`` it gets all of these. ``meta["cardinalities_"]`` lists, for each column of
        X, the largest code in the training rows plus one, or None if the column holds other
        numbers: size an embedding by it, ``Embedding(meta["cardinalities_"][0], 8)``. For several
        inputs it is a dict of lists. A ``keras.Model``, or the path of one, is copied, and its
        training continues from its weights. A model with several outputs learns one column of y
        with each. None is for subclasses, which define a method ``_keras_build_fn``.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        The optimizer; a copy is used in every fit.
    loss : str, callable, keras.losses.Loss or its class, default=None
        By default, the cross-entropy that fits the last layer: binary after one unit or for a
        multilabel y, sparse categorical otherwise; from logits if the last layer has no
        activation. A function of your own gets y in the shape of the outputs, classes one-hot.
    metrics : str, list or dict, default=None
        Metrics as in ``model.compile``; a single one need not be in a list.
    epochs : int, default=1
        The number of passes over the rows.
    batch_size : int, default=32
        The rows of one gradient step. -1 stands for all rows, here as in ``predict__batch_size``
        and ``validation_batch_size``.
    validation_split : float, default=0.0
        The part of the training rows to hold out for validation and early stopping.
    validation : {"auto", "random", "last"}, default="auto"
        The rows that `validation_split` holds out. "random" draws them, stratified by class; with
        ``fit(..., groups=groups)``, which stacks pass on, it holds out whole groups. "last" takes
        the last rows: use it if the rows are in the order of time. "auto" is "last" in a stack
        whose folds train on rows before those that they predict, as TimeSeriesSplit's do, and
        "random" otherwise.
    callbacks : list of keras.callbacks.Callback, default=None
        Callbacks of the training; copies are used in every fit. In a path that a callback writes
        to, ``{fold}`` stands for the number of the fold in a stack or search, or for "all".
    class_weight : dict of label to float or "balanced", default=None
        Weights of the classes in training alone, as in Keras. For several columns of y, a list of
        dicts.
    shuffle : bool, default=True
        Whether to shuffle the rows. In epoch e they come in the order
        ``numpy.random.default_rng([seed, e]).permutation(n_samples)``, where seed is
        `random_state`.
    warm_start : bool, default=False
        Whether another fit continues the training of the present network.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, dropout and shuffling. With the same integer two fits are equal
        bit by bit, and start from the weights that the builder gives after
        ``keras.utils.set_random_seed``. No global generator is touched.
    verbose : int, default=0
        How much Keras prints while it trains, as in ``model.fit``: 0 nothing, 1 a progress bar,
        2 a line per epoch.
    **builder_and_routed_params
        Arguments of the builder (``units=64`` or ``model__units=64``), and settings for Keras:
        ``optimizer__learning_rate``, ``compile__jit_compile``, ``fit__validation_freq``,
        ``predict__batch_size``, and so on; ``run_eagerly`` and ``validation_batch_size`` need no
        prefix.
        ``predict__output`` chooses the part of the last layer that is the prediction: the number
        of a column, a slice, a list of numbers, or a function of the outputs in ``keras.ops``.
        With it, a loss of your own may take outputs of another width than y: a mean and a
        variance, quantiles, or one output for a time and an event. The loss gets y as you pass it.
        Losses, metrics and callbacks may be classes, with ``loss__``, ``metrics__`` and
        ``callbacks__`` settings: ``callbacks=EarlyStopping, callbacks__patience=3``. Losses and
        metrics may also be names: ``loss="huber", loss__delta=0.5``.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The labels, sorted; a list of arrays for a network with several outputs.
    history_ : dict of str to list of float
        The values of loss and metrics, one per epoch.
    n_features_in_ : int
        The size of the second axis of X.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> def build(meta, units=16):
    ...     return keras.Sequential([
    ...         keras.Input((meta["n_features_in_"],)),
    ...         keras.layers.Dense(units, activation="relu"),
    ...         keras.layers.Dense(meta["n_classes_"], activation="softmax"),
    ...     ])
    >>> network = sf.KerasClassifier(build, units=32, epochs=30, random_state=0)
    >>> network.fit(X, y).predict_proba(X[:2]).shape
    (2, 3)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        validation_split: float = 0.0,
        validation: str = "auto",
        callbacks: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        **builder_and_routed_params: Any,
    ):
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.validation = validation
        self.callbacks = callbacks
        self.class_weight = class_weight
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        refuse_taken(self, builder_and_routed_params)
        self._set_extra_params(builder_and_routed_params)

    def fit_probabilities(
        self, X: Any, probabilities: Any, classes: Any = None, *, sample_weight: Any = None
    ) -> Self:
        """Train a new network on probabilities in place of labels.

        The loss compares each row's probabilities with those of the network: the sum over the
        classes of probability times loss. A sparse categorical cross-entropy becomes the
        categorical one; any other loss stays.

        Parameters
        ----------
        X : array-like, sparse matrix, MultiInput or dict of shape (n_samples, ...)
            The rows, as for :meth:`fit`.
        probabilities : array-like of shape (n_samples, n_classes) or (n_samples, n_labels)
            The probabilities of each row. The probabilities of classes have the sum 1.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns, sorted. By default, the columns are the labels of a
            multilabel target: a row may have several.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss.

        Returns
        -------
        self : estimator
            The trained estimator. It predicts, and is exported, as if it had been fitted on labels.

        Raises
        ------
        ValueError
            If these are no probabilities, or the network cannot learn them.

        Examples
        --------
        >>> import keras, numpy as np, stackfuse as sf
        >>> def build(meta):
        ...     return keras.Sequential([
        ...         keras.Input((1,)), keras.layers.Dense(meta["n_classes_"], activation="softmax")
        ...     ])
        >>> network = sf.KerasClassifier(build, epochs=2, random_state=0)
        >>> X = np.array([[-1.0], [0.0], [1.0]])
        >>> network.fit_probabilities(X, [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], ["no", "yes"])
        KerasClassifier(...)
        >>> network.classes_.tolist()
        ['no', 'yes']
        """
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r} weighs rows by their class, but a row with "
                "probabilities has no single class. Use class_weight=None."
            )
        y = Probabilities.checked(probabilities, classes)
        return self._train(X, y, sample_weight, None, reset=True, for_this_call={})

    def _builder(self) -> KerasBuilder:
        return _builder_of(self)


class KerasRegressor(NetworkRegressor):
    """A Keras network as a scikit-learn regressor.

    Parameters
    ----------
    model : callable, keras.Model or path, default=None
        A function that returns a ``keras.Model``, compiled or not. It may take ``meta`` (a dict of
        ``n_features_in_``, ``X_shape_``, ``X_dtype_``, ``n_outputs_``, the number of y's columns,
        ``target_type_``, and ``cardinalities_``, see :class:`KerasClassifier`),
        ``compile_kwargs``, ``params``, all parameters of this estimator, and arguments of its own;
        with ``**kwargs`` it gets all of these. A ``keras.Model``, or the path of one, is copied,
        and its training continues from its weights. A model with several outputs learns one column
        of y with each. None is for subclasses, which define a method ``_keras_build_fn``.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        The optimizer; a copy is used in every fit.
    loss : str, callable, keras.losses.Loss or its class, default=None
        By default, the mean squared error. A function of your own gets y in the shape of the
        outputs.
    metrics : str, list or dict, default=None
        Metrics as in ``model.compile``; a single one need not be in a list.
    epochs : int, default=1
        The number of passes over the rows.
    batch_size : int, default=32
        The rows of one gradient step. -1 stands for all rows, here as in ``predict__batch_size``
        and ``validation_batch_size``.
    validation_split : float, default=0.0
        The part of the training rows to hold out for validation and early stopping.
    validation : {"auto", "random", "last"}, default="auto"
        The rows that `validation_split` holds out. "random" draws them; with
        ``fit(..., groups=groups)``, which stacks pass on, it holds out whole groups. "last" takes
        the last rows: use it if the rows are in the order of time. "auto" is "last" in a stack
        whose folds train on rows before those that they predict, as TimeSeriesSplit's do, and
        "random" otherwise.
    callbacks : list of keras.callbacks.Callback, default=None
        Callbacks of the training; copies are used in every fit. In a path that a callback writes
        to, ``{fold}`` stands for the number of the fold in a stack or search, or for "all".
    class_weight : None, default=None
        Must stay None: it is for classifiers.
    shuffle : bool, default=True
        Whether to shuffle the rows. In epoch e they come in the order
        ``numpy.random.default_rng([seed, e]).permutation(n_samples)``, where seed is
        `random_state`.
    warm_start : bool, default=False
        Whether another fit continues the training of the present network.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, dropout and shuffling. With the same integer two fits are equal
        bit by bit, and start from the weights that the builder gives after
        ``keras.utils.set_random_seed``. No global generator is touched.
    verbose : int, default=0
        How much Keras prints while it trains, as in ``model.fit``: 0 nothing, 1 a progress bar,
        2 a line per epoch.
    **builder_and_routed_params
        Arguments of the builder (``units=64`` or ``model__units=64``), and settings for Keras:
        ``optimizer__learning_rate``, ``compile__jit_compile``, ``fit__validation_freq``,
        ``predict__batch_size``, and so on; ``run_eagerly`` and ``validation_batch_size`` need no
        prefix.
        ``predict__output`` chooses the part of the last layer that is the prediction: the number
        of a column, a slice, a list of numbers, or a function of the outputs in ``keras.ops``.
        With it, a loss of your own may take outputs of another width than y: a mean and a
        variance, quantiles, or one output for a time and an event. The loss gets y as you pass it.
        Losses, metrics and callbacks may be classes, with ``loss__``, ``metrics__`` and
        ``callbacks__`` settings: ``callbacks=EarlyStopping, callbacks__patience=3``. Losses and
        metrics may also be names: ``loss="huber", loss__delta=0.5``.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    history_ : dict of str to list of float
        The values of loss and metrics, one per epoch.
    n_features_in_ : int
        The size of the second axis of X.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> def build(meta):
    ...     return keras.Sequential([keras.Input((meta["n_features_in_"],)), keras.layers.Dense(1)])
    >>> sf.KerasRegressor(build, random_state=0).fit(X, y).predict(X[:2]).shape
    (2,)
    """

    __init__ = KerasClassifier.__init__

    def _builder(self) -> KerasBuilder:
        return _builder_of(self)
