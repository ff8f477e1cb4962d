"""A Keras network as a scikit-learn estimator: what all of ours share, whoever builds the network.

A subclass says how a network is made (:meth:`NetworkEstimator._build`); here it is checked,
compiled, trained, and its outputs are turned into classes, probabilities or numbers.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.callback import CallbackSupportMixin, with_callbacks

from stackfuse._core import (
    MultiInput,
    messages,
    numeric,
    sampling,
    sklearn_private,
    targets,
)
from stackfuse._keras import Rows, check_network, several_outputs
from stackfuse._networks.class_weights import class_weights
from stackfuse._networks.holdout import hold_out
from stackfuse._networks.objects import (
    build_from_settings,
    check_callbacks,
    check_metrics,
    fresh_optimizer,
)
from stackfuse._networks.predicting import TrainedNetwork
from stackfuse._networks.progress import epochs_as_tasks
from stackfuse._training import (
    Training,
    rows_of,
    seeded,
    train,
)

#: The attributes that fit sets, besides private ones.
FITTED = {
    "X_shape_",
    "classes_",
    "feature_names_in_",
    "history_",
    "model_",
    "n_features_in_",
    "outputs_",
}


#: Training rows of which a digest is kept, to tell a stack that its base has seen them.
SEEN_ROWS = 64


@dataclass
class BegunFit:
    """A fit of which all is ready but the training: nothing outside the estimator has changed.

    Attributes
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_all_samples, ...)
        As checked.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    rows : ndarray of int of shape (n_samples,), or None
        Those of X that y is of; None for all.
    reset : bool
        Whether the network is new.
    training : Training or None
        None if there are no epochs.
    """

    X: Any
    y: Any
    rows: np.ndarray | None
    reset: bool
    training: Training | None = None

    def share_x(self, other: "BegunFit") -> None:
        """Read the rows of another fit's X, which is equal: one copy of it is enough."""
        self.X = other.X
        if self.training is not None and other.training is not None:
            self.training.share_x(other.training)

    @property
    def data(self) -> dict[str, Any]:
        """The X and y that scikit-learn's callbacks are told of; some rows are read on demand."""
        X, rows = self.X, self.rows
        return {
            "X": X if rows is None else lambda: sklearn_private.safe_indexing(X, rows),
            "y": self.y,
        }


class NetworkEstimator(CallbackSupportMixin, TrainedNetwork):
    """Base of the estimators that train one Keras network.

    Attributes
    ----------
    history_ : dict of str to list of float
        Loss and metrics per epoch.
    n_features_in_ : int
        Size of X's second axis.
    """

    # What a subclass may offer as parameters; these are the values where it does not.
    optimizer: Any = "adam"
    loss: Any = None
    metrics: Any = None
    epochs: Any = 1
    batch_size: int = 32
    validation_split: float = 0.0
    callbacks: Any = None
    class_weight: Any = None
    shuffle: bool = True
    warm_start: bool = False
    random_state: Any = None
    verbose: int = 0

    @abstractmethod
    def _build(
        self, X, rows, y: np.ndarray, meta: dict[str, Any], compile_kwargs: dict[str, Any]
    ) -> tuple[Any, bool]:
        """Return a network for this data, and whether it made use of the `compile_kwargs`.

        The data are those `rows` of X that y is of, or all if they are None.
        """

    @abstractmethod
    def _encode(
        self, y, *, reset: bool, classes
    ) -> tuple[np.ndarray, targets.Task, dict[str, Any]]:
        """Return y as numbers, the task, and what the builder is told of the target."""

    def fit(self, X, y, sample_weight=None, groups=None):
        """Train a new network, or with ``warm_start=True`` the present one further.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            One row per sample; the rows of an array may have any number of axes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, indicators or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' losses.
        groups : array-like of shape (n_samples,), default=None
            With `validation_split`, rows of one group are held out together.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If X or y cannot be trained on, or the network does not fit them.
        FloatingPointError
            If the training diverged.
        """
        reset = not (self.warm_start and hasattr(self, "model_"))
        return self._train(X, y, sample_weight, groups, reset=reset)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train the present network for one more epoch; the first call builds it.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        classes : array-like of shape (n_classes,), default=None
            All labels that later calls may bring; by default those of the first y. Not used by
            regressors.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : estimator
        """
        reset = not hasattr(self, "model_")
        return self._train(X, y, sample_weight, None, reset=reset, epochs=1, classes=classes)

    def initialize(self, X, y):
        """Build and compile the network without training it.

        A network that was trained elsewhere predicts after this; X and y tell the shapes and the
        classes.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        self : estimator
        """
        return self._train(X, y, None, None, reset=True, epochs=0)

    def begin(self, X, y, rows: np.ndarray, sample_weight=None, groups=None) -> "BegunFit":
        """Build the network for some rows of X, and train nothing yet; :meth:`complete` does that.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_all_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets of the rows.
        rows : ndarray of int of shape (n_samples,)
        sample_weight, groups : array-like of shape (n_samples,), default=None

        Returns
        -------
        begun : BegunFit
        """
        return self._begin(X, y, sample_weight, groups, reset=True, rows=rows)

    def _train(
        self,
        X,
        y,
        sample_weight,
        groups,
        *,
        reset: bool,
        epochs: int | None = None,
        classes=None,
    ):
        settings: dict[str, Any] = {"reset": reset, "epochs": epochs, "classes": classes}
        return self.complete(self._begin(X, y, sample_weight, groups, **settings))

    def _begin(
        self,
        X,
        y,
        sample_weight,
        groups,
        *,
        reset: bool,
        epochs: int | None = None,
        classes=None,
        rows: np.ndarray | None = None,
    ) -> "BegunFit":
        """Prepare to train on X, or on those of its `rows` that y and the weights are of."""
        shown = X if rows is None else rows
        targets.check_same_length(X=shown, y=y, sample_weight=sample_weight, groups=groups)
        if reset:  # should this fit fail, no half of an earlier one stays
            for name in ("model_", "outputs_", "history_", "classes_", "_optimizer_state"):
                self.__dict__.pop(name, None)
        X = self._check_rows(X, reset=reset)
        numbers, task, told = self._encode(y, reset=reset, classes=classes)
        weights = self._weights(shown, sample_weight, numbers)
        if reset:
            self._run_seed = numeric.seed_of(self.random_state)
            self._built_from = self._building()
            self.model_, self.outputs_ = self._network(X, rows, numbers, task, told)
            self.history_ = {}
            self._optimizer_state = []
        else:
            self._check_same_building()
        settings = self._settings(len(numbers), epochs)
        begun = BegunFit(X, y, rows, reset)
        if settings["epochs"]:
            chosen = Rows(X, self.model_, rows)
            with self._whole_or_none(reset):
                begun.training = self._training(chosen, numbers, task, weights, groups, settings)
        return begun

    @with_callbacks
    def complete(self, begun: "BegunFit", by: Callable[[Training], None] = train):
        """Train the network that was begun.

        Parameters
        ----------
        begun : BegunFit
        by : callable, default=train
            Is given the Training, and returns when it is done.

        Returns
        -------
        self : estimator
        """
        training, data = begun.training, begun.data
        n_epochs = 0 if training is None else training.epochs
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self, **data)
        if training is not None:
            with self._whole_or_none(begun.reset):
                if hasattr(self, "_skl_callbacks"):
                    training.callbacks.append(epochs_as_tasks(self, context, **data))
                by(training)
                for name, values in training.history.items():
                    self.history_.setdefault(name, []).extend(values)
            seen = sampling.spread(sklearn_private.num_samples(begun.y), SEEN_ROWS, begun.rows)
            self._seen_rows = sampling.row_digests(begun.X, seen)
        context.call_on_fit_task_end(estimator=self, **data)
        return self

    @contextmanager
    def _whole_or_none(self, reset: bool) -> Iterator[None]:
        """Forget a network that was built anew where its fit fails."""
        try:
            yield
        except BaseException:
            if reset:
                del self.model_
            raise

    def _settings(self, n_samples: int, epochs: int | None) -> dict[str, Any]:
        """Return what ``model.fit`` is told of epochs, batches and output."""
        settings: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "verbose": self.verbose,
            **self._fit_params(n_samples),
        }
        if epochs is not None:
            settings["epochs"] = epochs
        numeric.check_count("epochs", settings["epochs"], least=0)
        settings["batch_size"] = numeric.rows_per_batch(settings["batch_size"], n_samples)
        if settings.get("validation_batch_size") is not None:
            numeric.check_count("validation_batch_size", settings["validation_batch_size"])
        self._predict_params()  # a wrong one is told of now
        return settings

    def _training(
        self, rows: Rows, numbers, task: targets.Task, weights, groups, settings
    ) -> Training:
        """Return what the network is going to be trained on, and how."""
        target = self.outputs_.encode(numbers, _target_dtype(self.model_))
        strata = numbers if task in ("binary", "multiclass") else None
        kept, held_out = self._hold_out(len(numbers), strata, groups)
        own, by_class = weights  # as in Keras, classes are not weighed in validation
        validation = None if held_out is None else _part(rows, target, own, held_out)
        weights = own if by_class is None else by_class if own is None else by_class * own
        if held_out is not None:
            rows, target, weights = _part(rows, target, weights, kept)
        names = {field.name for field in fields(Training)}
        return Training(
            self.model_,
            rows,
            target,
            weights,
            self._optimizer_state,
            seed=self._run_seed,
            validation=validation,
            callbacks=self._made_callbacks(),
            first_epoch=len(next(iter(self.history_.values()), [])),
            fit_params={name: value for name, value in settings.items() if name not in names},
            **{name: value for name, value in settings.items() if name in names},
        )

    def _made_callbacks(self) -> list:
        """Return fresh callbacks: made from classes, or copied."""
        callbacks = (
            build_from_settings(self.callbacks, self._routed("callbacks"), "callbacks") or []
        )
        if isinstance(callbacks, dict):
            callbacks = list(callbacks.values())
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        check_callbacks(callbacks)
        return copy.deepcopy(callbacks)

    def _building(self) -> dict[str, Any]:
        """Return the parameters that a network is built and compiled from."""
        later = {"epochs", "batch_size", "validation_split", "callbacks", "class_weight", "shuffle"}
        later |= {"warm_start", "random_state", "verbose"}
        return {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in later and not name.startswith(("fit__", "predict__", "callbacks__"))
        }

    def _check_same_building(self) -> None:
        """Raise if a parameter that the present network does not follow has changed."""
        now, then = self._building(), self._built_from
        changed = [k for k in {**then, **now} if not _same(now.get(k), then.get(k))]
        if changed:
            raise ValueError(
                f"The network is trained on, but {messages.listed(changed)} changed since it was "
                "built and would have no effect. Call fit with warm_start=False to build it anew."
            )

    def _network(self, X, rows, y: np.ndarray, task: targets.Task, told: dict[str, Any]):
        """Return a new compiled network for some rows of X and what its outputs mean."""
        meta = {
            "n_features_in_": self.n_features_in_,
            "X_shape_": _shape(X, len(y)),
            "X_dtype_": getattr(X, "dtype", None),
            **told,
        }
        compile_kwargs = self._compile_kwargs()
        with seeded(self._run_seed):
            network, took_kwargs = self._build(X, rows, y, meta, compile_kwargs)
            check_network(network, X)
            if network.compiled and not took_kwargs:
                self._refuse_second_compile()
                if network.loss is None:
                    raise ValueError(
                        "The builder compiled the model without a loss. Pass one to "
                        "model.compile, or return the model uncompiled."
                    )
            if network.compiled and network.loss is not None:
                return network, several_outputs.read_network(network, X, task, told, network.loss)
            loss = compile_kwargs["loss"]
            outputs = several_outputs.read_network(network, X, task, told, loss)
            compile_kwargs["loss"] = outputs.default_loss() if loss is None else loss
            network.compile(**compile_kwargs)
        return network, outputs

    def _routed(self, route: str) -> dict[str, Any]:
        """Return the settings for a part of Keras: an optimizer, a loss, ``model.compile``, ..."""
        return {}

    def _compile_kwargs(self) -> dict[str, Any]:
        return {
            "optimizer": fresh_optimizer(self.optimizer, self._routed("optimizer")),
            "loss": build_from_settings(self.loss, self._routed("loss"), "loss"),
            "metrics": copy.deepcopy(
                check_metrics(build_from_settings(self.metrics, self._routed("metrics"), "metrics"))
            ),
            **self._routed("compile"),
        }

    def _refuse_second_compile(self) -> None:
        """Raise if parameters would be ignored because the builder compiled the network."""

    def _fit_params(self, n_samples: int) -> dict[str, Any]:
        """Return what else goes to ``model.fit``."""
        return {}

    def _weights(self, X, sample_weight, numbers) -> tuple:
        """Return the weights of the rows by themselves and by their class, None where not given."""
        if sample_weight is not None:
            sample_weight = sklearn_private.check_sample_weight(
                sample_weight, X, dtype=np.float32, ensure_non_negative=True
            )
        if self.class_weight is None:
            return sample_weight, None
        if not hasattr(self, "classes_"):
            raise ValueError(f"{type(self).__name__} has no classes, so class_weight must be None.")
        return sample_weight, class_weights(self.class_weight, numbers, self.classes_)

    def _hold_out(self, n_rows: int, strata, groups):
        """Return the rows to train on, and those to validate on or None."""
        return self._held_out(self.validation_split, n_rows, strata, groups)

    def _held_out(self, fraction, n_rows: int, strata, groups):
        """Return the same for a given fraction."""
        return hold_out(n_rows, fraction, self._run_seed % 2**32, strata, groups)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = self._takes_sparse
        tags.non_deterministic = self.random_state is None
        return tags


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one is other or one == other


def _target_dtype(model) -> str:
    """Return the dtype of the outputs, but at least float32: a half would round the target."""
    outputs = getattr(model, "outputs", None)
    dtypes = {tensor.dtype for tensor in outputs} if outputs else {model.variable_dtype}
    return "float64" if "float64" in dtypes else "float32"


def _part(rows: Rows, target, weights, places: np.ndarray) -> tuple:
    """Return some rows of what a network is trained on."""
    kept = rows_of(target, places)
    return rows.part(places), kept, None if weights is None else weights[places]


def _shape(X, n_rows: int):
    """Return the shape of some rows of X; of several inputs, by name."""
    if isinstance(X, MultiInput):
        return {name: (n_rows, *array.shape[1:]) for name, array in X.arrays.items()}
    return (n_rows, *X.shape[1:])
