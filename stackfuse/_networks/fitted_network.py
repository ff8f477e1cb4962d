"""The result of a fit: the trained network, the meaning of its outputs, the form of X's rows."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from stackfuse._core import MultiInput, messages, multi_input, strings
from stackfuse._keras import Rows, loading, own_code
from stackfuse._networks.target import Target


class FittedNetwork:
    """Everything that a fit sets. An estimator without one is not fitted.

    Public attributes have the names that they have on the estimator. An attribute that is not
    set yet is missing.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Missing if X has no column names.
    X_shape_ : tuple of int, or dict of these
        Shape of one row of X; by name for several inputs.
    classes_ : ndarray or list of ndarray
        Missing for numbers.
    model_ : keras.Model
    outputs_ : Outputs or SeveralOutputs
    history_ : dict of str to list of float
    input_columns : dict of str to list
        The column names of the inputs that are frames, if X has several inputs.
    string_inputs : frozenset of str
        The names of the inputs that take strings; "X" where X is one array.
    y_is_column : bool
    target : Target
        That of the first fit, without rows.
    run_seed : int
    built_from : dict of str to object
        The parameters that the network was built from.
    meta : dict of str to object
        Facts about X and y for the builder.
    optimizer_state : list
        Where the optimizer goes on.
    seen_rows : list of bytes
        Digests of some training rows.
    unread : UnreadModel
        In place of `model_` until somebody asks for that.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    X_shape_: Any
    classes_: Any
    model_: Any
    outputs_: Any
    history_: dict[str, list[float]]
    input_columns: dict[str, list]
    string_inputs: frozenset[str]
    y_is_column: bool
    target: Target
    run_seed: int
    built_from: dict[str, Any]
    meta: dict[str, Any]
    optimizer_state: list
    seen_rows: list[bytes]
    unread: loading.UnreadModel

    def check_rows(self, X, owner, *, reset: bool, sparse: bool, takes_strings: bool = False):
        """Return X as arrays whose rows have the form that was seen in fit.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        owner : estimator
            That X was passed to; scikit-learn sets its ``n_features_in_``.
        reset : bool
            Whether X sets the form.
        sparse : bool
            Whether X may be sparse.
        takes_strings : bool, default=False
            Whether X may hold strings when it sets the form. Whether the network takes them shows
            when it is built; see :meth:`check_strings`.
        """

        def check() -> Any:
            if not reset and self._is_as_seen(X):
                return X
            return self._check(X, owner, reset, sparse, takes_strings)

        if reset or isinstance(X, MultiInput):
            return check()
        names = getattr(self, "feature_names_in_", None)
        form = (self.X_shape_, None if names is None else tuple(names), sparse, self.string_inputs)
        return multi_input.checked(X, form, check)

    def _is_as_seen(self, X) -> bool:
        """Whether X is a plain array that the check would return as it is.

        To find that out by scikit-learn's check takes as long as a small network.
        """
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.shape[1:] == self.X_shape_
            and len(X) > 0
            and not hasattr(self, "feature_names_in_")
            and not self.string_inputs
            and bool(np.isfinite(X).all())
        )

    def _check(self, X, owner, reset: bool, sparse: bool, takes_strings: bool) -> Any:
        if isinstance(X, MultiInput):
            if not reset and not isinstance(self.X_shape_, dict):
                raise ValueError(
                    f"X has the inputs {messages.listed(list(X.arrays), 'and')}, but "
                    f"{type(owner).__name__} was fitted on one array: pass that one alone, "
                    f"X[{next(iter(X.arrays))!r}]."
                )
            X = self._check_inputs(X, owner, reset=reset, takes_strings=takes_strings)
        elif self._reads_strings("X", X, reset=reset, takes_strings=takes_strings):
            if reset:
                self.n_features_in_ = 1  # of texts in one axis scikit-learn does not tell
            if np.ndim(X) > 1:
                validate_data(owner, X, reset=reset, skip_check_array=True)
            X = strings.as_objects(X) if reset else strings.check_strings(X, owner)
        else:
            if not reset:
                self._check_axes(X, owner)
            X = self._check_numbers(X, owner, reset=reset, sparse=sparse)
        if reset:
            self.X_shape_ = multi_input.row_shapes(X)
        else:
            self._check_same_rows(multi_input.row_shapes(X), owner)
        return X

    def _check_axes(self, X, owner) -> None:
        """Check the rows of an array with further axes: scikit-learn would call these features."""
        if isinstance(self.X_shape_, dict) or len(self.X_shape_) < 2:
            return
        shape = np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
        if len(shape) > 1:
            self._check_same_rows(tuple(shape[1:]), owner)

    def _check_same_rows(self, shape: Any, owner) -> None:
        if shape != self.X_shape_:
            raise ValueError(
                f"X has rows of shape {shape}, but {type(owner).__name__} was fitted on rows of "
                f"shape {self.X_shape_}."
            )

    def check_strings(self, X, given, owner, *, sparse: bool):
        """Return the X that has set the form as the network takes it, now that this is built.

        Strings that the network does not take are read as numbers, if that is what they are.

        Parameters
        ----------
        X : array or MultiInput
            As :meth:`check_rows` has returned it.
        given : array-like or MultiInput
            As the user has passed it.
        owner : estimator
        sparse : bool
            Whether X may be sparse.
        """
        arrays = X.arrays if isinstance(X, MultiInput) else {"X": X}
        found = {name for name, array in arrays.items() if array.dtype.kind == "O"}
        declared = Rows(X, self.model_).inputs
        if declared:
            of_strings = {name for name, tensor in declared.items() if tensor.dtype == "string"}
            if not isinstance(X, MultiInput):
                of_strings = {"X"} if of_strings else set()
        else:
            of_strings = found
        self.string_inputs = frozenset(of_strings)
        if not found | of_strings:
            return X
        if isinstance(X, MultiInput):
            return self._check_inputs(given, owner, reset=False, takes_strings=False)
        if of_strings:
            return strings.check_strings(given, owner)
        try:
            return self._check_numbers(given, owner, reset=False, sparse=sparse)
        except ValueError as error:
            raise ValueError(
                f"The network takes numbers, but X holds strings: {error} Encode text and category "
                "columns first, for example with a ColumnTransformer, or let the network take "
                "strings, keras.Input(..., dtype='string')."
            ) from None

    def _reads_strings(self, name: str, X, *, reset: bool, takes_strings: bool) -> bool:
        """Whether an input is to be read as strings."""
        if reset:
            return takes_strings and strings.holds_strings(X)
        return name in vars(self).get("string_inputs", ())

    def _check_numbers(self, X, owner, *, reset: bool, sparse: bool):
        if isinstance(X, multi_input.StoredRows):
            validate_data(owner, X, reset=reset, skip_check_array=True)
            return multi_input.check_stored(X, owner)
        settings = {"reset": reset, "dtype": "numeric", "allow_nd": True}
        try:
            X = validate_data(owner, X, **settings, accept_sparse="csr" if sparse else False)
        except ValueError as error:
            raise multi_input.say_where_missing(error, X, owner) from None
        except TypeError as error:
            multi_input.refuse_dates(X, error)
            raise
        return multi_input.check_numeric(X, owner)

    def _check_inputs(
        self, X: MultiInput, owner, *, reset: bool, takes_strings: bool
    ) -> MultiInput:
        columns = X.columns
        if reset:
            self.n_features_in_, self.input_columns = len(X.arrays), columns
        for name in set(columns) & set(self.input_columns):
            if columns[name] != self.input_columns[name]:
                raise ValueError(
                    f"X[{name!r}] has the columns {columns[name]}, but was fitted with "
                    f"{self.input_columns[name]}, in this order."
                )
        checked = {}
        for name, array in X.arrays.items():
            if self._reads_strings(name, array, reset=reset, takes_strings=takes_strings):
                shown = f"X[{name!r}]"
                checked[name] = (
                    strings.as_objects(array)
                    if reset
                    else strings.check_strings(array, owner, shown)
                )
            else:
                checked[name] = multi_input.check_numbers(array, owner, name)
        return MultiInput(**checked)

    @property
    def n_epochs(self) -> int:
        """The number of epochs that the network has been trained for."""
        return len(next(iter(self.history_.values()), []))

    def depends_on(self) -> dict[str, Any]:
        """Return all that the predictions depend on, in parts that can be digested."""
        learnt = {name: vars(self).get(name) for name in ("classes_", "outputs_")}
        return {**learnt, "model_": self.model_.get_weights()}

    @property
    def target_dtype(self) -> str:
        """The dtype of the outputs, but at least float32: a half would round the target."""
        outputs = getattr(self.model_, "outputs", None)
        dtypes = {tensor.dtype for tensor in outputs} if outputs else {self.model_.variable_dtype}
        return "float64" if "float64" in dtypes else "float32"

    def __copy__(self):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def has(self, name: str) -> bool:
        """Whether an attribute is set; a model may be unread."""
        return name in vars(self) or (name == "model_" and "unread" in vars(self))

    @property
    def is_unread(self) -> bool:
        """Whether the model is still in bytes, where nobody can have changed it."""
        return "model_" not in vars(self) and "unread" in vars(self) and not self.unread.is_read

    def take_answers(self) -> Any:
        """Return the place of the answers of a model that is unread; of one just fitted, once."""
        if self.is_unread:
            return self.unread.answers
        model = vars(self).get("model_")
        return None if model is None else loading.FIRST_ANSWERS.pop(model, None)

    def __getattr__(self, name: str) -> Any:
        unread = vars(self).get("unread") if name == "model_" else None
        if unread is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.model_ = unread.model()
        vars(self).pop("unread", None)
        return self.model_

    def __getstate__(self):
        state = dict(vars(self))
        if self.is_unread:
            unread = state.pop("unread")
            return state | {"counters": unread.values, "model_": unread}
        if not self.has("model_"):
            return state
        state["model_"] = model = self.model_
        state.pop("unread", None)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            # Keras warns when it loads an optimizer without variables.
            optimizer.build(model.trainable_variables)
        # Keras saves weights only: without these, dropout would go on from anywhere.
        counters = [variable.numpy() for variable in loading.counters(model)]
        model = state.pop("rebuilt", None) or loading.PortableModel(model)
        return state | {"counters": counters, "model_": model}

    def __setstate__(self, state):
        counters, model = state.pop("counters", []), state.get("model_")
        vars(self).update(state)
        if isinstance(model, loading.UnreadModel):
            del vars(self)["model_"]
            self.unread = model.with_counters(counters)
        elif counters:
            loading.set_counters(model, counters)


class Rebuilt:
    """Stands in a pickle for a network that Keras cannot write: its builder makes it again.

    Parameters
    ----------
    estimator : NetworkEstimator
        Not fitted, with the parameters that the network was built from.
    fitted : FittedNetwork
        The result of its fit.
    """

    def __init__(self, estimator, fitted: FittedNetwork):
        self.estimator, self.fitted = estimator, fitted

    def __reduce__(self):
        fitted, model = self.fitted, self.fitted.model_
        weights = [variable.numpy() for variable in model.variables]
        values = (weights, own_code.optimizer_values(model))
        what = (fitted.X_shape_, fitted.target, fitted.meta, fitted.run_seed)
        return _rebuild, (self.estimator, *what, values)


def _rebuild(estimator, shape, target: Target, meta, seed: int, values: tuple):
    """Return the network that an estimator's builder makes, with these values."""
    weights, optimizer_values = values
    shapes = shape if isinstance(shape, dict) else {"X": shape}
    dtype = meta["X_dtype_"] or float
    rows = {name: np.zeros((1, *one), dtype) for name, one in shapes.items()}
    X = MultiInput(**rows) if isinstance(shape, dict) else rows["X"]
    model, _ = estimator._builder().network(X, None, target, meta, seed)
    parts = [(model.variables, weights)]
    if optimizer_values is not None:
        model.optimizer.build(model.trainable_variables)
        parts.append((model.optimizer.variables, optimizer_values))
    for variables, own in parts:
        if [tuple(variable.shape) for variable in variables] != [value.shape for value in own]:
            raise ValueError(
                f"The network of this {type(estimator).__name__} cannot be loaded: its builder "
                "makes another network now. Load it with the builder of the fit."
            )
        for variable, value in zip(variables, own):
            variable.assign(value)
    return model


def fitted_of(estimator) -> FittedNetwork | None:
    """Return the result of an estimator's fit; in the thread that fits it anew, the new one."""
    own = vars(estimator)
    thread, being_fitted = own.get("_fitting", (None, None))
    return being_fitted if thread == threading.get_ident() else own.get("_fitted")


@contextmanager
def fitted_anew(estimator) -> Iterator[None]:
    """Within, this thread fits an estimator; others are answered by the old fit until the end."""
    own, fitted = vars(estimator), FittedNetwork()
    own["_fitting"] = (threading.get_ident(), fitted)
    try:
        yield
        own["_fitted"] = fitted
    finally:
        own.pop("_fitting", None)


class FromFit:
    """An attribute of an estimator that lives in its :class:`FittedNetwork`."""

    def __init__(self, name: str | None = None):
        self.name: Any = name

    def __set_name__(self, owner, name: str) -> None:
        self.name = self.name or name

    def __get__(self, estimator, owner=None) -> Any:
        if estimator is None:
            return self
        fitted = fitted_of(estimator)
        if fitted is None or not fitted.has(self.name):
            message = f"{type(estimator).__name__!r} object has no attribute {self.name!r}"
            raise AttributeError(message, name=self.name, obj=estimator)
        return getattr(fitted, self.name)

    def __set__(self, estimator, value) -> None:
        setattr(fitted_of(estimator) or estimator._new_fitted(), self.name, value)

    def __delete__(self, estimator) -> None:
        delattr(fitted_of(estimator), self.name)
