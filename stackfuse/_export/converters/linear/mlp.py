"""scikit-learn's own networks, as Dense layers."""

from keras import ops
from sklearn.neural_network import MLPClassifier, MLPRegressor

from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    first_largest,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)


@once
def _forward(estimator, x):
    """Return the last layer, shape (batch, n_outputs)."""
    last = len(estimator.coefs_) - 1
    for k, (coef, intercept) in enumerate(zip(estimator.coefs_, estimator.intercepts_)):
        name = estimator.out_activation_ if k == last else estimator.activation
        x = _activated(affine(x, coef.T, intercept), name)
    return x


def _activated(x, name: str):
    if name == "identity":
        return x
    functions = {
        "relu": ops.relu,
        "logistic": sigmoid,
        "tanh": ops.tanh,
        "softmax": ops.softmax,
        "exp": ops.exp,
    }
    return functions[name](x)


@converter_for(MLPRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = _forward(estimator, x)
    return as_vector(y) if y.shape[1] == 1 else y


@converter_for(MLPClassifier)
def _classifier(estimator, x, method):
    proba = _forward(estimator, x)
    if method == "predict_proba":
        return two_columns(proba) if estimator.n_outputs_ == 1 else proba
    if method != "label":
        raise unsupported(estimator, method)
    if estimator.out_activation_ == "softmax":
        return first_largest(proba)
    above = ops.cast(ops.greater(proba, constant(0.5, proba)), "int64")
    return as_vector(above) if estimator.n_outputs_ == 1 else above
