"""A Keras network as a scikit-learn estimator: what all of ours share, whoever builds the network.

A subclass says how a network is made (:meth:`NetworkEstimator._build`); here it is checked,
compiled, trained, and its outputs are turned into classes, probabilities or numbers.
"""

import copy
from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from stackfuse._checks import Task, check_same_length, check_target, task_of
from stackfuse._outputs import default_loss, read_outputs
from stackfuse._program import predict, seeded, train


class NetworkEstimator(BaseEstimator):
    """Base of the estimators that train one Keras network.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    outputs_ : Outputs
        What the network's outputs mean.
    history_ : dict of str to list of float
        Loss and metrics per epoch.
    n_features_in_ : int
        Size of X's second axis.
    X_shape_ : tuple of int
        Shape of one row of X.
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
        self, X, y: np.ndarray, meta: dict[str, Any], compile_kwargs: dict[str, Any]
    ) -> tuple[Any, bool]:
        """Return a network for this data, and whether it made use of the `compile_kwargs`."""

    @abstractmethod
    def _encode(self, y) -> tuple[np.ndarray, Task, dict[str, Any]]:
        """Return y as numbers, the task, and what the builder is told of the target."""

    def fit(self, X, y, sample_weight=None):
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            One row per sample; rows may have any number of axes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, indicators or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' losses.

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
        check_same_length(X=X, y=y, sample_weight=sample_weight)
        X = self._check_rows(X, reset=True)
        y_numbers, task, told = self._encode(y)
        weights = self._weights(X, y, sample_weight)
        seed = self._seed()
        network, outputs = self._network(X, y_numbers, task, told, seed)
        x = _cast(X, network)
        target = outputs.encode(y_numbers, network.compute_dtype)
        fit_params = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "verbose": self.verbose,
            **self._fit_params(len(x)),
        }
        strata = y_numbers if task in ("binary", "multiclass") else None
        x, target, weights, validation_data = self._hold_out(x, target, weights, strata, seed)
        self.history_ = train(
            network,
            x,
            target,
            weights,
            seed=seed,
            validation_data=validation_data,
            callbacks=[copy.deepcopy(callback) for callback in self.callbacks or ()],
            **fit_params,
        )
        self.model_, self.outputs_ = network, outputs
        return self

    def _network(self, X, y: np.ndarray, task: Task, told: dict[str, Any], seed: int):
        """Return a compiled network, new or (warm start) the trained one, and its outputs."""
        if self.warm_start and hasattr(self, "model_"):
            network = self.model_
            return network, read_outputs(network, task, told["n_outputs_"], self.X_shape_)
        meta = {
            "n_features_in_": self.n_features_in_,
            "X_shape_": X.shape,
            "X_dtype_": X.dtype,
            **told,
        }
        compile_kwargs = self._compile_kwargs()
        with seeded(seed):
            network, took_kwargs = self._build(X, y, meta, compile_kwargs)
            if not network.built:
                network(np.zeros((1, *X.shape[1:]), network.compute_dtype))
            if network.compiled and network.loss is not None:
                if not took_kwargs:
                    self._refuse_second_compile()
                return network, read_outputs(network, task, told["n_outputs_"], self.X_shape_)
            outputs = read_outputs(
                network, task, told["n_outputs_"], self.X_shape_, compile_kwargs["loss"]
            )
            if compile_kwargs["loss"] is None:
                compile_kwargs["loss"] = default_loss(outputs)
            network.compile(**compile_kwargs)
        return network, outputs

    def _compile_kwargs(self) -> dict[str, Any]:
        return {
            "optimizer": _fresh_optimizer(self.optimizer, {}),
            "loss": self.loss,
            "metrics": copy.deepcopy(self.metrics),
        }

    def _refuse_second_compile(self) -> None:
        """Raise if parameters would be ignored because the builder compiled the network."""

    def _fit_params(self, n_samples: int) -> dict[str, Any]:
        """Return what else goes to ``model.fit``."""
        return {}

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weights(self, X, y, sample_weight) -> np.ndarray | None:
        """Return the product of sample and class weights, or None where there are none."""
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float32, ensure_non_negative=True
            )
        if self.class_weight is None:
            return sample_weight
        by_class = compute_sample_weight(self.class_weight, y).astype(np.float32)
        return by_class if sample_weight is None else by_class * sample_weight

    def _hold_out(self, x, target, weights, strata, seed: int):
        """Split the validation rows off the training rows."""
        if not self.validation_split:
            return x, target, weights, None
        if not 0 < self.validation_split < 1:
            raise ValueError(f"validation_split must lie in [0, 1), got {self.validation_split!r}.")
        train_rows, held_out = train_test_split(
            np.arange(len(x)),
            test_size=self.validation_split,
            random_state=seed % 2**32,
            stratify=strata,
        )
        train_rows.sort()
        held_out.sort()
        validation_data = (x[held_out], target[held_out])
        if weights is not None:
            validation_data += (weights[held_out],)
            weights = weights[train_rows]
        return x[train_rows], target[train_rows], weights, validation_data

    def _check_rows(self, X, *, reset: bool) -> np.ndarray:
        """Return X as a numeric array whose rows have the shape that was seen in fit."""
        X = validate_data(self, X, reset=reset, dtype="numeric", allow_nd=True)
        if X.dtype.kind not in "buif":
            raise ValueError(
                f"{type(self).__name__} needs numbers, but X has dtype {X.dtype}. Encode text and "
                "category columns first, for example with a ColumnTransformer."
            )
        if reset:
            self.X_shape_ = X.shape[1:]
        elif X.shape[1:] != self.X_shape_:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was fitted on rows "
                f"of shape {self.X_shape_}."
            )
        return X

    def _predict_numbers(self, X) -> np.ndarray:
        """Return the network's predictions: probabilities per class, or numbers."""
        check_is_fitted(self, "model_")
        x = _cast(self._check_rows(X, reset=False), self.model_)
        return predict(self.model_, x, self.outputs_.predict, repr(self.outputs_))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Base of the classifiers that train one Keras network.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels in sorted order; for a multilabel target the column numbers.
    """

    def _encode(self, y) -> tuple[np.ndarray, Task, dict[str, Any]]:
        y = check_target(y, classifier=True, owner=self)
        task = task_of(y, classifier=True)
        if task == "multilabel":
            classes, numbers = np.arange(y.shape[1]), y
        else:
            classes, numbers = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if self.warm_start and not np.array_equal(getattr(self, "classes_", classes), classes):
            raise ValueError(
                f"warm_start=True: y has the classes {classes}, but the network was fitted on "
                f"{self.classes_}. Set warm_start=False to begin anew."
            )
        self.classes_ = classes
        return (
            numbers,
            task,
            {
                "target_type_": "multilabel-indicator" if task == "multilabel" else task,
                "classes_": classes,
                "n_classes_": len(classes),
                "n_outputs_": len(classes),
            },
        )

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``, float64.
        """
        return self._predict_numbers(X)

    def predict(self, X) -> np.ndarray:
        """Return the most probable class; the first of equals.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        labels : ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        """
        probabilities = self.predict_proba(X)
        if self.outputs_.task == "multilabel":
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Base of the regressors that train one Keras network."""

    def _encode(self, y) -> tuple[np.ndarray, Task, dict[str, Any]]:
        y = check_target(y, classifier=False, owner=self)
        if y.ndim > 2:
            raise ValueError(f"y must have one or two axes, got shape {y.shape}.")
        self._y_is_column = y.ndim == 1
        task = task_of(y, classifier=False)
        return (
            y,
            task,
            {
                "target_type_": "continuous" if task == "regression" else "continuous-multioutput",
                "classes_": None,
                "n_classes_": None,
                "n_outputs_": 1 if y.ndim == 1 else y.shape[1],
            },
        )

    def predict(self, X) -> np.ndarray:
        """Return the predicted numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As many axes as the y of fit, float64.
        """
        numbers = self._predict_numbers(X)
        return numbers[:, 0] if self._y_is_column else numbers

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _cast(X: np.ndarray, model) -> np.ndarray:
    """Return X in the dtype of the model's input; refuse if that changes a value for the worse."""
    inputs = getattr(model, "inputs", None)
    if inputs and len(inputs) > 1:
        raise ValueError(
            f"The model {model.name!r} has {len(inputs)} inputs; models with one are supported."
        )
    dtype = np.dtype(inputs[0].dtype if inputs else model.compute_dtype)
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        x = X.astype(dtype)
    if X.dtype.kind == "f" and dtype.kind == "f":
        changed = ~np.isfinite(x)  # X itself is finite
    elif dtype.kind == "b" or X.dtype.kind == "b":
        changed = np.zeros(1, bool)
    else:
        changed = x.astype(X.dtype) != X
    if changed.any():
        value = X[changed][0]
        raise ValueError(
            f"X has dtype {X.dtype} and holds {value!r}, which the model's input dtype {dtype} "
            f"cannot represent. Rescale X, cast it yourself, or declare keras.Input(dtype=...)."
        )
    return x


def _fresh_optimizer(optimizer, config: dict[str, Any]):
    """Return a new optimizer from a name, a class or an instance that stays as it is."""
    import keras

    if isinstance(optimizer, str):
        optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, type):
        return optimizer(**config)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"optimizer must be a name, a keras.optimizers class or an instance, got {optimizer!r}."
        )
    settings = optimizer.get_config() | config
    settings.pop("name", None)
    return type(optimizer).from_config(settings)
