"""What a network estimator does once it is trained: check rows, predict, travel to other places."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from stackfuse._core import (
    MultiInput,
    multi_input,
    targets,
)
from stackfuse._keras import (
    Rows,
    penultimate,
)
from stackfuse._training import prediction


class TrainedNetwork(BaseEstimator):
    """The side of a network estimator that is used after fit.

    Attributes
    ----------
    model_ : keras.Model
        The trained network.
    outputs_ : Outputs or SeveralOutputs
        What the network's outputs mean.
    X_shape_ : tuple of int
        Shape of one row of X.
    """

    _takes_sparse = True

    model_: Any
    outputs_: Any

    def _check_rows(self, X, *, reset: bool):
        """Return X as numeric arrays whose rows have the shape that was seen in fit."""
        if isinstance(X, MultiInput):
            columns = X.columns
            if reset:
                self.n_features_in_, self._input_columns = len(X.arrays), columns
            for name in set(columns) & set(self._input_columns):
                if columns[name] != self._input_columns[name]:
                    raise ValueError(
                        f"X[{name!r}] has the columns {columns[name]}, but was fitted with "
                        f"{self._input_columns[name]}, in this order."
                    )
            X = multi_input.check_multi_input(X, self)
        else:
            sparse = "csr" if self._takes_sparse else False
            settings = {"reset": reset, "dtype": "numeric", "allow_nd": True}
            try:
                X = validate_data(self, X, **settings, accept_sparse=sparse)
            except ValueError as error:
                raise multi_input.where_missing(error, X, self) from None
            multi_input.check_numeric(X, self)
        if reset:
            self.X_shape_ = multi_input.row_shapes(X)
        elif multi_input.row_shapes(X) != self.X_shape_:
            raise ValueError(
                f"X has rows of shape {multi_input.row_shapes(X)}, but {type(self).__name__} was "
                f"fitted on rows of shape {self.X_shape_}."
            )
        return X

    def _predict_numbers(self, X, finish: str = "predict"):
        """Return what the network's outputs mean for X: probabilities per class, or numbers."""
        check_is_fitted(self, "model_")
        return self._computed(X, getattr(self.outputs_, finish), f"{finish} {self.outputs_}")

    def features(self, X) -> np.ndarray:
        """Return what the last layer of the network is given: its penultimate activations.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)

        Returns
        -------
        features : ndarray of shape (n_samples, n_features), float64
            The inputs of the last layer that has weights, flattened.

        Raises
        ------
        ValueError
            If the network is subclassed, or has one layer only.
        """
        check_is_fitted(self, "model_")
        return self._computed(X, penultimate.in_float64, "features", of=penultimate.penultimate)

    def _computed(self, X, finish: Callable, name: str, **part: Callable) -> Any:
        """Return what the network, or a part of it, computes for X, finished."""
        rows = Rows(self._check_rows(X, reset=False), self.model_)
        numbers = prediction.predict(
            self.model_, rows, finish, name, **part, **self._predict_params()
        )
        for table in numbers if isinstance(numbers, list) else [numbers]:
            targets.check_finite_predictions(table, self)
        return numbers

    def _fit_depends_on(self) -> dict[str, Any]:
        """Return the parameters, and of a fitted network what it predicts by."""
        state = self.get_params(deep=False)
        if hasattr(self, "model_"):
            learnt = {name: vars(self).get(name) for name in ("classes_", "outputs_")}
            state |= {**learnt, "model_": self.model_.get_weights()}
        return state

    def __getstate__(self):
        optimizer = getattr(getattr(self, "model_", None), "optimizer", None)
        if optimizer is not None and not optimizer.built:
            # Keras warns when it loads an optimizer that had no variables yet.
            optimizer.build(self.model_.trainable_variables)
        state = dict(super().__getstate__())
        if hasattr(self, "model_"):
            # Keras saves weights only: without these, dropout would go on from anywhere.
            state["_counters"] = [v.numpy() for v in _counters(self.model_)]
        return state

    def __setstate__(self, state):
        counters = state.pop("_counters", [])
        super().__setstate__(state)
        for variable, value in zip(_counters(self.model_) if counters else [], counters):
            variable.assign(value)

    def _predict_params(self) -> dict[str, Any]:
        """Return the ``batch_size`` to predict with, if it is not the default."""
        return {}


def _counters(model) -> list:
    """Return the variables of a model that are no weights: the states of its random layers."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
