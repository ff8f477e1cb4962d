"""A residual network for tables."""

from typing import Any

from keras import Model, layers

from stackfuse._models.ends import check_settings, table_input, with_prediction


def resnet(
    meta: Any,
    *,
    width: int = 128,
    depth: int = 2,
    hidden_factor: float = 2.0,
    dropout: float = 0.15,
    residual_dropout: float = 0.0,
) -> Model:
    """Return a residual network for a table of numbers.

    Parameters
    ----------
    meta : dict
        What :class:`KerasClassifier` and :class:`KerasRegressor` tell a builder of X and y.
    width : int, default=128
        Units that each block adds to.
    depth : int, default=2
        Number of blocks.
    hidden_factor : float, default=2.0
        How many times as wide a block's hidden layer is.
    dropout, residual_dropout : float, default=0.15 and 0.0
        Share of activations that training leaves out, in a block's hidden layer and at its end.

    Returns
    -------
    model : keras.Model
        Not compiled.

    References
    ----------
    Gorishniy, Y., Rubachev, I., Khrulkov, V. and Babenko, A. "Revisiting deep learning models for
    tabular data." NeurIPS (2021): their ResNet.
    """
    check_settings(
        meta,
        "resnet",
        width=width,
        depth=depth,
        hidden_factor=hidden_factor,
        dropout=dropout,
        residual_dropout=residual_dropout,
    )
    inputs = table_input(meta, "resnet")
    x = layers.Dense(width)(inputs)
    for _ in range(depth):
        z = layers.BatchNormalization(momentum=0.9)(x)
        z = layers.Dense(round(width * hidden_factor), activation="relu")(z)
        z = layers.Dropout(dropout)(z)
        z = layers.Dense(width)(z)
        x = layers.Add()([x, layers.Dropout(residual_dropout)(z)])
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    return Model(inputs, with_prediction(meta, x, "resnet"))
