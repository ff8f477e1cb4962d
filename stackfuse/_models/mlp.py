"""A multilayer perceptron."""

from typing import Any

from keras import Model

from stackfuse._models.ends import check_settings, table_input, with_hidden_layers, with_prediction


def mlp(meta: Any, *, width: int = 256, depth: int = 2, dropout: float = 0.1) -> Model:
    """Return a multilayer perceptron for a table of numbers.

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
    tabular data." NeurIPS (2021): their MLP.

    Examples
    --------
    >>> import stackfuse as sf
    >>> network = sf.models.classifier(sf.models.mlp, width=64, random_state=0)
    >>> network.get_params()["width"]
    64
    """
    check_settings(meta, "mlp", width=width, depth=depth, dropout=dropout)
    inputs = table_input(meta, "mlp")
    x = with_hidden_layers(inputs, width, depth, dropout)
    return Model(inputs, with_prediction(meta, x, "mlp"))
