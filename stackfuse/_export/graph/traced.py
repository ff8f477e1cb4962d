"""Operations of TensorFlow that Keras lacks, as layers, and what stands for them elsewhere.

A SavedModel holds the operations that a call of the model traces; no layer is needed to load it. So
its graphs may hold the layers of this file, and those of other formats hold stock layers. A gather
of Keras allows for negative indices, which takes half as long as the gather. Its search takes one
feature at a time, and it has no sum over rows of a table without a copy of these rows.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from stackfuse._export.graph.arithmetic import table
from stackfuse._export.graph.build import current_build

#: The bytes up to which an array is a constant of the graph. Reading a weight takes some
#: microseconds of each call; all constants of a SavedModel must fit into 2 GB.
_MOST_CONSTANT = 2**22


class _Traced(keras.layers.Layer):
    """The base of these layers: one frozen array, whose dtype is that of the result."""

    def __init__(self, values: np.ndarray):
        super().__init__(trainable=False, dtype=values.dtype.name, autocast=False)
        self.values = values
        if values.nbytes > _MOST_CONSTANT:
            self.values = self.add_weight(shape=values.shape, initializer="zeros", trainable=False)
            self.values.assign(values)
        self.built = True

    def get_config(self):
        """Return the configuration that a check of the graph's layers reads: the name alone."""
        return {"name": self.name}


class Rows(_Traced):
    """The rows of a table, by their numbers."""

    def call(self, numbers):
        """Return rows, shape (..., n_columns)."""
        return tf.gather(ops.convert_to_tensor(self.values), numbers)


class Taken(keras.layers.Layer):
    """The numbers of a vector, or the rows of a table, by their places."""

    def call(self, x, places):
        """Return numbers, in the shape of the places."""
        return tf.gather(x, places)

    def get_config(self):
        """Return the configuration that a check of the graph's layers reads: the name alone."""
        return {"name": self.name}


class Bits(keras.layers.Layer):
    """The bits of floating-point numbers, as whole numbers.

    TensorFlow finds the place of a whole number among others in a quarter of the time: its search
    has no branch then that a processor could take for the wrong one.
    """

    def call(self, x):
        """Return whole numbers, in the shape of x."""
        return tf.bitcast(x, self.compute_dtype)

    def get_config(self):
        """Return the configuration that a check of the graph's layers reads: the name alone."""
        return {"name": self.name}


class CountsBelow(_Traced):
    """How many borders are below whole numbers.

    Parameters
    ----------
    borders : list of ndarray
        The borders of each feature, whole numbers in order.
    """

    def __init__(self, borders: Sequence[np.ndarray]):
        # Among 2 ** k - 1 borders each search takes k steps.
        width = 2 ** max(map(len, borders)).bit_length() - 1
        kind = borders[0].dtype
        padded = np.full((len(borders), width), np.iinfo(kind).max, kind)
        for row, own in zip(padded, borders):
            row[: len(own)] = own
        super().__init__(padded)

    def call(self, x):
        """Return the counts, int32 of shape (n_features, batch), for x of this shape."""
        borders = ops.convert_to_tensor(self.values)
        return tf.raw_ops.LowerBound(sorted_inputs=borders, values=x)


class BitsOfRows(_Traced):
    """The bits that are set in any of some rows of a table.

    Rows that are asked for together share no bit, so their sum has these bits.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The dtype is uint8, uint16 or uint32.
    """

    #: TensorFlow adds up rows of whole vectors of the processor faster.
    _ALIGNED = 32

    @staticmethod
    def n_more(n: int) -> int:
        """Return how many rows of zeros to add to n rows, to get the bits sooner.

        TensorFlow adds up eight rows at a time, but first the two to nine that are too many. It
        uses the processor's vectors for these only if they are seven or more. One to three rows of
        zeros cost less than that.
        """
        return 7 - n % 8 if n % 8 in (4, 5, 6) else 0

    def __init__(self, values: np.ndarray):
        self.n_columns, self.kind = values.shape[1], values.dtype.name
        n_bytes = values.dtype.itemsize
        unused = -self.n_columns * n_bytes % self._ALIGNED // n_bytes
        padded = np.pad(values, ((0, 0), (0, unused)))
        super().__init__(padded.view(np.int32))

    def call(self, numbers):
        """Return the bits for the rows' numbers, shape (batch, n): int32 (batch, n_columns)."""
        place = tf.raw_ops.TruncateDiv(x=tf.range(tf.size(numbers)), y=numbers.shape[1])
        bits = tf.raw_ops.SparseSegmentSum(
            data=ops.convert_to_tensor(self.values),
            indices=tf.reshape(numbers, [-1]),
            segment_ids=place,
        )
        if self.kind != "uint32":
            n_columns = self.values.shape[1] * 4 // np.dtype(self.kind).itemsize
            bits = tf.reshape(tf.bitcast(bits, self.kind), [-1, n_columns])
        if bits.shape[1] != self.n_columns:
            bits = bits[:, : self.n_columns]
        return tf.cast(bits, "int32")


#: The layers that graphs of traced formats may hold.
TRACED = (Rows, Taken, Bits, CountsBelow, BitsOfRows)


def rows_of(values: np.ndarray, dtype: str):
    """Return a layer that holds the rows of a table: numbers that are not negative in, rows out.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
    dtype : str
    """
    if not current_build().traced:
        return table(values, dtype)
    return Rows(np.asarray(values, dtype))


def take(x, places):
    """Return the numbers of a vector, or the rows of a table, at places that are not negative."""
    return (
        Taken(dtype=x.dtype, autocast=False)(x, places)
        if current_build().traced
        else ops.take(x, places, axis=0)
    )
