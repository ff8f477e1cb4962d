"""Every convertible estimator agrees with its graph on rows made up from what a stack keeps."""

import numpy as np
import pytest
from sklearn.base import clone

from stackfuse._export.checking.answers import run_in_batches
from stackfuse._export.checking.comparison import Comparison, RowsToCompare
from stackfuse._export.checking.made_up_rows import rows_like
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from tests.support.cases import (
    CLASSIFIERS,
    FAMILY_CLASSIFIERS,
    FAMILY_REGRESSORS,
    REGRESSORS,
    shown,
)


def assert_agrees_on_made_up_rows(model, X):
    rows = rows_like(model, X, 64)
    assert len(rows) > 32
    assert not {*rows.ravel().tolist()} & {*X.ravel().tolist()}
    graph = build_graph(model, rows, Build("float64"))
    comparison = Comparison.of(model, RowsToCompare(rows, rows[:8]), graph, "float64")
    difference = comparison.check(run_in_batches(graph, comparison.inputs), what="The graph")
    scale = max(
        float(np.abs(y).max())
        for name, y in comparison.expected.items()
        if name != "label" or len(comparison.expected) == 1
    )
    assert difference <= 1e-6 * max(scale, 1.0)


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *FAMILY_CLASSIFIERS], ids=shown)
def test_classifiers(iris, estimator):
    X, y = iris
    X = np.abs(X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape))
    assert_agrees_on_made_up_rows(clone(estimator).fit(X, y), X)


@pytest.mark.parametrize("estimator", [*REGRESSORS, *FAMILY_REGRESSORS], ids=shown)
def test_regressors(diabetes, estimator):
    X, y = diabetes
    X = (X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape))[:160]
    assert_agrees_on_made_up_rows(clone(estimator).fit(X, y[:160] / 100), X)
