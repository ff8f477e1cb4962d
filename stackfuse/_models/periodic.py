"""A multilayer perceptron behind periodic embeddings of numbers."""

import math

from keras import Model, initializers, layers, ops

from stackfuse._models.ends import check_settings, table_input, with_hidden_layers, with_prediction


def mlp_plr(
    meta,
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
        What :class:`KerasClassifier` and :class:`KerasRegressor` tell a builder of X and y.
    width, depth, dropout
        See :func:`mlp`.
    n_frequencies : int, default=16
        Frequencies of each column.
    frequency_scale : float, default=0.05
        Standard deviation of the first frequencies, in periods per unit of X.
    embedding : int, default=8
        Numbers that each column becomes.

    Returns
    -------
    model : keras.Model
        Not compiled.

    References
    ----------
    Gorishniy, Y., Rubachev, I. and Babenko, A. "On embeddings for numerical features in tabular
    deep learning." NeurIPS (2022): their PLR, with the linear layer shared ("lite").
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
