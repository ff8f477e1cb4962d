"""Codes by a dictionary, as far as no optimisation is needed for them."""

from sklearn.decomposition import DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder

from stackfuse._core.errors import NotConvertible
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
)
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder)
def _coded(estimator, x):
    from keras import ops

    if estimator.transform_algorithm != "threshold":
        raise NotConvertible(
            f"{type(estimator).__name__} solves an optimisation for each row, which no graph does "
            "exactly: give transform_algorithm='threshold'."
        )
    alpha = estimator.transform_alpha
    alpha = getattr(estimator, "alpha", None) if alpha is None else alpha
    alpha = 1.0 if alpha is None else alpha
    is_coder = isinstance(estimator, SparseCoder)
    product = affine(x, estimator.dictionary if is_coder else estimator.components_, 0.0)
    zero = constant(0, x)
    above = ops.maximum(product - constant(alpha, x), zero)
    below = ops.maximum(-product - constant(alpha, x), zero)
    if estimator.positive_code:
        below = ops.zeros_like(below)
    return ops.concatenate([above, below], axis=1) if estimator.split_sign else above - below
