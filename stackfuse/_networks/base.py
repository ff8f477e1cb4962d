"""A Keras network as a scikit-learn estimator: the base of the wrappers and of the heads.

An estimator holds parameters. Four objects do the work: a :class:`Target` reads y, a
:class:`Builder` makes the network, :class:`FitSettings` say how it is trained, and a
:class:`FittedNetwork` keeps the result.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    fitting,
    messages,
    multi_input,
    sampling,
    sklearn_private,
    targets,
)
from stackfuse._keras import Rows, indices, own_code, penultimate
from stackfuse._networks import together
from stackfuse._networks.begun_fit import BegunFit, epochs_as_tasks, present_trainer
from stackfuse._networks.builder import Builder, ignore_unbuilt_optimizers
from stackfuse._networks.fit_settings import FitSettings
from stackfuse._networks.fitted_network import (
    FittedNetwork,
    FromFit,
    Rebuilt,
    fitted_anew,
    fitted_of,
)
from stackfuse._networks.parameters import (
    check_for_call,
    check_kept,
    is_method_of,
    offer_inherited,
    own_arguments,
    refuse_hooks,
)
from stackfuse._networks.target import Target
from stackfuse._training import Training, prediction

#: Training rows of which a digest is kept, to tell a stack that its base has seen them.
SEEN_ROWS = 64


class NetworkEstimator(CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that train one Keras network.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    outputs_ : Outputs or SeveralOutputs
        The meaning of the network's outputs.
    history_ : dict of str to list of float
        Loss and metrics per epoch.
    n_features_in_ : int
        Size of X's second axis.
    X_shape_ : tuple of int
        Shape of one row of X.
    """

    # Parameters that a subclass may offer, with the values that hold if it does not.
    optimizer: Any = "adam"
    loss: Any = None
    metrics: Any = None
    epochs: Any = 1
    batch_size: int = 32
    validation_split: float = 0.0
    validation: Any = "auto"
    callbacks: Any = None
    class_weight: Any = None
    shuffle: bool = True
    warm_start: bool = False
    random_state: Any = None
    verbose: int = 0

    #: The method by which a subclass makes the network itself, as in scikeras.
    _keras_build_fn: Any = None

    #: How y is read.
    _target_kind: type[Target]

    #: Whether X may be sparse.
    _takes_sparse = True

    #: Whether X may hold strings, for networks that take them.
    _takes_strings = True

    #: The names of parameters that are in no constructor, in the order in which they were set.
    _extra_names: tuple[str, ...] = ()

    model_: Any = FromFit()
    outputs_: Any = FromFit()
    classes_: Any = FromFit()
    history_: Any = FromFit()
    n_features_in_: Any = FromFit()
    feature_names_in_: Any = FromFit()
    X_shape_: Any = FromFit()
    # The entries of `meta`, for builders that are methods of the estimator; else not there.
    X_dtype_: Any = FromFit()
    cardinalities_: Any = FromFit()
    target_type_: Any = FromFit()
    n_classes_: Any = FromFit()
    n_outputs_: Any = FromFit()
    n_outputs_expected_: Any = FromFit()
    _y_is_column: Any = FromFit("y_is_column")
    _seen_rows: Any = FromFit("seen_rows")

    @property
    def _fitted(self) -> FittedNetwork:
        """The results of ``fit``; before it, an AttributeError."""
        fitted = fitted_of(self)
        if fitted is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '_fitted'")
        return fitted

    def _new_fitted(self) -> FittedNetwork:
        return self.__dict__.setdefault("_fitted", FittedNetwork())

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        refuse_hooks(cls)
        offer_inherited(cls)

    @abstractmethod
    def _builder(self) -> Builder:
        """Return the builder of the network."""

    def _fit_settings(self) -> FitSettings:
        """Return how the network is trained."""
        return FitSettings.of(self, self._builder())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all parameters, the builder's and the routed ones included.

        Parameters
        ----------
        deep : bool, default=True
            Has no effect: no parameter is an estimator.

        Returns
        -------
        params : dict of str to object
            The parameters by name.
        """
        check_kept(self)
        given = super().get_params(deep=False) | self._extra_params()
        return {n: value for n, value in given.items() if not is_method_of(self, value)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, the builder's and the routed ones included.

        Parameters
        ----------
        **params : dict
            The new values, for example ``epochs=5, units=64, optimizer__learning_rate=0.01``.

        Returns
        -------
        self : estimator
            This estimator.

        Raises
        ------
        ValueError
            If there is no parameter of such a name; the message lists similar ones.
        """
        further = self._builder().take_parameters(params)
        super().set_params(**{name: v for name, v in params.items() if name not in further})
        self._set_extra_params({name: params[name] for name in further})
        return self

    def _extra_params(self) -> dict[str, Any]:
        """Return the parameters that are in no constructor."""
        return {name: vars(self)[name] for name in self._extra_names if name in vars(self)}

    def _set_extra_params(self, params: dict[str, Any]) -> None:
        """Set parameters that are in no constructor, and record their names."""
        self.__dict__.update(params)
        if params:
            self._extra_names = tuple(dict.fromkeys([*self._extra_names, *params]))

    def __sklearn_clone__(self) -> Any:
        given = self.get_params(deep=False)
        arguments = {n: given[n] for n in own_arguments(type(self)) if n in given}
        # scikit-learn would copy these by their names in Keras: the constructor gets None first.
        arguments.update(dict.fromkeys(n for n in arguments if own_code.holds_own(given[n])))
        source: Any = copy.copy(self)
        vars(source).update(arguments, get_params=lambda deep: dict(arguments))
        later = {n: value for n, value in given.items() if arguments.get(n) is not value}
        with ignore_unbuilt_optimizers():
            twin = super(NetworkEstimator, source).__sklearn_clone__()
            vars(twin).update(own_code.deep_copy(later))
        twin._extra_names = self._extra_names
        return twin

    def __copy__(self) -> Any:
        twin: Any = object.__new__(type(self))
        vars(twin).update(vars(self))
        for name, value in vars(self).items():
            if is_method_of(self, value):
                setattr(twin, name, getattr(twin, value.__name__))
        vars(twin).pop("_fitting", None)
        fitted = fitted_of(self)
        if fitted is not None:  # a shallow copy may change its attributes
            vars(twin)["_fitted"] = copy.copy(fitted)
        return twin

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        **for_this_call: Any,
    ) -> Self:
        """Train a new network, or with ``warm_start=True`` the present one further.

        Parameters
        ----------
        X : array-like, sparse matrix, MultiInput or dict of shape (n_samples, ...)
            The rows. A row may have any number of axes, and hold strings if the network takes
            them. A dict of arrays is a MultiInput.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target: class labels, 0/1 indicators of labels, or numbers. It is required.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss.
        groups : array-like of shape (n_samples,), default=None
            The groups of the rows: `validation_split` holds out whole groups.
        **for_this_call : dict
            Settings of ``model.fit`` for this call alone: ``epochs=3``, ``verbose=0``,
            ``callbacks=[...]``, ...

        Returns
        -------
        self : estimator
            The trained estimator.

        Raises
        ------
        ValueError
            If X or y cannot be trained on, or the network does not fit them.
        FloatingPointError
            If the loss or a weight becomes NaN or infinite.
        """
        fitting.check_settings({"warm_start": self.warm_start}, {"warm_start": fitting.FLAG})
        reset = not (self.warm_start and self.__sklearn_is_fitted__())
        return self._train(X, y, sample_weight, groups, reset=reset, for_this_call=for_this_call)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, **for_this_call: Any
    ) -> Self:
        """Train the present network for one more epoch; the first call builds it.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows of this step.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target of these rows.
        classes : array-like of shape (n_classes,), default=None
            All labels that later calls may bring. By default, the labels of the first y.
            Regressors ignore it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss.
        **for_this_call : dict
            Settings of ``model.fit`` for this call alone, except `epochs`: for more than one epoch
            call ``fit`` with ``warm_start=True``.

        Returns
        -------
        self : estimator
            The trained estimator.

        Raises
        ------
        ValueError
            If X or y do not fit the network, or `epochs` is not 1.
        FloatingPointError
            If the loss or a weight becomes NaN or infinite.
        """
        if for_this_call.get("epochs", 1) != 1:
            raise ValueError(
                "partial_fit trains for one epoch. For more, call fit with warm_start=True."
            )
        for_this_call["epochs"] = 1
        reset = not self.__sklearn_is_fitted__()
        return self._train(
            X, y, sample_weight, None, reset=reset, classes=classes, for_this_call=for_this_call
        )

    def initialize(self, X: Any, y: Any) -> Self:
        """Build and compile the network without training it.

        Use it for a network that was trained elsewhere: it can predict after this call.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            Rows that give the shapes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target, which gives the classes or the number of outputs.

        Returns
        -------
        self : estimator
            The estimator, ready to predict.

        Raises
        ------
        ValueError
            If X or y cannot be used, or the network does not fit them.
        """
        return self._train(X, y, None, None, reset=True, for_this_call={"epochs": 0})

    def begin(
        self, X: Any, y: Any, rows: np.ndarray, sample_weight: Any = None, groups: Any = None
    ) -> BegunFit:
        """Build the network for some rows of X, without training it: :meth:`complete` trains.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_all_samples, ...)
            All rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target of the chosen rows.
        rows : ndarray of int of shape (n_samples,)
            The numbers of the chosen rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the chosen rows in the loss.
        groups : array-like of shape (n_samples,), default=None
            The groups of the chosen rows: `validation_split` holds out whole groups.

        Returns
        -------
        begun : BegunFit
            The network and its encoded rows, to pass to :meth:`complete`.

        Raises
        ------
        ValueError
            If X or y cannot be trained on, or the network does not fit them.
        """
        return self._begin(BegunFit(X, y, rows, reset=True), sample_weight, groups)

    @property
    def current_epoch(self) -> int:
        """The number of epochs of training so far; 0 before the first fit."""
        return self._fitted.n_epochs if hasattr(self, "history_") else 0

    def _train(
        self,
        X,
        y,
        sample_weight,
        groups,
        *,
        reset: bool,
        classes=None,
        for_this_call: dict[str, Any],
    ):
        with fitted_anew(self) if reset else nullcontext():
            begun = self._begin(
                BegunFit(X, y, None, reset), sample_weight, groups, classes, for_this_call
            )
            return self.complete(begun)

    def _begin(
        self, begun: BegunFit, sample_weight, groups, classes=None, for_this_call: Any = None
    ) -> BegunFit:
        """Prepare to train on X, or on those of its `rows` that y and the weights belong to."""
        y, rows, reset = begun.y, begun.rows, begun.reset
        n_rows = None if y is None or rows is not None else targets.n_rows(y, "y")
        X = given = multi_input.rows_given(begun.X, n_rows)
        shown = X if rows is None else rows
        targets.check_same_length(X=shown, y=y, sample_weight=sample_weight, groups=groups)
        if reset and "_fitting" not in vars(self):
            self.__dict__.pop("_fitted", None)
        with self._forget_failed_fit(reset):
            begun.X = X = self._check_rows(given, reset=reset)
            known = None if reset else self._fitted.target.classes
            target = self._target_kind.read(y, self, known=known, classes=classes)
            if not reset:
                target.check_like(self._fitted.target, self)
            settings = self._fit_settings().changed(for_this_call or {}, self)
            weights = settings.row_weights(shown, sample_weight, target, self)
            if reset:
                self._make_network(X, rows, target)
                sparse = self._takes_sparse
                begun.X = X = self._fitted.check_strings(X, given, self, sparse=sparse)
            else:
                self._check_same_building()
            for_fit = settings.checked(self.model_, len(target.numbers))
            self._predict_params()  # raises now if one is wrong
            if for_fit["epochs"]:
                chosen = Rows(X, self.model_, rows)
                begun.training = settings.training(
                    self._fitted, chosen, target, weights, groups, for_fit
                )
        return begun

    def _make_network(self, X, rows, target: Target) -> None:
        """Make a new network for some rows of X."""
        fitted = self._fitted
        fitted.run_seed = fitting.seed_of(self.random_state)
        fitted.built_from = self._built_from()
        meta = {
            "n_features_in_": fitted.n_features_in_,
            "X_shape_": _shape(X, len(target.numbers)),
            "X_dtype_": getattr(X, "dtype", None),
            "cardinalities_": indices.cardinalities_of(X, rows),
            **target.info,
        }
        fitted.meta = meta
        builder = self._builder()
        if is_method_of(self, getattr(builder, "model", None)):
            vars(fitted).update(
                {n: v for n, v in meta.items() if n != "X_shape_" and v is not None}
            )
        fitted.model_, fitted.outputs_ = builder.network(X, rows, target, meta, fitted.run_seed)
        classes = target.classes_of(fitted.outputs_)
        if classes is not None:
            fitted.classes_ = classes
        fitted.target, fitted.y_is_column = target.without_rows(), target.is_column
        fitted.history_ = {}
        fitted.optimizer_state = []

    @with_callbacks
    def complete(self, begun: BegunFit) -> Self:
        """Train the network that :meth:`begin` built.

        Parameters
        ----------
        begun : BegunFit
            The result of :meth:`begin`.

        Returns
        -------
        self : estimator
            The trained estimator.

        Raises
        ------
        FloatingPointError
            If the loss or a weight becomes NaN or infinite.
        """
        training, data = begun.training, begun.data
        n_epochs = 0 if training is None else training.epochs
        context = sklearn_private.callback_context(self, n_epochs)
        context.call_on_fit_task_begin(estimator=self, **data)
        if training is not None:
            with self._forget_failed_fit(begun.reset):
                if sklearn_private.has_callbacks(self):
                    training.callbacks.append(epochs_as_tasks(self, context, **data))
                present_trainer()(training)
                for name, values in training.history.items():
                    self.history_.setdefault(name, []).extend(values)
                if begun.reset:
                    self._tell_of_training(training)
            seen = sampling.spread(sklearn_private.num_samples(begun.y), SEEN_ROWS, begun.rows)
            self._seen_rows = sampling.row_digests(begun.X, seen)
        context.call_on_fit_task_end(estimator=self, **data)
        return self

    def _tell_of_training(self, training: Training) -> None:
        """Warn about the result of a training; here about nothing."""

    @contextmanager
    def _forget_failed_fit(self, reset: bool) -> Iterator[None]:
        """Forget a network that was built anew if its fit fails."""
        try:
            yield
        except BaseException:
            if reset:
                self.__dict__.pop("_fitted", None)
            raise

    def _built_from(self) -> dict[str, Any]:
        """Return the parameters that a network is built and compiled from."""
        later = {"epochs", "batch_size", "validation_split", "callbacks", "class_weight", "shuffle"}
        later |= {"warm_start", "random_state", "verbose", "validation"}
        builder = self._builder()
        return {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in later and not builder.is_for_fit(name)
        }

    def _check_same_building(self) -> None:
        """Raise if a parameter that the present network does not follow has changed."""
        now, then = self._built_from(), self._fitted.built_from
        changed = [k for k in {**then, **now} if not _are_equal(now.get(k), then.get(k))]
        if changed:
            raise ValueError(
                "fit would train the existing network further, but "
                f"{messages.listed(changed, 'and')} changed since it was built and would "
                "have no effect. Call fit with warm_start=False to build it anew."
            )

    def _check_rows(self, X, *, reset: bool):
        """Return X as numeric arrays whose rows have the form that was seen in fit."""
        fitted = fitted_of(self) or self._new_fitted() if reset else self._fitted
        return fitted.check_rows(
            X, self, reset=reset, sparse=self._takes_sparse, takes_strings=self._takes_strings
        )

    def _answer(self, X, what: str = "predict", for_this_call: Any = None) -> Any:
        """Return the outputs of the network for X.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        what : {"predict", "decide", "features"}
            Probabilities or numbers, decisions, or the activations before the last layer.
        for_this_call : dict, default=None

        Raises
        ------
        FloatingPointError
            If a number is NaN or infinite.
        """
        numbers = None if for_this_call else together.fetch(self, X, what)
        if numbers is None:
            numbers = self._kept_answer(X, what, for_this_call)
        if numbers is None:
            numbers = prediction.predict(self._question(X, what, for_this_call))
        for table in numbers if isinstance(numbers, list) else [numbers]:
            targets.check_finite_predictions(table, self)
        return numbers

    def _kept_answer(self, X, what: str, for_this_call: Any) -> Any:
        """Return the answer of a network that a memory keeps, else None.

        As long as nobody can have changed it, what it answers is kept too.
        """
        fitted = fitted_of(self)
        answers = None if fitted is None else fitted.take_answers()
        if answers is None:
            return None
        rows = self._rows_to_predict(X)
        batch_size = self._predict_params(for_this_call).get("batch_size")
        meaning = what if what == "features" else f"{what} {self._meaning()}"
        question = f"{meaning} in batches of {batch_size}"
        return answers.of(
            rows, question, lambda: prediction.predict(self._question(X, what, for_this_call))
        )

    def _rows_to_predict(self, X) -> Any:
        """Return X as numeric arrays; see :meth:`_check_rows`."""
        shape = self._fitted.X_shape_
        names = list(shape) if isinstance(shape, dict) else None
        return self._check_rows(multi_input.rows_for(names, X), reset=False)

    def _question(self, X, what: str, for_this_call: Any = None) -> prediction.Question:
        """Return the computation for X, see :meth:`_answer`, without computing anything yet."""
        self._check_is_fitted()
        fitted = self._fitted
        params = self._predict_params(for_this_call)
        rows = self._rows_to_predict(X)
        if params.get("batch_size") == -1:
            params["batch_size"] = sklearn_private.num_samples(rows)
        if what == "features":
            finish, name, part = penultimate.in_float64, what, penultimate.penultimate
        else:
            outputs = self._meaning()
            finish, name, part = getattr(outputs, what), f"{what} {outputs}", prediction.all_of
        model = fitted.model_
        return prediction.Question(model, Rows(rows, model), finish, name, part, **params)

    def _meaning(self) -> Any:
        """Return the meaning of the outputs, or of the part that ``predict__output`` chooses."""
        return self.outputs_.showing(self._routed_to_predict().get("output"))

    @fitting.of_one_fit
    def features(self, X: Any) -> np.ndarray:
        """Return the inputs of the network's last layer: its penultimate activations.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features), float64
            The inputs of the last layer that has weights, flattened.

        Raises
        ------
        ValueError
            If the network is subclassed, or has one layer only.
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        """
        return self._answer(X, "features")

    def _check_is_fitted(self) -> None:
        # scikit-learn's check alone takes as long as a small network.
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self, "model_")

    def _predict_params(self, for_this_call: Any = None) -> dict[str, Any]:
        """Return the ``batch_size`` to predict with, if it is not the default; -1 for all rows."""
        params = self._routed_to_predict()
        check_for_call(self, "predict", for_this_call or {})
        params.pop("output", None)
        params |= {n: value for n, value in (for_this_call or {}).items() if n == "batch_size"}
        if params.get("batch_size") not in (None, -1):
            fitting.check_count("predict__batch_size", params["batch_size"])
        return params

    def _routed_to_predict(self) -> dict[str, Any]:
        # Not by the builder, which takes longer to make than a small network to compute.
        prefix = "predict__"
        return {
            name.removeprefix(prefix): value
            for name, value in self._extra_params().items()
            if name.startswith(prefix)
        }

    def _fit_depends_on(self) -> dict[str, Any]:
        """Return all that a fit depends on: the parameters, and the state of a fitted network."""
        learnt = self._fitted.depends_on() if self.__sklearn_is_fitted__() else {}
        return self.get_params(deep=False) | self._builder().content() | learnt

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__()) | self._builder().picklable()
        replaced: dict[int, Any] = {}  # one object stays one: the network remembers its parameters
        state.pop("_fitting", None)
        if fitted_of(self) is not None:
            fitted: Any = copy.copy(self._fitted)
            state["_fitted"] = fitted
            if hasattr(fitted, "built_from"):
                fitted.built_from = own_code.portable(fitted.built_from, replaced)
            if "model_" in vars(fitted) and not own_code.can_be_written(fitted.model_):
                source: Any = copy.copy(self)
                del vars(source)["_fitted"]
                vars(source).update(self._fitted.built_from)
                fitted.rebuilt = Rebuilt(source, self._fitted)
        return {name: own_code.portable(value, replaced) for name, value in state.items()}

    def __setstate__(self, state: Any) -> None:
        if "model_" in state:  # before there was a FittedNetwork; predictions would miss it
            raise ValueError(
                f"This {type(self).__name__} was pickled by an earlier stackfuse, and this "
                "version cannot read it. Fit it again, or load it with the version that wrote it."
            )
        super().__setstate__(state)

    def __sklearn_is_fitted__(self) -> bool:
        fitted = fitted_of(self)
        return fitted is not None and fitted.has("model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = self._takes_sparse
        tags.non_deterministic = self.random_state is None
        return tags


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one is other or one == other


def _shape(X, n_rows: int):
    """Return the shape of some rows of X; of several inputs, by name."""
    if isinstance(X, MultiInput):
        return {name: (n_rows, *array.shape[1:]) for name, array in X.arrays.items()}
    return (n_rows, *X.shape[1:])
