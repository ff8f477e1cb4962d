"""Networks of a stack that answer a few rows by one call."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._training import prediction


def _classifier(meta, units=8):
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def _regressor(meta, units=8):
    inputs = keras.Input((meta["n_features_in_"],))
    hidden = keras.layers.Dense(units, activation="tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


@pytest.fixture
def calls(monkeypatch):
    """The numbers of questions that were asked at once."""
    found = []
    joined = prediction._join

    def count(functions):
        found.append(len(functions))
        return joined(functions)

    monkeypatch.setattr(prediction, "_join", count)
    return found


def _each_by_itself(stack, X, method):
    return np.column_stack([getattr(base, method)(X) for base in stack.estimators_])


@pytest.mark.parametrize("n_rows", [1, 32])
def test_few_rows_are_answered_at_once_bit_for_bit(calls, n_rows):
    X, y = load_iris(return_X_y=True)
    units = (4, 8, 8)  # two of one architecture
    nets = [
        (f"n{k}", sf.KerasClassifier(_classifier, units=u, random_state=k))
        for k, u in enumerate(units)
    ]
    bases = [*nets, ("lr", LogisticRegression(max_iter=500))]
    stack = sf.StackingClassifier(bases, cv=3, random_state=0).fit(X, y)
    calls.clear()
    assert np.array_equal(
        stack.transform(X[:n_rows]), _each_by_itself(stack, X[:n_rows], "predict_proba")
    )
    assert calls == [3]


def test_more_rows_are_answered_network_by_network(calls):
    X, y = load_iris(return_X_y=True)
    nets = [(f"n{u}", sf.KerasClassifier(_classifier, units=u, random_state=u)) for u in (4, 8)]
    stack = sf.StackingClassifier(nets, cv=3, random_state=0).fit(X, y)
    calls.clear()
    stack.transform(X[:33])
    assert calls == []


def test_every_replica_of_fold_averages_takes_part(calls):
    X, y = load_diabetes(return_X_y=True)
    nets = [(f"n{u}", sf.KerasRegressor(_regressor, units=u, random_state=u)) for u in (4, 8)]
    stack = sf.StackingRegressor(nets, cv=3, refit=False, random_state=0).fit(X, y)
    calls.clear()
    got = stack.transform(X[:2])
    wanted = np.column_stack(
        [np.mean([r.predict(X[:2]) for r in replicas], axis=0) for replicas in stack._replicas()]
    )
    assert np.array_equal(got, wanted)
    assert calls == [6]


def test_several_methods_and_frozen_networks(calls):
    X, y = load_iris(return_X_y=True)
    half, rest = np.arange(0, 150, 2), np.arange(1, 150, 2)
    nets = [sf.KerasClassifier(_classifier, random_state=k).fit(X[half], y[half]) for k in (0, 1)]
    one, other = nets
    bases = [
        ("a", FrozenEstimator(one)),
        ("b", FrozenEstimator(other)),
        ("c", FrozenEstimator(one)),
    ]
    methods = {"a": "decision_function", "b": "features", "c": "predict_proba"}
    final = LogisticRegression(max_iter=5000)
    stack = sf.StackingClassifier(bases, final, cv="prefit", stack_method=methods)
    stack.fit(X[rest], y[rest])
    calls.clear()
    got = stack.transform(X[:3])
    parts = [one.decision_function(X[:3]), other.features(X[:3]), one.predict_proba(X[:3])]
    assert np.array_equal(got, np.column_stack(parts))
    assert calls == [3]


class Shifted(sf.KerasClassifier):
    """A subclass that changes the rows before the network sees them."""

    def predict_proba(self, X, **for_this_call):
        return super().predict_proba(X + 1.0, **for_this_call)


def test_a_method_of_a_subclass_is_called(calls):
    X, y = load_iris(return_X_y=True)
    nets = [("own", Shifted(_classifier, random_state=0))]
    nets += [(f"n{u}", sf.KerasClassifier(_classifier, units=u, random_state=u)) for u in (4, 16)]
    stack = sf.StackingClassifier(nets, cv=3, random_state=0).fit(X, y)
    calls.clear()
    plain = sf.KerasClassifier.predict_proba(stack.estimators_[0], X[:1] + 1.0)
    assert np.array_equal(stack.transform(X[:1])[:, :3], plain)
    assert calls == [2]


def test_a_network_whose_weights_are_changed_answers_anew():
    X, y = load_iris(return_X_y=True)
    nets = [(f"n{u}", sf.KerasClassifier(_classifier, units=u, random_state=u)) for u in (4, 8)]
    stack = sf.StackingClassifier(nets, cv=3, random_state=0).fit(X, y)
    before = stack.transform(X[:1])
    model = stack.estimators_[0].model_
    model.set_weights([2 * weight + 0.1 for weight in model.get_weights()])
    after = stack.transform(X[:1])
    assert np.array_equal(after[:, :3], stack.estimators_[0].predict_proba(X[:1]))
    assert not np.array_equal(before[:, :3], after[:, :3])
    assert np.array_equal(before[:, 3:], after[:, 3:])


def _of_whole_numbers(meta, kind="float64"):
    """Take numbers in another precision, or places in a table of four words."""
    inputs = keras.Input((meta["n_features_in_"],), dtype=kind)
    x = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(inputs)) if kind == "int32" else inputs
    return keras.Model(inputs, keras.layers.Dense(meta["n_classes_"], activation="softmax")(x))


def test_networks_that_take_x_differently_get_it_so(calls):
    X = np.random.default_rng(0).integers(0, 4, (60, 3)).astype(float)
    y = np.arange(60) % 3
    nets = [("float32", sf.KerasClassifier(_classifier, random_state=0))]
    for kind in ("float64", "int32"):
        network = sf.KerasClassifier(_of_whole_numbers, kind=kind, random_state=0)
        nets.append((kind, network))
    stack = sf.StackingClassifier(nets, LogisticRegression(), cv=2, random_state=0).fit(X, y)
    calls.clear()
    found = stack.transform(X[:5])
    assert calls == [3]
    assert np.array_equal(found, _each_by_itself(stack, X[:5], "predict_proba"))
    with pytest.raises(ValueError, match="takes the indices 0 to 3"):
        stack.transform(np.full((1, 3), 7.0))
    with pytest.raises(ValueError, match="NaN"):
        stack.transform(np.full((1, 3), np.nan))
