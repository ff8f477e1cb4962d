"""Refuse one column where a table is wanted: a ColumnTransformer passes one for a bare name."""

from typing import Any


def refuse_one_column(estimator: Any, X: Any) -> None:
    """Raise an error if X is one column, of one dimension.

    Raises
    ------
    ValueError
        With the list to write in a ColumnTransformer.
    """
    shape = getattr(X, "shape", ())
    if isinstance(X, list | tuple) and X and isinstance(X[0], str):
        shape = (len(X),)
    if len(shape) == 1:
        name = getattr(X, "name", None) or "column"
        raise ValueError(
            f"{type(estimator).__name__} takes a table, got one column of shape {shape}. Name it "
            f"in a list in a ColumnTransformer: [{name!r}]. Reshape your data elsewhere: "
            "X[[column]] of a data frame, X.reshape(-1, 1) of an array."
        )
