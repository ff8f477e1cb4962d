"""A small recurrent network."""

from typing import Any

from keras import Model, layers

from stackfuse._core import fitting
from stackfuse._models.ends import check_settings, rows_input, with_prediction


def rnn(meta: Any, *, width: int = 64, depth: int = 1, dropout: float = 0.1) -> Model:
    """Return a small recurrent network for sequences of one length.

    Parameters
    ----------
    meta : dict
        Facts about X and y, from :class:`KerasClassifier` or :class:`KerasRegressor`. X has the
        shape (n_samples, n_steps) or (n_samples, n_steps, n_features).
    width : int, default=64
        The units of each layer.
    depth : int, default=1
        The number of layers, at least 1.
    dropout : float, default=0.1
        The part of the last state that training leaves out.

    Returns
    -------
    model : keras.Model
        The network, not compiled.

    Raises
    ------
    TypeError
        If `meta` does not come from an estimator.
    ValueError
        If a setting is wrong, or X is no array of sequences.

    References
    ----------
    Cho, K. et al. "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation." EMNLP (2014): the gated recurrent unit.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> network = sf.KerasClassifier(sf.models.rnn, width=4, epochs=0)
    >>> X, y = np.zeros((6, 5)), np.array([0, 1, 2] * 2)
    >>> network.initialize(X, y).model_.output_shape
    (None, 3)
    """
    check_settings(meta, "rnn", width=width, depth=depth, dropout=dropout)
    fitting.check_count("depth", depth)
    kind = "sequences, X of shape (n_samples, n_steps) or (n_samples, n_steps, n_features)"
    x = inputs = rows_input(meta, "rnn", (2, 3), kind)
    if len(inputs.shape) == 2:
        x = layers.Reshape((*inputs.shape[1:], 1))(x)
    for k in range(depth):
        x = layers.GRU(width, return_sequences=k < depth - 1)(x)
    x = layers.Dropout(dropout)(x)
    return Model(inputs, with_prediction(meta, x, "rnn"))
