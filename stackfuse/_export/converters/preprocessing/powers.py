"""Power transforms: Box-Cox and Yeo-Johnson."""

import numpy as np
from sklearn.preprocessing import PowerTransformer

from stackfuse._export.converters.shared.functions import (
    expm1,
    log1p,
)
from stackfuse._export.graph.arithmetic import (
    constant,
    held,
)
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
)
from stackfuse._export.graph.masks import refuse_rows


@convert_transformer(PowerTransformer)
def _power(estimator, x):
    from keras import ops

    powers = np.asarray(estimator.lambdas_, np.float64)
    zero = constant(0, x)
    if estimator.method == "box-cox":
        refuse_rows(ops.less_equal(x, zero))
        y = _box_cox(ops.log(x), powers, smallest=1e-19)
    else:
        eps = np.finfo(np.float64).eps
        is_above = ops.greater_equal(x, zero)
        above = _box_cox(log1p(ops.where(is_above, x, zero)), powers, eps)
        below = _box_cox(log1p(ops.where(is_above, zero, -x)), 2 - powers, eps)  # of NaN, too
        y = ops.where(is_above, above, -below)
    return convert(estimator._scaler, y, "transform") if estimator.standardize else y


def _box_cox(logs, powers: np.ndarray, smallest: float):
    """Return ``(exp(logs) ** powers - 1) / powers``, the logarithm itself for powers of zero."""
    from keras import ops

    is_zero = np.abs(powers) < smallest
    divisor = np.where(is_zero, 1.0, powers)
    y = expm1(logs * constant(divisor, logs)) / held(logs, divisor)[0]
    return ops.where(is_zero, logs, y) if is_zero.any() else y
