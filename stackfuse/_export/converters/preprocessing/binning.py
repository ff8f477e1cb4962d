"""Numbers cut into bins, and what lies above a threshold."""

import numpy as np
from sklearn.preprocessing import Binarizer, KBinsDiscretizer

from stackfuse._export.converters.shared.intervals import passed
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(Binarizer)
def _binarizer(estimator, x):
    from keras import ops

    # What is above the threshold has reached the next number.
    above = np.nextafter(float(estimator.threshold), np.inf)
    return ops.cast(passed(x, [np.array([above])] * x.shape[1]), x.dtype)


@convert_transformer(KBinsDiscretizer)
def _k_bins(estimator, x):
    from keras import ops

    if estimator.dtype is not None and np.dtype(estimator.dtype) == np.float32:
        x = ops.cast(ops.cast(x, "float32"), x.dtype)
    bins = passed(x, [edges[1:-1] for edges in estimator.bin_edges_])
    if estimator.encode == "ordinal":
        return ops.cast(bins, x.dtype)
    n_bins = [int(n) for n in estimator.n_bins_]
    feature = np.repeat(np.arange(len(n_bins)), n_bins).tolist()
    number = np.concatenate([np.arange(n, dtype=np.int32) for n in n_bins])
    hits = ops.equal(ops.take(bins, feature, axis=1), number)
    return ops.cast(hits, x.dtype)
