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
        Facts about X and y, from :class:`KerasClassifier` or :class:`KerasRegressor`.
    width : int, default=128
        The units that each block adds to.
    depth : int, default=2
        The number of blocks.
    hidden_factor : float, default=2.0
        The width of a block's hidden layer, as a multiple of `width`.
    dropout : float, default=0.15
        The part of the activations that training leaves out in a block's hidden layer.
    residual_dropout : float, default=0.0
        The part of the activations that training leaves out at the end of a block.

    Returns
    -------
    model : keras.Model
        The network, not compiled.

    Raises
    ------
    TypeError
        If `meta` does not come from an estimator.
    ValueError
        If a setting is wrong, or X is no table of numbers.

    References
    ----------
    Gorishniy, Y., Rubachev, I., Khrulkov, V. and Babenko, A. "Revisiting deep learning models for
    tabular data." NeurIPS (2021): their ResNet.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> network = sf.KerasClassifier(sf.models.resnet, width=4, epochs=0)
    >>> X, y = np.zeros((6, 5)), np.array([0, 1, 2] * 2)
    >>> network.initialize(X, y).model_.output_shape
    (None, 3)
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
