"""Where networks begin and end: the input of a table, and the last layer for a target."""

from collections.abc import Mapping
from typing import Any

from keras import Input, layers

from stackfuse._core import fitting

#: The values that settings of the builders may have.
_SETTINGS = {
    **dict.fromkeys(
        ("width", "n_members", "n_frequencies", "embedding"),
        fitting.Wanted(lambda given: fitting.is_whole(given, 1), "an integer of at least 1"),
    ),
    "depth": fitting.Wanted(lambda given: fitting.is_whole(given, 0), "an integer of at least 0"),
    **dict.fromkeys(("dropout", "residual_dropout"), fitting.FRACTION),
    **dict.fromkeys(
        ("hidden_factor", "frequency_scale"),
        fitting.Wanted(fitting.is_positive, "a number above 0"),
    ),
}


def check_settings(meta: Any, builder: str, **settings: Any) -> None:
    """Raise unless a builder was given what an estimator gives it, and settings that it can use.

    Raises
    ------
    TypeError, ValueError
        With what to type instead.
    """
    if not isinstance(meta, Mapping) or "X_shape_" not in meta:
        raise TypeError(
            f"sf.models.{builder} is called by an estimator, which passes it facts about X and y. "
            f"Write sf.KerasClassifier(sf.models.{builder}) or "
            f"sf.models.classifier(sf.models.{builder})."
        )
    fitting.check_settings(settings, {name: _SETTINGS[name] for name in settings})


def table_input(meta: Mapping[str, Any], builder: str) -> Any:
    """Return the input of a network that reads rows of numbers.

    Raises
    ------
    ValueError
        If the rows of X are something else.
    """
    shape = meta["X_shape_"]
    if isinstance(shape, Mapping) or len(shape) != 2:
        found = f"the inputs {list(shape)}" if isinstance(shape, Mapping) else f"shape {shape}"
        raise ValueError(
            f"sf.models.{builder} reads a table, X of shape (n_samples, n_features), but X has "
            f"{found}. Put sf.Flatten() or sf.Pick(name) in front, or build your own network."
        )
    return Input((shape[1],), name="table")


def rows_input(meta: Mapping[str, Any], builder: str, n_axes: tuple[int, ...], kind: str) -> Any:
    """Return the input of a network whose rows have several axes.

    Parameters
    ----------
    meta : mapping
    builder : str
        Named in the message.
    n_axes : tuple of int
        How many axes X may have.
    kind : str
        Describes X in the message.

    Raises
    ------
    ValueError
        If X has another number of axes.
    """
    shape = meta["X_shape_"]
    if isinstance(shape, Mapping) or len(shape) not in n_axes:
        found = f"the inputs {list(shape)}" if isinstance(shape, Mapping) else f"shape {shape}"
        raise ValueError(f"sf.models.{builder} reads {kind}, but X has {found}.")
    return Input(tuple(shape[1:]), name="rows")


def n_outputs(meta: Mapping[str, Any], builder: str) -> int:
    """Return the width of the last layer: one unit a class, a label or a column of y.

    Raises
    ------
    ValueError
        If y has several columns of classes, each of which needs an output of its own.
    """
    if isinstance(meta["n_classes_"], list) or meta["target_type_"].startswith("multiclass-"):
        raise ValueError(
            f"sf.models.{builder} has one output, but y has several columns of classes. Fit one "
            "estimator for each: sklearn.multioutput.MultiOutputClassifier."
        )
    if meta["n_classes_"] is None or meta["target_type_"] == "multilabel-indicator":
        return meta["n_outputs_"]
    return meta["n_classes_"]


def with_hidden_layers(x: Any, width: int, depth: int, dropout: float) -> Any:
    """Return the last of some hidden layers, each with dropout behind it."""
    for _ in range(depth):
        x = layers.Dropout(dropout)(layers.Dense(width, activation="relu")(x))
    return x


def with_prediction(meta: Mapping[str, Any], x: Any, builder: str) -> Any:
    """Return the last layer for a target: softmax for classes, sigmoid for labels, else linear."""
    if meta["n_classes_"] is None:
        activation = None
    else:
        labels = meta["target_type_"] == "multilabel-indicator"
        activation = "sigmoid" if labels else "softmax"
    return layers.Dense(n_outputs(meta, builder), activation=activation, name="prediction")(x)
