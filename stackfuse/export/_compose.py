"""Estimators made of estimators: pipelines and stacks."""

import numpy as np
from sklearn import ensemble
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from stackfuse._checks import NotConvertible
from stackfuse._columns import class_places, labels_for
from stackfuse._stacking import StackingClassifier, StackingRegressor
from stackfuse.export._convert import convert, convert_type
from stackfuse.export._frame import Frame, take_columns


@convert_type(Pipeline, frames=True)
def _pipeline(estimator, x, method):
    *transformers, (_, last) = estimator.steps
    for _, transformer in transformers:
        if transformer not in (None, "passthrough"):
            x = convert(transformer, x, "transform")
    return x if last in (None, "passthrough") else convert(last, x, method)


@convert_type(FrozenEstimator, frames=True)
def _frozen(estimator, x, method):
    return convert(estimator.estimator, x, method)


@convert_type(GridSearchCV, RandomizedSearchCV, frames=True)
def _search(estimator, x, method):
    if not hasattr(estimator, "best_estimator_"):
        raise NotConvertible(
            f"{type(estimator).__name__} with refit=False keeps no estimator to convert."
        )
    return convert(estimator.best_estimator_, x, method)


@convert_type(
    StackingClassifier,
    StackingRegressor,
    ensemble.StackingClassifier,
    ensemble.StackingRegressor,
    frames=True,
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
        votes = [_block(e, x, method, _labels_of(stack, e, classes)) for e in estimators]
        blocks.append(votes[0] if len(votes) == 1 else ops.mean(ops.stack(votes), axis=0))
    if stack.passthrough is True:
        blocks.append(_numbers(x, stack))
    elif stack.passthrough:
        places = _places(stack, stack.passthrough, x.shape[1])
        blocks.append(_numbers(take_columns(x, places), stack))
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)


def _numbers(x, stack):
    """Return what is passed through, as the meta-learner takes it."""
    return x.numbers(wanted_by=type(stack).__name__) if isinstance(x, Frame) else x


def _places(stack, columns, n_columns: int) -> list[int]:
    """Return the numbers of columns of X that are given by name or number."""
    names = list(getattr(stack, "feature_names_in_", []))
    return [names.index(c) if isinstance(c, str) else c % n_columns for c in columns]


def _labels_of(stack, base, classes: np.ndarray | None) -> np.ndarray | None:
    """Return the classes as a base knows them."""
    if hasattr(stack, "oof_"):
        return stack._labels_of(base)
    return labels_for(base, classes, prefit=stack.cv == "prefit")


def _block(estimator, x, method: str, labels: np.ndarray | None):
    """Return one base's columns, as ``stackfuse._oof.as_block`` makes them."""
    from keras import ops

    y = convert(estimator, x, method)
    if len(y.shape) == 1:
        return ops.reshape(y, (-1, 1))
    if method != "predict_proba" or labels is None:
        return y
    if not np.array_equal(estimator.classes_, labels):
        # A base that does not know some class: its column is zero.
        places = class_places(estimator, labels)
        return ops.matmul(y, np.eye(len(labels), dtype=y.dtype)[places])
    return y[:, 1:] if len(labels) == 2 else y
