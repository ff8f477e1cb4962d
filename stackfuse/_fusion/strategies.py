"""Fusion strategies: functions from a list of tensors to one tensor, made of stock Keras layers.

Each takes a list with one tensor per model, and options by name. All tensors must have one dtype,
in which the strategy computes. It combines along the last axis; the axes before it are rows. No
strategy broadcasts: tensors are stacked, which fails for different shapes, also when the graph
runs.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from keras import layers, ops

from stackfuse._core import messages

#: (list of tensors of shape (batch, ..., width_k)) -> tensor of shape (batch, ..., width_out)
Fusion = Callable[[list], object]


def concat(tensors: list):
    """Put the columns of all tensors side by side: ``np.concatenate(tensors, axis=-1)``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width_k)

    Returns
    -------
    tensor of shape (batch, ..., sum of the widths)
    """
    return layers.Concatenate(dtype=tensors[0].dtype)(tensors) if len(tensors) > 1 else tensors[0]


def dense(tensors: list, *, hidden_units: Sequence[int] = (), activation: str = "relu"):
    """Concatenate, then pass dense layers.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, width_k)
        One per model.
    hidden_units : sequence of int, default=()
        Widths of the hidden layers; without any, the output layer sees the tensors themselves.
    activation : str, default="relu"
        The activation of the hidden layers.

    Returns
    -------
    tensor of shape (batch, width)
        The last hidden layer, or the concatenation, in the dtype of the tensors.
    """
    return _hidden_layers(concat(tensors), hidden_units, activation)


def add(tensors: list):
    """Return the sum: ``np.sum(tensors, axis=0)``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)

    Returns
    -------
    tensor of shape (batch, ..., width)
    """
    return ops.sum(_stacked(tensors), axis=-2)


def average(tensors: list):
    """Return the arithmetic mean: ``np.mean(tensors, axis=0)``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)

    Returns
    -------
    tensor of shape (batch, ..., width)
    """
    return ops.mean(_stacked(tensors), axis=-2)


def maximum(tensors: list):
    """Return the largest: ``np.max(tensors, axis=0)``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)

    Returns
    -------
    tensor of shape (batch, ..., width)
    """
    return ops.max(_stacked(tensors), axis=-2)


def multiply(tensors: list, *, normalize: bool = False):
    """Return the product, a product of experts [1]_ if it is normalised.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
        With `normalize` probabilities over the last axis, in float32 or float64.
    normalize : bool, default=False
        Whether to scale the product so that its last axis sums to one again.

    Returns
    -------
    tensor of shape (batch, ..., width)
        ``y = np.prod(tensors, axis=0)``, normalised ``y / y.sum(axis=-1, keepdims=True)``. The
        normalised product is computed from logarithms, since a product of many small numbers
        would be 0; zeros count as the smallest normal number of the dtype.

    References
    ----------
    .. [1] Hinton, "Training products of experts by minimizing contrastive divergence", 2002.
    """
    if normalize:
        return ops.softmax(ops.sum(_log_of_positive(_stacked(tensors)), axis=-2), axis=-1)
    return ops.prod(_stacked(tensors), axis=-2)


def weighted(tensors: list, *, weights: Sequence[float] | str = "learned"):
    """Return a convex combination: ``sum(w * t for w, t in zip(weights, tensors))``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
    weights : sequence of float of shape (n_models,) or "learned", default="learned"
        Given weights are not negative, sum to one, and stay as they are. Learned ones are
        ``softmax(s)`` of a trainable vector s that begins with zeros, as the plain average.

    Returns
    -------
    tensor of shape (batch, ..., width)

    Raises
    ------
    ValueError
        If the weights are not convex, or not one per tensor.
    """
    return _weighted_sum(tensors, _constant_weights(tensors, weights))


def geometric(
    tensors: list, *, weights: Sequence[float] | str | None = None, normalize: bool = True
):
    """Return the weighted geometric mean, of probabilities the log-linear pool [1]_.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
        Positive numbers or probabilities in float32 or float64; zeros count as the smallest
        normal number of the dtype.
    weights : sequence of float of shape (n_models,), "learned" or None, default=None
        See :func:`weighted`; None stands for equal weights.
    normalize : bool, default=True
        Whether to scale the mean so that its last axis sums to one again.

    Returns
    -------
    tensor of shape (batch, ..., width)
        ``y = np.exp(sum(w * np.log(t) for w, t in zip(weights, tensors)))``, normalised
        ``y / y.sum(axis=-1, keepdims=True)``.

    References
    ----------
    .. [1] Genest and Zidek, "Combining probability distributions: a critique and an annotated
       bibliography", 1986.
    """
    if weights is None:
        pooled = ops.mean(_log_of_positive(_stacked(tensors)), axis=-2)
    else:
        logs = [_log_of_positive(tensor) for tensor in tensors]
        pooled = _weighted_sum(logs, _constant_weights(tensors, weights))
    return ops.softmax(pooled, axis=-1) if normalize else ops.exp(pooled)


def attention(tensors: list, *, context=None):
    """Weigh the models row by row, by a linear score of their outputs or of a context.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
    context : tensor of shape (batch, n_columns) or (batch, ..., n_columns), default=None
        Computes the scores, in the tensors' dtype; by default the tensors themselves,
        concatenated.

    Returns
    -------
    tensor of shape (batch, ..., width)
        ``w = softmax(context @ kernel + bias)`` of shape (batch, ..., n_models), and then
        ``sum(w[..., k:k + 1] * t for k, t in enumerate(tensors))``. The kernel and the bias
        are trainable and begin with zeros, as the plain average.
    """
    return _weighted_sum(tensors, _weights_by_row(tensors, context, (), "linear"))


def gated(
    tensors: list, *, context=None, hidden_units: Sequence[int] = (16,), activation: str = "tanh"
):
    """Mix the models by a gate, a network with hidden layers [1]_: a non-linear :func:`attention`.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
    context : tensor of shape (batch, n_columns) or (batch, ..., n_columns), default=None
        See :func:`attention`.
    hidden_units : sequence of int, default=(16,)
        Widths of the gate's hidden layers.
    activation : str, default="tanh"
        The activation of the hidden layers.

    Returns
    -------
    tensor of shape (batch, ..., width)
        See :func:`attention`; the last hidden layer takes the place of the context.

    References
    ----------
    .. [1] Jacobs, Jordan, Nowlan and Hinton, "Adaptive mixtures of local experts", 1991.
    """
    return _weighted_sum(tensors, _weights_by_row(tensors, context, hidden_units, activation))


def bilinear(tensors: list):
    """Return the products of every column with every column of another tensor [1]_.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width_k)
        At least two.

    Returns
    -------
    tensor of shape (batch, ..., sum over pairs of width_i * width_j)
        ``np.einsum("...i,...j->...ij", a, b)`` with the last two axes made one, for every pair
        of tensors in the order of ``itertools.combinations``, concatenated.

    References
    ----------
    .. [1] Lin, RoyChowdhury and Maji, "Bilinear CNN models for fine-grained visual recognition",
       2015.
    """
    products = [
        # Repeat each column of one tensor as often as the other has columns. No axis is added, so
        # that any number of axes before the last is kept.
        ops.repeat(one, other.shape[-1], axis=-1)
        * layers.Concatenate(dtype=one.dtype)([other] * one.shape[-1])
        for one, other in combinations(tensors, 2)
    ]
    return concat(products)


def median(tensors: list):
    """Return the median: ``np.median(tensors, axis=0)``.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)

    Returns
    -------
    tensor of shape (batch, ..., width)
    """
    numbers = list(tensors)
    # A sorting network: not every runtime loads the graph of a sort.
    for round_ in range(len(numbers)):
        for k in range(round_ % 2, len(numbers) - 1, 2):
            low, high = numbers[k], numbers[k + 1]
            numbers[k], numbers[k + 1] = ops.minimum(low, high), ops.maximum(low, high)
    middle = len(numbers) // 2
    if len(numbers) % 2:
        return numbers[middle]
    return average(numbers[middle - 1 : middle + 1])


def vote(tensors: list, *, labels: bool = False):
    """Return the share of the models that vote for each class.

    Parameters
    ----------
    tensors : list of tensors of shape (batch, ..., width)
        Probabilities over the last axis.
    labels : bool, default=False
        Whether each column is a label of its own, voted for above 1/2. By default every model votes
        for its most probable class, the first of equals.

    Returns
    -------
    tensor of shape (batch, ..., width)
    """
    return average([_ballot(tensor, labels) for tensor in tensors])


def _ballot(tensor, labels: bool):
    """Return 1 for the class that a model votes for, 0 for the others."""
    if labels:
        return ops.cast(ops.greater(tensor, np.full(1, 0.5, tensor.dtype)), tensor.dtype)
    width = tensor.shape[-1]
    numbers = np.arange(width, dtype=tensor.dtype)
    largest = ops.equal(tensor, ops.max(tensor, axis=-1, keepdims=True))
    places = ops.where(largest, numbers, np.full(width, width, tensor.dtype))
    first = ops.min(places, axis=-1, keepdims=True)
    return ops.cast(ops.equal(places, first), tensor.dtype)


FUSIONS: dict[str, Callable] = {
    "dense": dense,
    "concat": concat,
    "add": add,
    "average": average,
    "maximum": maximum,
    "multiply": multiply,
    "weighted": weighted,
    "geometric": geometric,
    "attention": attention,
    "gated": gated,
    "bilinear": bilinear,
}

#: Strategies for trained models alone: nothing can be learnt through votes, and little by a median.
FIXED: dict[str, Callable] = {"median": median, "vote": vote}


def fusion_named(name: str, parameter: str = "fusion") -> Callable:
    """Return the strategy of a name.

    Raises
    ------
    ValueError
        If no strategy has the name; the message lists all names.

    Examples
    --------
    >>> fusion_named("averange")
    Traceback (most recent call last):
        ...
    ValueError: fusion must be 'dense', 'concat', 'add', ...'bilinear', got 'averange'.
    """
    if name not in FUSIONS:
        raise ValueError(f"{parameter} must be {messages.listed(list(FUSIONS))}, got {name!r}.")
    return FUSIONS[name]


def check_convex(weights: Sequence[float], n_models: int) -> np.ndarray:
    """Return given weights as an array, or raise if they are no convex combination of the models.

    Raises
    ------
    ValueError
        If the weights are not one number per model, are negative, or do not sum to one.

    Examples
    --------
    >>> check_convex([0.5, 0.6], 2)
    Traceback (most recent call last):
        ...
    ValueError: weights must be at least 0 and sum to 1, got [0.5, 0.6], which sum to 1.1.
    """
    numbers = isinstance(weights, Sequence | np.ndarray) and all(
        isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        for weight in np.asarray(weights, object).ravel()
    )
    array = np.asarray(weights, np.float64) if numbers else np.empty(0)
    if array.shape != (n_models,):
        raise ValueError(
            f"weights must be {n_models} numbers, one per model, or 'learned', got {weights!r}."
        )
    if not (array >= 0).all() or abs(array.sum() - 1) > 1e-6:
        raise ValueError(
            f"weights must be at least 0 and sum to 1, got {array.tolist()}, "
            f"which sum to {array.sum():.6g}."
        )
    return array


def _stacked(tensors: list):
    """Return the tensors as one of shape (batch, ..., n_models, width)."""
    return ops.stack(tensors, axis=-2)


def _weighted_sum(tensors: list, weights):
    """Return the sum of the tensors by weights of shape (batch, ..., n_models)."""
    missing = len(tensors[0].shape) - len(weights.shape)
    for _ in range(missing):  # one weight for all places of a row
        weights = ops.expand_dims(weights, axis=1)
    return ops.sum(ops.expand_dims(weights, axis=-1) * _stacked(tensors), axis=-2)


def _constant_weights(tensors: list, weights: Sequence[float] | str):
    """Return weights of shape (batch, ..., n_models), the same for all rows.

    A dense layer on ones returns its kernel. So a stock layer holds the weights, in its dtype, and
    can learn them.
    """
    first, n_models = tensors[0], len(tensors)
    ones = ops.ones_like(first[..., :1])
    settings = {"use_bias": False, "kernel_initializer": "zeros", "dtype": first.dtype}
    if isinstance(weights, str):
        if weights != "learned":
            raise ValueError(f"weights must be 'learned' or numbers, got {weights!r}.")
        return layers.Dense(n_models, "softmax", **settings)(ones)
    kernel = check_convex(weights, n_models)
    layer = layers.Dense(n_models, **settings, trainable=False)
    layer.build((None, 1))
    layer.set_weights([kernel[None, :]])
    return layer(ones)


def _weights_by_row(tensors: list, context, hidden_units: Sequence[int], activation: str):
    """Return weights of shape (batch, ..., n_models) that a small network computes per row."""
    features = _hidden_layers(
        concat(tensors) if context is None else context, hidden_units, activation
    )
    dtype = tensors[0].dtype
    return layers.Dense(len(tensors), "softmax", kernel_initializer="zeros", dtype=dtype)(features)


def _hidden_layers(tensor, units: Sequence[int], activation: str):
    for width in units:
        tensor = layers.Dense(width, activation=activation, dtype=tensor.dtype)(tensor)
    return tensor


def _log_of_positive(tensor):
    """Return the logarithm; zeros count as the smallest normal number."""
    tiny = np.full(1, np.finfo(tensor.dtype).tiny, tensor.dtype)
    return ops.log(ops.maximum(tensor, tiny))
