"""Networks as scikit-learn estimators by plain ``model.fit``: what the wrappers have to equal.

Nothing here knows the package but its ``MultiInput``. What the wrappers document is written down
once more: the seed of the weights, the order of the rows in each epoch, the rows held out, the
loss for a last layer, and what its outputs mean. The steps run eagerly, for to trace them takes
longer than the few that a small test needs.
"""

import copy
import itertools
import math
import random
from typing import Any

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split
from sklearn.utils import compute_sample_weight

DEFAULTS: dict[str, Any] = {
    "optimizer": "adam",
    "loss": None,
    "metrics": None,
    "epochs": 1,
    "batch_size": 32,
    "validation_split": 0.0,
    "validation": "auto",
    "callbacks": None,
    "class_weight": None,
    "shuffle": True,
    "random_state": None,
    "verbose": 0,
}

#: Settings of ``model.compile`` that change how steps are run and not what they compute.
IDLE = {"steps_per_execution", "jit_compile", "run_eagerly"}


class Plain(BaseEstimator):
    """A network with the parameters of a wrapper, which may have any names."""

    def __init__(self, **params):
        self.params = DEFAULTS | params

    def get_params(self, deep=True):
        return dict(self.params)

    def set_params(self, **params):
        self.params = self.params | params
        return self

    def __sklearn_clone__(self):
        return type(self)(**self.params)  # fit changes none of them

    def routed(self, route: str) -> dict[str, Any]:
        prefix = f"{route}__"
        names = [name for name in self.params if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.params[name] for name in names}

    def fit(self, X, y, sample_weight=None, groups=None):
        numbers = self._numbers(np.asarray(y))
        seed = self.params["random_state"]
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = (np.random if seed is None else copy.deepcopy(seed)).randint(2**31 - 1)
        seed = int(seed)
        self.model_ = model = self._compiled(X, numbers, seed)
        self.history_ = {}
        if self.params["epochs"]:
            target = self._encoded(numbers)
            weights = self._weights(numbers, sample_weight)
            kept = self._kept(numbers, groups, seed)
            self.history_ = self._trained(model, inputs(X), target, weights, seed, kept)
        return self

    def _compiled(self, X, numbers, seed: int):
        """Return a new network whose weights are those after ``set_random_seed(seed)``."""
        before = random.getstate(), np.random.get_state()
        keras.utils.set_random_seed(seed)
        compile_kwargs = {
            "optimizer": optimizer_of(self.params["optimizer"], self.routed("optimizer")),
            "metrics": metrics_of(self.params["metrics"]),
            "loss": self.params["loss"],
            **{k: v for k, v in self.routed("compile").items() if k not in IDLE},
        }
        model, meta = self.params["model"], self._meta(X, numbers)
        if isinstance(model, keras.Model):
            model = copy.deepcopy(model)
        elif isinstance(model, str):
            model = keras.models.load_model(model)
        else:
            known = {*DEFAULTS, "model", "validation_batch_size"}
            arguments = {k: v for k, v in self.params.items() if k not in known and "__" not in k}
            named = model.__code__.co_varnames[: model.__code__.co_argcount]
            if "compile_kwargs" in named:
                arguments["compile_kwargs"] = compile_kwargs
            model = model(meta=meta, **arguments)
        random.setstate(before[0])
        np.random.set_state(before[1])
        self.n_units_ = self._n_units(X, model)
        if not model.compiled or model.loss is None:
            if compile_kwargs["loss"] is None:
                compile_kwargs["loss"] = self._default_loss()
            model.compile(**compile_kwargs)
        model.run_eagerly = True
        return model

    def _n_units(self, X, model) -> int:
        """Return the width of the output."""
        if getattr(model, "outputs", None):
            return int(model.outputs[0].shape[-1])
        return int(model(part(inputs(X), np.arange(1)), training=False).shape[-1])

    def _meta(self, X, numbers) -> dict[str, Any]:
        arrays = getattr(X, "arrays", None)
        shape = () if arrays else np.shape(inputs(X))
        return {"X_shape_": shape, **self._about(numbers)}

    def _weights(self, numbers, sample_weight):
        """Return the weights of the rows by themselves, and with those of their classes."""
        own = None if sample_weight is None else np.asarray(sample_weight, np.float32)
        kind = self.params["class_weight"]
        if kind is None:
            return own, own
        if isinstance(kind, dict):
            places = {label: place for place, label in enumerate(self.classes_.tolist())}
            kind = {places[label]: weight for label, weight in kind.items()}
        by_class = compute_sample_weight(kind, numbers).astype(np.float32)
        return own, by_class if own is None else by_class * own

    def _kept(self, numbers, groups, seed: int) -> np.ndarray:
        """Return the rows that are not held out."""
        rows, fraction = np.arange(len(numbers)), self.params["validation_split"]
        if not fraction:
            return rows
        if self.params["validation"] == "last":
            return rows[: math.floor(len(rows) * (1 - fraction))]  # as Keras counts them
        strata = numbers if hasattr(self, "classes_") and numbers.ndim == 1 else None
        if groups is None:
            kept, _ = train_test_split(rows, test_size=fraction, random_state=seed, stratify=strata)
        elif strata is None:
            drawn = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
            kept, _ = next(drawn.split(rows, groups=groups))
        else:
            n_folds = min(len(np.unique(groups)), round(1 / fraction))
            splits = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
            kept, _ = min(
                splits.split(rows, strata, groups),
                key=lambda split: abs(len(split[1]) - fraction * len(rows)),
            )
        return np.sort(kept)

    def _trained(self, model, x, target, weights, seed: int, kept) -> dict[str, list[float]]:
        own, both = weights
        validation = None
        if self.params["validation_split"]:
            held = np.setdiff1d(np.arange(len(target_rows(target))), kept)
            validation = tuple(part(array, held) for array in (x, target, own) if array is not None)
        size = self.params["batch_size"]
        size = len(kept) if size == -1 else size or 32

        def batches():
            for epoch in itertools.count():
                order = kept
                if self.params["shuffle"]:
                    order = kept[np.random.default_rng([seed, epoch]).permutation(len(kept))]
                for start in range(0, len(order), size):
                    rows = order[start : start + size]
                    yield tuple(
                        part(array, rows) for array in (x, target, both) if array is not None
                    )

        routed = {k: v for k, v in self.routed("fit").items() if k != "verbose"}
        if "validation_batch_size" in self.params:
            routed["validation_batch_size"] = self.params["validation_batch_size"]
        fitted = model.fit(
            batches(),
            steps_per_epoch=math.ceil(len(kept) / size),
            epochs=self.params["epochs"],
            callbacks=callbacks_of(self.params["callbacks"], self.routed("callbacks")),
            validation_data=validation,
            shuffle=False,
            verbose=0,
            **routed,
        )
        return {name: list(map(float, values)) for name, values in fitted.history.items()}

    def outputs(self, X) -> np.ndarray:
        """Return what the last layer gives, in float64."""
        outputs = self.model_(part(inputs(X), slice(None)), training=False)
        several = outputs if isinstance(outputs, list) else [outputs]
        return np.hstack([np.asarray(tensor) for tensor in several]).astype(np.float64)


class PlainClassifier(ClassifierMixin, Plain):
    """The reference that KerasClassifier has to equal."""

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
            return y
        self.classes_, numbers = np.unique(y.ravel(), return_inverse=True)
        return numbers

    @property
    def is_multilabel(self) -> bool:
        return self.model_y_ == "multilabel-indicator"

    def _about(self, numbers) -> dict[str, Any]:
        several = numbers.ndim == 2
        kind = "binary" if len(self.classes_) == 2 else "multiclass"
        self.model_y_ = "multilabel-indicator" if several else kind
        return {
            "target_type_": self.model_y_,
            "n_classes_": len(self.classes_),
            "n_outputs_": len(self.classes_),
        }

    def _default_loss(self):
        logits = self.params.get("logits", False)
        if self.n_units_ == 1 or self.is_multilabel:
            return keras.losses.BinaryCrossentropy(from_logits=logits)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)

    def _encoded(self, numbers):
        if self.n_units_ == 1 or self.is_multilabel:
            return numbers.reshape(len(numbers), -1).astype(float)
        loss = self.params["loss"]
        if loss is None or "sparse" in str(getattr(loss, "name", loss)):
            return numbers.astype(np.int32)
        return np.eye(self.n_units_)[numbers]

    def predict_proba(self, X):
        outputs, logits = self.outputs(X), self.params.get("logits", False)
        if self.is_multilabel or outputs.shape[1] == 1:
            p = 1 / (1 + np.exp(-outputs)) if logits else outputs
            return p if self.is_multilabel else np.hstack([1 - p, p])
        p = np.exp(outputs - outputs.max(axis=1, keepdims=True)) if logits else outputs
        return p / p.sum(axis=1, keepdims=True)

    def decision_function(self, X):
        outputs = self.outputs(X)
        if not self.params.get("logits", False):
            single = self.is_multilabel or outputs.shape[1] == 1
            outputs = np.log(outputs) - (np.log(1 - outputs) if single else 0)
        if len(self.classes_) == 2 and not self.is_multilabel:
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
        return outputs

    def predict(self, X):
        probabilities = self.predict_proba(X)
        if self.is_multilabel:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]


class PlainRegressor(RegressorMixin, Plain):
    """The reference that KerasRegressor has to equal."""

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        self.is_column_ = y.ndim == 1
        return y

    def _about(self, numbers) -> dict[str, Any]:
        self.n_outputs_ = n_outputs = 1 if numbers.ndim == 1 else numbers.shape[1]
        kind = "continuous" if n_outputs == 1 else "continuous-multioutput"
        return {"target_type_": kind, "n_classes_": None, "n_outputs_": n_outputs}

    def _default_loss(self):
        if self.n_units_ < self.n_outputs_:
            return ["mean_squared_error"] * self.n_outputs_
        return "mean_squared_error"

    def _encoded(self, numbers):
        columns = numbers.reshape(len(numbers), -1).astype(float)
        if self.n_units_ < columns.shape[1]:  # an output for each
            return tuple(columns[:, [k]] for k in range(columns.shape[1]))
        return columns

    def predict(self, X):
        numbers = self.outputs(X)
        if "predict__output" in self.params:
            return numbers[:, self.params["predict__output"]]
        return numbers[:, 0] if self.is_column_ else numbers


def inputs(X) -> Any:
    """Return X as a network is called with it."""
    if hasattr(X, "arrays"):
        return {name: inputs(array) for name, array in X.arrays.items()}
    array = X.toarray() if scipy.sparse.issparse(X) else np.asarray(X)
    if array.dtype.kind == "O":
        return array.astype(str).astype(bytes)  # as TensorFlow holds words
    return array.astype(np.float32) if array.dtype == bool else array


def target_rows(target) -> Any:
    """Return what is learned by the first output: as many rows as by the others."""
    return target[0] if isinstance(target, tuple) else target


def part(arrays, rows) -> Any:
    """Return some rows of an array, or of each of several."""

    def some(array):
        return tf.constant(array[rows]) if array.dtype.kind == "S" else array[rows]

    return keras.tree.map_structure(some, arrays)


def optimizer_of(optimizer, settings: dict[str, Any]):
    """Return a new optimizer from a name, a class or an instance, and settings."""
    if isinstance(optimizer, type):
        return optimizer(**settings)
    if isinstance(optimizer, str):
        optimizer = keras.optimizers.get(optimizer)
    return type(optimizer).from_config(optimizer.get_config() | settings)


def metrics_of(metrics) -> list | None:
    """Return new metrics from a list or a name; a class is called."""
    several = [metrics] if isinstance(metrics, str) else metrics or []
    return [_metric_of(metric) for metric in several] or None


def _metric_of(metric):
    if isinstance(metric, type):
        return metric()
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric


def callbacks_of(callbacks, settings: dict[str, Any]) -> list:
    """Return new callbacks from a class with settings, one callback, or a list."""
    if isinstance(callbacks, type):
        return [callbacks(**settings)]
    callbacks = list(callbacks.values()) if isinstance(callbacks, dict) else callbacks
    several = callbacks if isinstance(callbacks, list) else [callbacks]
    return copy.deepcopy([callback for callback in several if callback is not None])
