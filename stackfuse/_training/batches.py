"""The rows of a training set in the order of training, as a dataset that Keras iterates."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import Rows


class EpochOrders:
    """The order of the rows in each epoch.

    Epoch e has ``numpy.random.default_rng([seed, e]).permutation(n_rows)``; without a seed the rows
    stay as they are.
    """

    def __init__(self, n_rows: int, seed: int | None, first_epoch: int):
        self.n_rows = n_rows
        self.seed = seed
        self._epochs = count(first_epoch)

    def _order(self, epoch: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(self.n_rows)
        return np.random.default_rng([self.seed, epoch]).permutation(self.n_rows)

    def endless(self) -> Iterator[np.ndarray]:
        """Yield the orders of all epochs to come."""
        for epoch in self._epochs:
            yield self._order(epoch)

    def next(self) -> Iterator[np.ndarray]:
        """Yield the order of the next epoch alone."""
        yield self._order(next(self._epochs))


def n_batches(n_rows: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, the last partial one included."""
    return math.ceil(n_rows / batch_size)


def rows_of(arrays: Any, rows):
    """Return some rows of an array, or of each in a tuple or dict of arrays."""
    return keras.tree.map_structure(lambda array: array[rows], arrays)


def batches(
    x: Rows,
    y: Any,
    sample_weight: np.ndarray | None,
    batch_size: int,
    epochs: EpochOrders,
    *,
    endless: bool,
):
    """Return a dataset of batches of the rows, each iterator over one epoch or over all to come.

    No batch reaches across two epochs. The arrays are copied into TensorFlow once; what is sparse
    or mapped from a file is read batch by batch.
    """
    orders = epochs.endless if endless else epochs.next
    rest = (y,) if sample_weight is None else (y, sample_weight)

    def gathered() -> Iterator[tuple]:
        for order in orders():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                yield (x[rows], *rows_of(rest, rows))

    def split(order: Any):
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    if x.is_lazy:
        like = (x[slice(0, 1)], *rows_of(rest, slice(0, 1)))
        spec = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), like
        )
        dataset = tf.data.Dataset.from_generator(gathered, output_signature=spec)
    else:
        tensors = keras.tree.map_structure(tf.convert_to_tensor, (x[slice(None)], *rest))
        spec = tf.TensorSpec((len(x),), tf.int64)
        dataset = (
            tf.data.Dataset.from_generator(orders, output_signature=spec)
            .flat_map(split)
            .map(lambda rows: keras.tree.map_structure(lambda t: tf.gather(t, rows), tensors))
        )
    if not endless:
        cardinality = n_batches(len(x), batch_size)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    options = tf.data.Options()
    # Rewriting so short a pipeline would cost more than it saves.
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.prefetch(4).with_options(options)
