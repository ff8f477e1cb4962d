"""Steps that lead from images, sequences or several inputs to estimators that take a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from stackfuse._core import MultiInput, fitting, messages, multi_input


class Flatten(TransformerMixin, BaseEstimator):
    """Images, sequences or several inputs as one table, for estimators that take a table.

    Use it as the first step of a pipeline. It learns the shape of a row alone.

    Attributes
    ----------
    X_shape_ : tuple of int, or dict of str to tuple of int
        The shape of a row; for a ``MultiInput`` one shape per name.
    n_features_in_ : int
        The number of columns, if X was a table.
    feature_names_in_ : ndarray of str
        The names of the columns of a data frame.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> images, y = np.random.default_rng(0).normal(size=(20, 8, 8, 3)), np.arange(20) % 2
    >>> sf.Flatten().fit_transform(images).shape
    (20, 192)
    >>> base = make_pipeline(sf.Flatten(), PCA(5), LogisticRegression())
    >>> base.fit(images, y).predict_proba(images).shape
    (20, 2)
    """

    def fit(self, X: Any, y: Any = None) -> "Flatten":
        """Learn the shape of a row.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows.
        y : None, default=None
            Ignored.

        Returns
        -------
        self : Flatten
            The fitted transformer.
        """
        X = self._checked(X, reset=True)
        self.X_shape_: Any = multi_input.row_shapes(X)
        return self

    def transform(self, X: Any) -> Any:
        """Return each row as one line of numbers.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows. The inputs of a ``MultiInput`` are put side by side, in their order.

        Returns
        -------
        table : ndarray of shape (n_samples, n_columns)
            The numbers of each row. A sparse matrix stays one.

        Raises
        ------
        ValueError
            If the rows have another shape than those of ``fit``.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        if isinstance(X, MultiInput):
            return np.hstack([_flat(_dense(array)) for array in X.arrays.values()])
        return X if scipy.sparse.issparse(X) else _flat(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of the columns, if X is a table without names.

        Returns
        -------
        names : ndarray of str, shape (n_columns,)
            The names of a data frame's columns, else ``x0``, ``x1`` and so on. A ``MultiInput``
            has the name of the input in place of x.
        """
        check_is_fitted(self)
        if isinstance(self.X_shape_, dict):
            return np.concatenate([_numbered(n, _size(s)) for n, s in self.X_shape_.items()])
        names = getattr(self, "feature_names_in_", input_features)
        own = _numbered("x", _size(self.X_shape_))
        return np.asarray(names, object) if names is not None and len(names) == len(own) else own

    def _checked(self, X, reset: bool) -> Any:
        X = multi_input.rows_given(X)
        if not isinstance(X, MultiInput):
            accepted: dict[str, Any] = {"dtype": None, "accept_sparse": ("csr", "csc")}
            accepted |= {"allow_nd": True, "ensure_all_finite": False}
            if len(X.shape if hasattr(X, "shape") else np.asarray(X).shape) > 2:
                X = check_array(X, **accepted)
            else:  # counts and names columns
                X = validate_data(self, X, reset=reset, **accepted)
        if not reset and multi_input.row_shapes(X) != self.X_shape_:
            raise ValueError(
                f"X has rows of shape {multi_input.row_shapes(X)}, but Flatten was fitted on rows "
                f"of shape {self.X_shape_}. Reshape them, or fit again."
            )
        return X

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class Pick(TransformerMixin, BaseEstimator):
    """One of several inputs, for estimators that take one.

    Use it as the first step of a pipeline over a :class:`MultiInput`. It learns shapes alone.

    Parameters
    ----------
    name : str or list of str
        The name of an input. With a list of names, the result is a ``MultiInput``.

    Attributes
    ----------
    X_shape_ : dict of str to tuple of int
        The shapes of a row by the names of all inputs.
    columns_ : ndarray of str, or None
        The names of the columns, if the input is a table.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> X = sf.MultiInput(image=np.zeros((20, 8, 8)), table=np.arange(60).reshape(20, 3))
    >>> sf.Pick("table").fit_transform(X).shape
    (20, 3)
    >>> base = make_pipeline(sf.Pick("table"), RandomForestClassifier(random_state=0))
    >>> base.fit(X, np.arange(20) // 10).predict(X[:2])
    array([0, 0])
    """

    def __init__(self, name: Any):
        self.name = name

    def fit(self, X: Any, y: Any = None) -> "Pick":
        """Check that the inputs are there, and learn their shapes.

        Parameters
        ----------
        X : MultiInput or dict of str to array-like of shape (n_samples, ...)
            Several inputs over the same rows.
        y : None, default=None
            Ignored.

        Returns
        -------
        self : Pick
            The fitted transformer.

        Raises
        ------
        ValueError
            If X has no such input.
        """
        X = self._checked(X)
        self.X_shape_: Any = multi_input.row_shapes(X)
        self.columns_: np.ndarray | None = _columns_of(self.name, self._picked(X))
        return self

    def transform(self, X: Any) -> Any:
        """Return the input as it was given, or a ``MultiInput`` of several.

        Parameters
        ----------
        X : MultiInput or dict of str to array-like of shape (n_samples, ...)
            Several inputs over the same rows.

        Returns
        -------
        picked : array-like of shape (n_samples, ...), or MultiInput
            The input, or the inputs, that `name` names.

        Raises
        ------
        ValueError
            If X has no such input.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self)
        return self._picked(self._checked(X))

    @fitting.available_if(lambda self: getattr(self, "columns_", ()) is not None)
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, if the input is a table.

        Parameters
        ----------
        input_features : None, default=None
            Ignored.

        Returns
        -------
        names : ndarray of str, shape (n_columns,)
            The names of a data frame's columns, else the name of the input with a number.
        """
        check_is_fitted(self)
        return np.asarray(self.columns_)

    def _checked(self, X) -> MultiInput:
        X = multi_input.rows_given(X)
        if not isinstance(X, MultiInput):
            raise ValueError(
                f"Pick takes one of several inputs, but X is one {type(X).__name__}: pass "
                f"X = sf.MultiInput({self.name if isinstance(self.name, str) else 'name'}=...)."
            )
        names = self._names()
        missing = [name for name in names if name not in X.arrays]
        if missing or not names:
            raise ValueError(
                f"Pick({self.name!r}) names {missing[0]!r}, which is not an input of X. Choose "
                f"{messages.listed(list(X.arrays))}, or a list of these."
                if missing
                else "Pick([]) names no input of X. Write the name of one, or a list of names."
            )
        return X

    def _names(self) -> list:
        several = isinstance(self.name, Sequence) and not isinstance(self.name, str)
        return list(self.name) if several else [self.name]

    def _picked(self, X: MultiInput) -> Any:
        if isinstance(self.name, str):
            return X[self.name]
        return MultiInput(**{name: X[name] for name in self._names()})

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # nor any other array: a MultiInput
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), _size(array.shape[1:]))


def _dense(array) -> np.ndarray:
    return array.toarray() if scipy.sparse.issparse(array) else np.asarray(array)


def _numbered(name: str, n_columns: int) -> np.ndarray:
    return np.array([f"{name}{k}" for k in range(n_columns)], object)


def _columns_of(name: Any, picked: Any) -> np.ndarray | None:
    """Return the names of the columns of a table, and None for anything else."""
    if isinstance(picked, MultiInput) or len(picked.shape) != 2:
        return None
    if hasattr(picked, "columns"):
        return np.asarray(list(picked.columns), object)
    return _numbered(name, picked.shape[1])
