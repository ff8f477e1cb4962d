"""Stacks, ours and scikit-learn's: the bases' columns, passed-through columns, the meta-learner."""

import numpy as np
from keras import ops
from sklearn import ensemble
from sklearn.frozen import FrozenEstimator

from stackfuse._export.converters.ours.coverage import coverage_output
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
    refuse_lost,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    current_build,
    once,
)
from stackfuse._export.graph.frame import (
    Frame,
    take_columns,
)
from stackfuse._oof import (
    prediction_columns,
)
from stackfuse._stacking import (
    StackingClassifier,
    StackingRegressor,
    as_list,
)


@converter_for(
    StackingClassifier,
    StackingRegressor,
    ensemble.StackingClassifier,
    ensemble.StackingRegressor,
    frames=True,
)
def _stack(estimator, x, method):
    if method == "transform":
        return _meta_features(estimator, x, tuple(range(len(estimator.stack_method_))))
    if method in ("lower", "upper", "set"):
        table = _meta_features(estimator, x, tuple(estimator._coverage.bases))
        return coverage_output(estimator, table, method)
    final = estimator.final_estimator_
    read = estimator.bases_read() if _is_ours(estimator) else range(len(estimator.stack_method_))
    table = _meta_features(estimator, x, tuple(read))
    if method == "label":
        # The meta-learner's classes are numbers of classes, not always all of them.
        return ops.cast(convert(final, table, "predict"), "int64")
    y = convert(final, table, method)
    if method != "predict_proba" or not isinstance(y, list):
        return y
    if _is_ours(estimator):
        return _label_probabilities(y, final.classes_)
    # scikit-learn returns the probabilities of not having the labels here.
    return ops.stack([proba[:, 0] for proba in y], axis=1)


def _is_ours(stack) -> bool:
    return isinstance(stack, StackingClassifier | StackingRegressor)


@once
def _meta_features(stack, x, read: tuple[int, ...]):
    """Return the table of columns that the meta-learner takes; zeros for bases that it skips."""
    replicas = stack._replicas() if _is_ours(stack) else [[e] for e in stack.estimators_]
    blocks: list = [None] * len(replicas)
    for k in read:
        estimators, method = replicas[k], stack.stack_method_[k]
        votes = [_base_columns(stack, estimator, x, method) for estimator in estimators]
        total = votes[0]
        for vote in votes[1:]:  # in the order in which numpy adds them
            total = total + vote
        if len(votes) > 1:
            total = total / exact_constants(total, np.full(total.shape[1], float(len(votes))))[0]
        blocks[k] = total
    if len(read) < len(blocks):
        widths = [len(columns) for _, columns in stack._columns_by_base()]
        rows = ops.zeros_like(blocks[read[0]][:, :1])
        unread = {w: ops.repeat(rows, w, axis=1) for w in set(widths)}
        blocks = [unread[w] if b is None else b for b, w in zip(blocks, widths)]
    if stack._passes_through() if _is_ours(stack) else stack.passthrough:
        everything = isinstance(stack.passthrough, bool | np.bool_)
        blocks.append(_as_numbers(x, stack) if everything else _passed_columns(x, stack))
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)


def _as_numbers(x, stack):
    """Return passed-through columns as one tensor of numbers."""
    return x.numbers(wanted_by=type(stack).__name__) if isinstance(x, Frame) else x


def _passed_columns(x, stack):
    """Return the columns, or of a ``MultiInput`` the inputs, that are passed through."""
    columns = as_list(stack.passthrough)
    if isinstance(x, dict):
        parts = [ops.reshape(x[n], (-1, int(np.prod(x[n].shape[1:], dtype=int)))) for n in columns]
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    names = list(getattr(stack, "feature_names_in_", []))
    places = [names.index(c) if isinstance(c, str) else c % x.shape[1] for c in columns]
    return _as_numbers(take_columns(x, places), stack)


def _base_columns(stack, base, x, method: str):
    """Return one base's columns of the meta-learner's table."""
    ours = _is_ours(stack)
    classes = getattr(stack, "classes_", None)
    if ours:
        labels = stack._labels_of(base)
    else:
        known = None if isinstance(classes, list) else classes
        labels = prediction_columns.labels_for(base, known, prefit=stack.cv == "prefit")
    if ours and method == "predict" and labels is not None and isinstance(base, FrozenEstimator):
        label = ops.reshape(convert(base, x, "label"), (-1, 1))
        places = prediction_columns.class_places(base, labels)
        hits = ops.equal(label, np.arange(len(places), dtype=np.int64))
        return ops.sum(
            ops.where(hits, _in_graph_dtype(places), _in_graph_dtype(places * 0)), 1, keepdims=True
        )
    y = convert(base, x, method)
    for part in y if isinstance(y, list) else [y]:
        refuse_lost(part)
    if isinstance(y, list):
        if ours:
            return _label_probabilities(y, base.classes_)
        return ops.concatenate([proba[:, 1:] for proba in y if proba.shape[1] > 1], axis=1)
    if len(y.shape) == 1:
        return ops.reshape(y, (-1, 1))
    if method != "predict_proba":
        return y
    if not ours:
        return y[:, 1:] if classes is not None and len(classes) == 2 else y
    if labels is None:
        return y
    if not np.array_equal(base.classes_, labels):
        # A base that does not know some class: its column is zero.
        places = prediction_columns.class_places(base, labels)
        y = ops.matmul(y, np.eye(len(labels), dtype=y.dtype)[places])
    return y[:, 1:] if len(labels) == y.shape[1] == 2 else y


def _in_graph_dtype(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, current_build().precision)


def _label_probabilities(tables: list, classes: list):
    """Return the probability of each label, as ``prediction_columns.as_labels`` does."""
    columns = []
    for proba, known in zip(tables, classes):
        only = proba.shape[1] == 1
        share = constant(float(known[0] == 1), proba)
        columns.append(proba[:, 0] * share if only else proba[:, 1])
    return ops.stack(columns, axis=1)
