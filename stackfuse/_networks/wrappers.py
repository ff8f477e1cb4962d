"""KerasClassifier and KerasRegressor: networks from a function, a model or a file."""

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
        A function that returns a ``keras.Model``, compiled or not. It may take ``meta`` (a dict:
        ``n_features_in_``, ``X_shape_``, ``X_dtype_``, ``classes_``, ``n_classes_``,
        ``n_outputs_``, the number of y's columns, ``target_type_``), ``compile_kwargs``,
        ``params``, all parameters of this estimator, and arguments of its own; with ``**kwargs``
        it is given all of these. Of a ``keras.Model``, or one loaded from a path, a copy is
        trained on from its weights. A model with several outputs learns one column of y with
        each. None is for subclasses, which define a method ``_keras_build_fn``.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        Copied for every fit.
    loss : str, callable, keras.losses.Loss or its class, default=None
        By default the cross-entropy that fits the last layer: binary after one unit or for a
        multilabel y, sparse categorical otherwise; from logits where the last layer has no
        activation. A function of your own is given y in the shape of the outputs, classes one-hot.
    metrics : str, list or dict, default=None
        As in ``model.compile``; one may stand alone.
    epochs : int, default=1
    batch_size : int, default=32
        -1 stands for all rows, as in ``predict__batch_size`` and ``validation_batch_size``.
    validation_split : float, default=0.0
        Fraction of the training rows held out, stratified, for validation and early stopping.
    callbacks : list of keras.callbacks.Callback, default=None
        Copied for every fit. ``{fold}`` in a path that one writes to stands for the number of the
        fold in a stack or search, or for "all".
    class_weight : dict of label to float or "balanced", default=None
        In training alone, as in Keras; for several columns of y a list of dicts.
    shuffle : bool, default=True
        In epoch e the rows come in the order
        ``numpy.random.default_rng([seed, e]).permutation(n_samples)``, where seed is
        `random_state`.
    warm_start : bool, default=False
        Whether another fit trains on from where the last one ended.
    random_state : int, RandomState or None, default=None
        Seed of the initial weights, of dropout and of shuffling. With the same integer two fits
        are equal bit by bit, and start from the weights that the builder gives after
        ``keras.utils.set_random_seed``. No global generator is touched.
    verbose : int, default=0
        As in ``model.fit``.
    **builder_and_routed_params
        Arguments of the builder (``units=64`` or ``model__units=64``), and settings for Keras:
        ``optimizer__learning_rate``, ``compile__jit_compile``, ``fit__validation_freq``,
        ``predict__batch_size``, ...; ``run_eagerly`` and ``validation_batch_size`` also by
        themselves.
        ``predict__output`` says which part of the last layer is the prediction: the number of a
        column, a slice or a list of numbers, or a function of the outputs in ``keras.ops``. With
        it, a loss of your own may take outputs of another width than y: a mean and a variance,
        quantiles, or one output for a time and an event. It is given y as you pass it.
        Losses, metrics and callbacks may be classes, made with ``loss__``, ``metrics__`` and
        ``callbacks__`` settings: ``callbacks=EarlyStopping, callbacks__patience=3``; losses and
        metrics also names: ``loss="huber", loss__delta=0.5``.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        Of a network with several outputs a list.
    history_ : dict of str to list of float
        Loss and metrics per epoch.
    n_features_in_ : int

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
        model=None,
        *,
        optimizer="adam",
        loss=None,
        metrics=None,
        epochs=1,
        batch_size=32,
        validation_split=0.0,
        callbacks=None,
        class_weight=None,
        shuffle=True,
        warm_start=False,
        random_state=None,
        verbose=0,
        **builder_and_routed_params,
    ):
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.callbacks = callbacks
        self.class_weight = class_weight
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        refuse_taken(self, builder_and_routed_params)
        self._set_extra_params(builder_and_routed_params)

    def fit_probabilities(self, X, probabilities, classes=None, *, sample_weight=None):
        """Train a new network on probabilities in place of labels.

        The loss compares each row's probabilities with those of the network: the sum over the
        classes of probability times loss. A sparse categorical cross-entropy becomes the
        categorical one; any other loss stays.

        Parameters
        ----------
        X : array-like, sparse matrix, MultiInput or dict of shape (n_samples, ...)
            See :meth:`fit`.
        probabilities : array-like of shape (n_samples, n_classes) or (n_samples, n_labels)
            One row per sample. Those of classes have the sum 1.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns, sorted. By default the columns are labels of which a row may
            have several.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' losses.

        Returns
        -------
        self : estimator
            It predicts, and is exported, as if it had been fitted on labels.

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
                f"class_weight={self.class_weight!r} weighs rows by their class, and a row with "
                "probabilities has no single one: use class_weight=None."
            )
        y = Probabilities.checked(probabilities, classes)
        return self._train(X, y, sample_weight, None, reset=True, for_this_call={})

    def _builder(self) -> KerasBuilder:
        return _builder_of(self)


class KerasRegressor(NetworkRegressor):
    """A Keras network as a scikit-learn regressor.

    Parameters are those of :class:`KerasClassifier`; the default loss is the mean squared error,
    and a `class_weight` is not available.

    Parameters
    ----------
    model : callable, keras.Model or path
        See :class:`KerasClassifier`; ``meta["n_outputs_"]`` is the number of target columns.
    optimizer, loss, metrics, epochs, batch_size, validation_split, callbacks, class_weight, \
shuffle, warm_start, random_state, verbose
        See :class:`KerasClassifier`.
    **builder_and_routed_params
        See :class:`KerasClassifier`.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    history_ : dict of str to list of float
        Loss and metrics per epoch.
    n_features_in_ : int

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
