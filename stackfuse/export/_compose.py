"""Estimators made of estimators: pipelines and stacks."""

import numpy as np
from sklearn import ensemble
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from stackfuse._checks import NotConvertible
from stackfuse._stacking import StackingClassifier, StackingRegressor
from stackfuse.export._convert import convert, convert_type


@convert_type(Pipeline)
def _pipeline(estimator, x, method):
    *transformers, (_, last) = estimator.steps
    for _, transformer in transformers:
        if transformer not in (None, "passthrough"):
            x = convert(transformer, x, "transform")
    return x if last in (None, "passthrough") else convert(last, x, method)


@convert_type(FrozenEstimator)
def _frozen(estimator, x, method):
    return convert(estimator.estimator, x, method)


@convert_type(GridSearchCV, RandomizedSearchCV)
def _search(estimator, x, method):
    return convert(estimator.best_estimator_, x, method)


@convert_type(
    StackingClassifier,
    StackingRegressor,
    ensemble.StackingClassifier,
    ensemble.StackingRegressor,
)
def _stack(estimator, x, method):
    table = _meta_features(estimator, x)
    return table if method == "transform" else convert(estimator.final_estimator_, table, method)


def _meta_features(stack, x):
    """Return the table that the meta-learner sees."""
    from keras import ops

    classes = getattr(stack, "classes_", None)
    if isinstance(classes, list):
        raise NotConvertible("Stacks with a multilabel target have no counterpart yet.")
    replicas = (
        stack._replicas() if hasattr(stack, "_replicas") else [[e] for e in stack.estimators_]
    )
    blocks = []
    for estimators, method in zip(replicas, stack.stack_method_):
        votes = [_block(e, x, method, classes) for e in estimators]
        blocks.append(votes[0] if len(votes) == 1 else ops.mean(ops.stack(votes), axis=0))
    if stack.passthrough:
        blocks.append(ops.cast(x, "float64"))
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)


def _block(estimator, x, method: str, classes):
    """Return one base's columns, as ``stackfuse._oof.as_block`` makes them."""
    from keras import ops

    y = convert(estimator, x, method)
    if method == "predict_proba" and len(estimator.classes_) != len(classes):
        # A fold without some class: its column is zero.
        y = ops.matmul(y, np.eye(len(classes))[np.asarray(estimator.classes_, int)])
    if len(y.shape) == 1:
        return ops.reshape(y, (-1, 1))
    return (
        y[:, 1:] if method == "predict_proba" and classes is not None and len(classes) == 2 else y
    )
