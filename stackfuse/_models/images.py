"""A small convolutional network."""

from typing import Any

from keras import Model, layers

from stackfuse._models.ends import check_settings, rows_input, with_prediction


def cnn(meta: Any, *, width: int = 32, depth: int = 2, dropout: float = 0.25) -> Model:
    """Return a small convolutional network for images, plain or in colour.

    Parameters
    ----------
    meta : dict
        Facts about X and y, from :class:`KerasClassifier` or :class:`KerasRegressor`. X has the
        shape (n_samples, height, width) or (n_samples, height, width, n_channels).
    width : int, default=32
        The filters of the first block; each further block has twice as many.
    depth : int, default=2
        The number of blocks of two 3 x 3 convolutions; each halves height and width.
    dropout : float, default=0.25
        The part of the activations that training leaves out at the end of each block.

    Returns
    -------
    model : keras.Model
        The network, not compiled.

    Raises
    ------
    TypeError
        If `meta` does not come from an estimator.
    ValueError
        If a setting is wrong, or X is no array of images.

    References
    ----------
    Simonyan, K. and Zisserman, A. "Very deep convolutional networks for large-scale image
    recognition." ICLR (2015): the blocks, here with batch normalisation and a global mean.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> network = sf.KerasClassifier(sf.models.cnn, width=4, epochs=0)
    >>> X, y = np.zeros((6, 8, 8)), np.array([0, 1, 2] * 2)
    >>> network.initialize(X, y).model_.output_shape
    (None, 3)
    """
    check_settings(meta, "cnn", width=width, depth=depth, dropout=dropout)
    kind = "images, X of shape (n_samples, height, width) or one axis more for channels"
    x = inputs = rows_input(meta, "cnn", (3, 4), kind)
    most = max(1, max(inputs.shape[1:3]).bit_length())
    if depth > most:
        raise ValueError(
            f"depth must be an integer of at most {most}, got {depth}: each step halves images of "
            f"{inputs.shape[1]} by {inputs.shape[2]} pixels."
        )
    if len(inputs.shape) == 3:
        x = layers.Reshape((*inputs.shape[1:], 1))(x)
    for k in range(depth):
        for _ in range(2):
            x = layers.Conv2D(width * 2**k, 3, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(padding="same")(x)
        x = layers.Dropout(dropout)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, with_prediction(meta, x, "cnn"))
