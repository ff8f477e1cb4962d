"""Many fits at once equal separate ones, and what is compiled for one is used by all."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._oof.engines import (
    Job,
    fit_many,
)
from stackfuse._oof.jobs import replica
from stackfuse._training.side_by_side import (
    forward as _forward,
)
from stackfuse._training.side_by_side import (
    graph as _replica_graph,
)


def build(units=6):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(units, "relu"),
            layers.Dropout(0.2),
            layers.Dense(3, "softmax"),
        ]
    )


@pytest.mark.parametrize("engine", ["fused", "sequential"])
def test_an_ensemble_of_seeds_and_rows_equals_separate_fits(iris, engine):
    X, y = iris
    rng = np.random.default_rng(0)
    jobs = [Job(rng.choice(150, 100 + k), seed) for k, seed in enumerate([3, 5, 3])]
    jobs.append(Job(np.arange(150), 8))
    network, weight = sf.KerasClassifier(build, epochs=2), rng.uniform(0.5, 1, 150)
    models = fit_many(network, X, y, jobs, engine=engine, fit_params={"sample_weight": weight})
    alone = [replica(network, seed).fit(X[rows], y[rows], weight[rows]) for rows, seed in jobs]
    for model, other in zip(models, alone):
        for one, wanted in zip(model.model_.get_weights(), other.model_.get_weights()):
            assert_allclose(one, wanted, rtol=2e-5, atol=2e-5)
    average = np.mean([model.predict_proba(X) for model in models], axis=0)
    wanted = np.mean([model.predict_proba(X) for model in alone], axis=0)
    assert_allclose(average, wanted, rtol=0, atol=1e-5)
    assert np.ptp([model.predict_proba(X[:1])[0, 0] for model in models]) > 1e-3


@pytest.mark.parametrize("engine", ["auto", "fused", "sequential"])
def test_no_jobs(iris, engine):
    X, y = iris
    assert fit_many(sf.KerasClassifier(build), X, y, [], engine=engine) == []


def test_other_estimators(iris):
    X, y = iris
    rows = np.arange(0, 150, 2)
    (model,) = fit_many(LogisticRegression(max_iter=500), X, y, [Job(rows)])
    wanted = LogisticRegression(max_iter=500).fit(X[rows], y[rows])
    assert_array_equal(model.coef_, wanted.coef_)


def test_one_trace_serves_folds_bases_and_later_fits(iris, monkeypatch):
    X, y = iris
    traced = []
    steps, evaluate = _replica_graph.ReplicaGraph._steps, _forward.Forward._evaluate

    def counted(function, name):
        def call(self, *args):
            traced.append(name)
            return function(self, *args)

        return call

    monkeypatch.setattr(_replica_graph.ReplicaGraph, "_steps", counted(steps, "steps"))
    monkeypatch.setattr(_forward.Forward, "_evaluate", counted(evaluate, "evaluate"))
    network = sf.KerasClassifier(build, units=7, validation_split=0.2)
    bases = [("a", network), ("b", network)]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=3, engine="fused", random_state=0)
    stack.fit(X, y)
    assert sorted(traced) == ["evaluate", "steps"]  # of 2 x 4 trainings
    stack.set_params(random_state=1, a__epochs=2, b__batch_size=16).fit(X[10:], y[10:])
    assert len(traced) == 2
