"""One network that is an ensemble of perceptrons, which share their matrices."""

from functools import partial
from typing import Any

from keras import Model, layers, ops

from stackfuse._models.ends import check_settings, n_outputs, table_input


def tabm(
    meta: Any, *, n_members: int = 16, width: int = 256, depth: int = 2, dropout: float = 0.1
) -> Model:
    """Return perceptrons that share their matrices and differ by scales of their own.

    Each one learns the target by itself; their mean is the prediction. Make an estimator of it with
    :func:`classifier` or :func:`regressor`, which set the loss of the members and average them.

    Parameters
    ----------
    meta : dict
        Facts about X and y, from :class:`KerasClassifier` or :class:`KerasRegressor`.
    n_members : int, default=16
        The number of perceptrons.
    width : int, default=256
        The units of each hidden layer.
    depth : int, default=2
        The number of hidden layers.
    dropout : float, default=0.1
        The part of each hidden layer's activations that training leaves out.

    Returns
    -------
    model : keras.Model
        The network, not compiled. Its outputs have the shape (n_samples, n_members * n_outputs):
        logits or numbers, member after member.

    Raises
    ------
    TypeError
        If `meta` does not come from an estimator.
    ValueError
        If a setting is wrong, or X is no table of numbers, or y holds several labels.

    References
    ----------
    Gorishniy, Y., Kotelnikov, A. and Babenko, A. "TabM: advancing tabular deep learning with
    parameter-efficient ensembling." ICLR (2025).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> network = sf.models.classifier(sf.models.tabm, n_members=4, width=4)
    >>> X, y = np.zeros((6, 5)), np.array([0, 1, 2] * 2)
    >>> network.initialize(X, y).model_.output_shape
    (None, 12)
    """
    check_settings(meta, "tabm", width=width, depth=depth, dropout=dropout, n_members=n_members)
    if meta["target_type_"] == "multilabel-indicator":
        raise ValueError(
            "sf.models.tabm learns one class per row, but y holds several labels: use "
            "sf.models.mlp."
        )
    n_units = n_outputs(meta, "tabm")
    inputs = table_input(meta, "tabm")
    x = layers.RepeatVector(n_members)(inputs)
    for k in range(depth):
        x = _scaled(x, random=k == 0, name=f"input_scales_{k}")
        x = layers.Dense(width, use_bias=False, name=f"shared_{k}")(x)
        x = _scaled(x, bias=True, name=f"output_scales_{k}")
        x = layers.Dropout(dropout)(layers.Activation("relu")(x))
    heads = layers.EinsumDense("bkd,kdo->bko", (n_members, n_units), bias_axes="ko", name="members")
    return Model(inputs, layers.Flatten()(heads(x)))


def _scaled(x, *, name: str, random: bool = False, bias: bool = False) -> Any:
    """Return activations, scaled by numbers of each member: ones or random signs at first."""
    scale = layers.EinsumDense(
        "bkd,kd->bkd",
        tuple(x.shape[1:]),
        bias_axes="kd" if bias else None,
        kernel_initializer="random_normal" if random else "ones",
        name=name,
    )
    scaled = scale(x)
    if random:
        scale.kernel.assign(ops.where(scale.kernel < 0, -1.0, 1.0))
    return scaled


def mean_cross_entropy(y, outputs):
    """Return the mean of the members' cross-entropies.

    Parameters
    ----------
    y : tensor of shape (n_samples, n_classes)
        One-hot.
    outputs : tensor of shape (n_samples, n_members * n_classes)
        Logits.

    Returns
    -------
    losses : tensor of shape (n_samples,)
    """
    logits = ops.reshape(outputs, (-1, outputs.shape[-1] // y.shape[-1], y.shape[-1]))
    y = ops.cast(ops.expand_dims(y, 1), logits.dtype)
    return -ops.mean(ops.sum(y * ops.log_softmax(logits, axis=-1), axis=-1), axis=1)


def mean_squared_errors(y, outputs):
    """Return the mean of the members' squared errors, for each row.

    Parameters
    ----------
    y : tensor of shape (n_samples, n_outputs)
    outputs : tensor of shape (n_samples, n_members * n_outputs)

    Returns
    -------
    losses : tensor of shape (n_samples,)
    """
    members = ops.reshape(outputs, (-1, outputs.shape[-1] // y.shape[-1], y.shape[-1]))
    y = ops.cast(ops.expand_dims(y, 1), members.dtype)
    return ops.mean(ops.square(members - y), axis=(1, 2))


def mean_member(outputs, n_members: int):
    """Return the mean of the members' numbers."""
    return ops.mean(ops.reshape(outputs, (-1, n_members, outputs.shape[-1] // n_members)), axis=1)


def mean_probability(outputs, n_members: int):
    """Return the mean of the members' probabilities, from their logits."""
    logits = ops.reshape(outputs, (-1, n_members, outputs.shape[-1] // n_members))
    return ops.mean(ops.softmax(logits, axis=-1), axis=1)


def settings_of_members(n_members: int, classifier: bool) -> dict[str, Any]:
    """Return the parameters of an estimator by which members are trained and averaged."""
    if classifier:
        part, loss = mean_probability, mean_cross_entropy
    else:
        part, loss = mean_member, mean_squared_errors
    return {"loss": loss, "predict__output": partial(part, n_members=n_members)}
