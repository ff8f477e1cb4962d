"""KerasClassifier and KerasRegressor: a function that builds a network, made an estimator."""

import copy
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras

from stackfuse._core import messages, numeric
from stackfuse._keras import load_uncompiled
from stackfuse._networks.base import (
    FITTED,
    NetworkEstimator,
)
from stackfuse._networks.kinds import (
    NetworkClassifier,
    NetworkRegressor,
)
from stackfuse._networks.parameters import (
    BARE,
    check_complete,
    check_names,
    is_bare,
    name_of,
    named_parameters,
    refuse_taken,
)


class _Builder(NetworkEstimator):
    """The parameters of the two wrappers, and how they become a network."""

    def __init__(
        self,
        model,
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
        self.__dict__.update(builder_and_routed_params)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all parameters, the builder's and the routed ones included.

        Parameters
        ----------
        deep : bool, default=True
            Has no effect: no parameter is an estimator.

        Returns
        -------
        params : dict of str to object
        """
        return super().get_params(deep=False) | self._extra_params()

    def set_params(self, **params) -> "_Builder":
        """Set parameters, the builder's and the routed ones included.

        Parameters
        ----------
        **params : dict
            For example ``epochs=5, units=64, optimizer__learning_rate=0.01``.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If nothing takes a name; the message lists the nearest ones.
        """
        builder = params.get("model", self.model)
        if callable(builder):  # whatever else it is, fit will say
            check_names(self, builder, set(params) - set(self._get_param_names()))
        refuse_taken(self, params)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_clone__(self):
        with _optimizers_anew():
            return super().__sklearn_clone__()

    def __getstate__(self):
        state = super().__getstate__()
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and not optimizer.built:  # of the copy it is
            with _optimizers_anew():
                state["model"] = copy.deepcopy(self.model)
        return state

    def _extra_params(self) -> dict[str, Any]:
        """Return the parameters that are not in the constructor's signature."""
        cls: Any = type(self)
        own = _names_of(cls)
        return {
            name: value
            for name, value in vars(self).items()
            if name not in own and name not in FITTED and not name.startswith("_")
        }

    def _routed(self, route: str) -> dict[str, Any]:
        prefix, extra = f"{route}__", self._extra_params()
        bare = {BARE[name][1]: extra[name] for name in extra if is_bare(name, route, self.model)}
        return bare | {
            name.removeprefix(prefix): value
            for name, value in extra.items()
            if name.startswith(prefix)
        }

    def _build(self, X, rows, y, meta: dict[str, Any], compile_kwargs: dict[str, Any]):
        extra = self._extra_params()
        check_names(self, self.model, extra)
        if isinstance(self.model, keras.Model):
            with _optimizers_anew():
                return copy.deepcopy(self.model), False
        if isinstance(self.model, str | os.PathLike):
            if str(self.model).endswith((".h5", ".hdf5")):
                return load_uncompiled(Path(self.model)), False
            with _optimizers_anew() if self.epochs == 0 else nullcontext():  # it is not used then
                return keras.models.load_model(self.model), False
        if not callable(self.model):
            raise TypeError(
                "model must be a function that returns a keras.Model, a keras.Model or a path to "
                f"a .keras file, got {self.model!r}."
            )
        bare = {name for name in BARE if is_bare(name, BARE[name][0], self.model)}
        arguments = {n: value for n, value in extra.items() if "__" not in n and n not in bare}
        arguments |= self._routed("model")
        named = named_parameters(self.model)
        offered = {"meta": meta, "compile_kwargs": compile_kwargs}
        arguments |= {name: value for name, value in offered.items() if name in named}
        check_complete(self, self.model, arguments)
        network = self.model(**arguments)
        if not isinstance(network, keras.Model):
            raise TypeError(
                f"The builder {name_of(self.model)} must return a keras.Model, but it returned "
                f"{network!r}. Does it end in `return model`?"
            )
        return network, "compile_kwargs" in named

    def _refuse_second_compile(self) -> None:
        defaults = {"optimizer": "adam", "loss": None, "metrics": None}
        given = [name for name, value in defaults.items() if getattr(self, name) != value]
        routed = ("optimizer__", "loss__", "metrics__", "compile__")
        given += [
            name
            for name in self._extra_params()
            if name.startswith(routed) or is_bare(name, "compile", self.model)
        ]
        if given:
            raise ValueError(
                f"{messages.listed(given)} would have no effect, because the model comes compiled. "
                "Let the builder return it uncompiled, or take an argument `compile_kwargs` and "
                "call model.compile(**compile_kwargs)."
            )

    def _building(self) -> dict[str, Any]:
        later = {name for name in BARE if is_bare(name, "fit", self.model)}
        return {n: value for n, value in super()._building().items() if n not in later}

    def _fit_params(self, n_samples: int) -> dict[str, Any]:
        return self._routed("fit")

    def _fit_depends_on(self) -> dict[str, Any]:
        """Return what a fit depends on: of a model in a file its content, not its place."""
        state = super()._fit_depends_on()
        if isinstance(self.model, str | os.PathLike) and os.path.isfile(self.model):
            state["model"] = Path(self.model).read_bytes()
        return state

    def _predict_params(self) -> dict[str, Any]:
        params = self._routed("predict")
        if params.get("batch_size") is not None:
            numeric.check_count("predict__batch_size", params["batch_size"])
        return params


@lru_cache(maxsize=64)
def _names_of(cls: Any) -> frozenset[str]:
    """Return the names in a constructor's signature; to read it takes as long as to predict."""
    return frozenset(cls._get_param_names())


@contextmanager
def _optimizers_anew() -> Iterator[None]:
    """Let Keras begin anew with optimizers that a copied or loaded model has no variables for.

    Of a model that was compiled and not trained yet, there are none; Keras warns of that all the
    same.
    """
    about = [
        "Skipping variable loading for optimizer",
        "A total of 1 objects could not be loaded. Example error message for object "
        "<keras.src.optimizers",
    ]
    with warnings.catch_warnings():
        for beginning in about:
            warnings.filterwarnings("ignore", beginning)
        yield


class KerasClassifier(_Builder, NetworkClassifier):
    """A Keras network as a scikit-learn classifier.

    Parameters
    ----------
    model : callable, keras.Model or path
        A function that returns a ``keras.Model``, compiled or not. It may take ``meta`` (a dict:
        ``n_features_in_``, ``X_shape_``, ``X_dtype_``, ``classes_``, ``n_classes_``,
        ``n_outputs_``, ``target_type_``), ``compile_kwargs``, and arguments of its own. Of a
        ``keras.Model``, or one loaded from a path, a copy is trained on from its weights. A model
        with several outputs learns one column of y with each.
    optimizer : str, class or keras.optimizers.Optimizer, default="adam"
        Copied for every fit.
    loss : str, callable, keras.losses.Loss or its class, default=None
        By default the cross-entropy that fits the last layer: binary after one unit or for a
        multilabel y, sparse categorical otherwise; from logits where the last layer has no
        activation. A function of your own is given y in the shape of the outputs, classes one-hot.
    metrics : list, default=None
        As in ``model.compile``.
    epochs : int, default=1
    batch_size : int, default=32
        -1 stands for all rows.
    validation_split : float, default=0.0
        Fraction of the training rows held out, stratified, for validation and early stopping.
    callbacks : list of keras.callbacks.Callback, default=None
        Copied for every fit.
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
        Losses, metrics and callbacks may be classes, made with ``loss__``, ``metrics__`` and
        ``callbacks__`` settings: ``callbacks=EarlyStopping, callbacks__patience=3``.

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


class KerasRegressor(_Builder, NetworkRegressor):
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
