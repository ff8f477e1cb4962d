"""A multilayer perceptron behind periodic embeddings of numbers."""

import math
from typing import Any

from keras import Model, initializers, layers, ops

from stackfuse._models.ends import check_settings, table_input, with_hidden_layers, with_prediction


def mlp_plr(
    meta: Any,
    *,
    width: int = 256,
    depth: int = 2,
    dropout: float = 0.1,
    n_frequencies: int = 16,
    frequency_scale: float = 0.05,
    embedding: int = 8,
) -> Model:
    """Return a perceptron that sees each number through sines and cosines of learned frequencies.

    Column j becomes ``relu(W [sin(2 pi c_j x_j), cos(2 pi c_j x_j)] + b)``, with frequencies
    ``c_j`` of its own, and W and b shared by all columns. X should be scaled.

    Parameters
    ----------
    meta : dict
        Facts about X and y, from :class:`KerasClassifier` or :class:`KerasRegressor`.
    width : int, default=256
        The units of each hidden layer.
    depth : int, default=2
        The number of hidden layers.
    dropout : float, default=0.1
        The part of each hidden layer's activations that training leaves out.
    n_frequencies : int, default=16
        The number of frequencies of each column.
    frequency_scale : float, default=0.05
        The standard deviation of the initial frequencies, in periods per unit of X.
    embedding : int, default=8
        The number of numbers that each column becomes.

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
    Gorishniy, Y., Rubachev, I. and Babenko, A. "On embeddings for numerical features in tabular
    deep learning." NeurIPS (2022): their PLR, with the linear layer shared ("lite").

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> network = sf.KerasClassifier(sf.models.mlp_plr, width=4, epochs=0)
    >>> X, y = np.zeros((6, 5)), np.array([0, 1, 2] * 2)
    >>> network.initialize(X, y).model_.output_shape
    (None, 3)
    """
    check_settings(
        meta,
        "mlp_plr",
        width=width,
        depth=depth,
        dropout=dropout,
        n_frequencies=n_frequencies,
        frequency_scale=frequency_scale,
        embedding=embedding,
    )
    inputs = table_input(meta, "mlp_plr")
    n_features = inputs.shape[1]
    angles = layers.EinsumDense(
        "bf,fk->bfk",
        output_shape=(n_features, n_frequencies),
        kernel_initializer=initializers.RandomNormal(stddev=2 * math.pi * frequency_scale),
        name="frequencies",
    )(inputs)
    x = layers.Concatenate()([ops.sin(angles), ops.cos(angles)])
    x = layers.Flatten()(layers.Dense(embedding, activation="relu", name="embedding")(x))
    x = with_hidden_layers(x, width, depth, dropout)
    return Model(inputs, with_prediction(meta, x, "mlp_plr"))
