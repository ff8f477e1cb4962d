"""One classifier for each class, pair of classes or bit of a code; one estimator per target."""

import numpy as np
from keras import ops
from sklearn.base import is_classifier, is_regressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.pairwise import nearest_center
from stackfuse._export.graph.arithmetic import (
    constant,
    first_largest,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)


@converter_for(OneVsRestClassifier, frames=True)
def _one_vs_rest(estimator, x, method):
    bases = estimator.estimators_
    if method == "decision_function":
        if len(bases) == 1:
            return convert(bases[0], x, method)
        return ops.stack([as_vector(convert(base, x, method)) for base in bases], axis=1)
    if method == "label":
        scores = ops.stack([_binary_score(base, x) for base in bases], axis=1)
        if estimator.label_binarizer_.y_type_ == "multiclass":
            return first_largest(scores)
        above = ops.cast(ops.greater(scores, constant(_threshold_of(bases[0]), scores)), "int64")
        return above if estimator.multilabel_ else above[:, 0]
    if method != "predict_proba":
        raise unsupported(estimator, method)
    proba = ops.stack([convert(base, x, method)[:, 1] for base in bases], axis=1)
    if len(bases) == 1:
        proba = two_columns(proba)
    if estimator.multilabel_:
        return proba
    total = ops.sum(proba, axis=1, keepdims=True)
    nothing = ops.equal(total, constant(0.0, proba))
    return proba / ops.where(nothing, constant(1.0, proba), total)


@converter_for(OneVsOneClassifier)
def _one_vs_one(estimator, x, method):
    if estimator.pairwise_indices_ is not None:
        raise NotConvertible(
            "OneVsOneClassifier over a precomputed kernel cannot be converted to a Keras graph. "
            "Use a kernel by its name, such as 'rbf'."
        )
    if method not in ("decision_function", "label"):
        raise unsupported(estimator, method)
    n_classes = len(estimator.classes_)
    votes = [0] * n_classes
    sums = [0] * n_classes
    pairs = [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)]
    for (i, j), base in zip(pairs, estimator.estimators_):
        confidence = _binary_score(base, x)
        predicted = convert(base, x, "predict")
        sums[i] = -confidence if isinstance(sums[i], int) else sums[i] - confidence
        sums[j] = confidence if isinstance(sums[j], int) else sums[j] + confidence
        for place, value in ((i, 0.0), (j, 1.0)):
            vote = ops.cast(ops.equal(predicted, constant(value, predicted)), predicted.dtype)
            votes[place] = vote + votes[place]
    vote, total = ops.stack(votes, axis=1), ops.stack(sums, axis=1)
    size = ops.abs(total) + constant(1.0, total)
    decision = vote + total / (size * constant(3.0, total))
    if n_classes == 2:
        decision = decision[:, 1]
        if method == "decision_function":
            return decision
        cut = constant(_threshold_of(estimator.estimators_[0]), decision)
        return ops.cast(ops.greater(decision, cut), "int64")
    return decision if method == "decision_function" else first_largest(decision)


@converter_for(OutputCodeClassifier, frames=True)
def _output_code(estimator, x, method):
    """Return the class whose code is nearest, the first of equally near ones."""
    if method != "label":
        raise unsupported(estimator, method)
    scores = ops.stack([_binary_score(base, x) for base in estimator.estimators_], axis=1)
    return nearest_center(scores, estimator.code_book_, whole_squares=True)


@converter_for(MultiOutputRegressor, frames=True)
def _outputs_of_regressors(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    return ops.stack(
        [as_vector(convert(base, x, method)) for base in estimator.estimators_], axis=1
    )


@converter_for(MultiOutputClassifier, frames=True)
def _outputs_of_classifiers(estimator, x, method):
    if method == "predict_proba":
        return [convert(base, x, method) for base in estimator.estimators_]
    if method != "label":
        raise unsupported(estimator, method)
    return ops.stack([convert(base, x, method) for base in estimator.estimators_], axis=1)


@converter_for(ClassifierChain, RegressorChain)
def _chain(estimator, x, method):
    passed_on = getattr(estimator, "chain_method_", "predict")
    if method == "label":
        _check_order_of_classes(estimator)
    outputs = []
    for base in estimator.estimators_:
        outputs.append(_one_output(base, x, method))
        x = ops.concatenate([x, ops.reshape(_one_output(base, x, passed_on), (-1, 1))], axis=1)
    return ops.stack([outputs[k] for k in np.argsort(estimator.order_)], axis=1)


def _check_order_of_classes(chain) -> None:
    """Raise if the places of classes in ``classes_`` are ambiguous.

    scikit-learn lists them in the order of the chain, and predicts in the order of the targets.
    """
    first = chain.classes_[0]
    alike = all(np.array_equal(first, classes) for classes in chain.classes_)
    if not alike and list(chain.order_) != list(range(len(chain.order_))):
        raise NotConvertible(
            "The targets of ClassifierChain have different classes, and order= has changed their "
            "places in classes_. Use order=None, or give all targets the same classes."
        )


def _one_output(base, x, method: str):
    """Return the output of a chain's estimator as one number per row."""
    y = convert(base, x, method)
    if method == "predict_proba":
        if len(base.classes_) != 2:
            raise NotConvertible(
                "A chain passes on the probability of the second class of two, but "
                f"{type(base).__name__} has {len(base.classes_)}. Use chain_method='predict'."
            )
        return y[:, 1]
    return as_vector(y)


def _binary_score(base, x):
    """Return the score that scikit-learn compares: the decision, else the second probability."""
    if is_regressor(base):
        return as_vector(convert(base, x, "predict"))
    if hasattr(base, "decision_function"):
        return as_vector(convert(base, x, "decision_function"))
    return convert(base, x, "predict_proba")[:, 1]


def _threshold_of(base) -> float:
    """Return the score above which a row is in the second class."""
    return 0.0 if hasattr(base, "decision_function") and is_classifier(base) else 0.5


def as_vector(y):
    return ops.reshape(y, (-1,))
