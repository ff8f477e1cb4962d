"""The iterative imputer: each column predicted from the others, for a fixed number of rounds."""

import numpy as np
from sklearn.impute._iterative import IterativeImputer  # experimental: not in the public module

from stackfuse._core.errors import NotConvertible
from stackfuse._export.converters.preprocessing.imputing import (
    is_missing,
    with_indicator,
)
from stackfuse._export.graph.arithmetic import constant
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
)
from stackfuse._export.graph.frame import (
    columns_of,
    take_columns,
)


@convert_transformer(IterativeImputer)
def _iterative(estimator, x):
    """Return the rows as the imputer's last round leaves them.

    Where all rows that it is given are missing as a whole, scikit-learn does not start its rounds;
    of such a row among others it does, and so does the graph.
    """
    from keras import ops

    if estimator.sample_posterior:
        raise NotConvertible(
            "IterativeImputer(sample_posterior=True) draws random numbers for each row: give "
            "sample_posterior=False."
        )
    columns = columns_of(convert(estimator.initial_imputer_, x, "transform"))
    kept = np.arange(x.shape[1])
    if not estimator.keep_empty_features:
        kept = np.flatnonzero(~estimator._is_empty_feature)
    missing = is_missing(take_columns(x, kept.tolist()), estimator.missing_values)
    steps = estimator.imputation_sequence_ if estimator.n_iter_ else ()
    for step in steps:
        k = int(step.feat_idx)
        if estimator._is_empty_feature[kept[k]]:  # kept as it was filled at first
            continue
        others = ops.concatenate([columns[int(j)] for j in step.neighbor_feat_idx], axis=1)
        y = ops.reshape(convert(step.estimator, others, "predict"), (-1, 1))
        low, high = estimator._min_value[k], estimator._max_value[k]
        y = ops.maximum(y, constant(low, x)) if np.isfinite(low) else y
        y = ops.minimum(y, constant(high, x)) if np.isfinite(high) else y
        columns[k] = ops.where(missing[:, k : k + 1], y, columns[k])
    return with_indicator(estimator, x, ops.concatenate(columns, axis=1))
