"""Networks found in a memory stay in bytes, and what they predict is found there too."""

import copy
import pickle
import threading

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._keras import loading
from stackfuse._oof.memory.fingerprint import networks
from stackfuse._training import prediction
from tests.support.cases import build_classifier


@pytest.fixture
def read(monkeypatch):
    """The models that are made from their bytes, one entry each."""
    made, make = [], pickle.loads

    def note(data):
        made.append(len(data))
        return make(data)

    monkeypatch.setattr(loading.pickle, "loads", note)
    return made


def stack_with(memory, network=None):
    network = network or sf.KerasClassifier(build_classifier, random_state=0)
    return sf.StackingClassifier([("net", network)], cv=2, memory=memory, random_state=0)


def test_a_kept_network_answers_unread_until_somebody_has_its_model(iris, tmp_path, read):
    X, y = iris
    first = stack_with(tmp_path).fit(X, y)
    wanted = first.transform(X)
    assert_array_equal(stack_with(tmp_path).fit(X, y).transform(X), wanted)
    assert not read
    some = stack_with(tmp_path).fit(X, y).transform(X[:90])
    assert_array_equal(some, first.transform(X[:90]))
    assert len(read) == 1  # these rows were new to it
    again = stack_with(tmp_path).fit(X, y)
    assert_array_equal(again.transform(X), wanted)
    assert len(read) == 1
    model = again.estimators_[0].model_
    model.set_weights([weight + 1 for weight in model.get_weights()])
    got = again.estimators_[0].predict_proba(X)
    assert not np.allclose(got, first.estimators_[0].predict_proba(X))
    np.testing.assert_allclose(got, model.predict(X, verbose=0), atol=1e-6)


def test_nothing_is_kept_of_a_fitted_network_that_somebody_has_changed(iris, tmp_path):
    X, y = iris
    wanted = stack_with(None).fit(X, y).transform(X)
    first = stack_with(tmp_path).fit(X, y)
    model = first.estimators_[0].model_
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert not np.allclose(first.transform(X), wanted)
    assert_array_equal(stack_with(tmp_path).fit(X, y).transform(X), wanted)


@pytest.mark.parametrize("found", [False, True])
def test_nothing_is_kept_of_a_network_that_a_thread_changes_while_it_answers(
    found, iris, tmp_path, monkeypatch
):
    X, y = iris
    wanted = stack_with(None).fit(X, y).estimators_[0].predict_proba(X)
    if found:
        stack_with(tmp_path).fit(X, y)
    net, predict = stack_with(tmp_path).fit(X, y).estimators_[0], prediction.predict

    def change():
        net.model_.set_weights([weight + 1 for weight in net.model_.get_weights()])

    def answering(question):
        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
        return predict(question)

    with monkeypatch.context() as patched:
        patched.setattr(prediction, "predict", answering)
        assert not np.allclose(net.predict_proba(X), wanted)
    assert_array_equal(stack_with(tmp_path).fit(X, y).estimators_[0].predict_proba(X), wanted)


@keras.saving.register_keras_serializable("tests")
class Noise(keras.layers.Layer):
    """Draws whenever it is called, as no layer of Keras does."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.states = keras.random.SeedGenerator()

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.states)


def random_network():
    equal = keras.initializers.GlorotUniform(seed=7)
    last = keras.layers.Dense(3, activation="softmax", kernel_initializer=equal)
    return keras.Sequential([keras.Input((4,)), Noise(), last])


def test_a_random_network_that_is_found_repeats_its_first_answer(iris, tmp_path, monkeypatch):
    """Such layers come from other packages; these weights are equal, and their states differ."""
    monkeypatch.setattr(networks, "is_plain", lambda model: True)
    X, y = iris
    answers = []
    for seed in (0, 1):
        still = {"optimizer": "sgd", "optimizer__learning_rate": 0.0, "random_state": seed}
        network = sf.KerasClassifier(random_network, **still)
        memories = [None, *[tmp_path] * (2 - seed)]
        nets = [stack_with(memory, network).fit(X, y).estimators_[0] for memory in memories]
        answers.append(nets[0].predict_proba(X))
        for net in nets[1:] + nets[2:]:
            assert_array_equal(net.predict_proba(X), answers[-1])
    assert not np.array_equal(*answers)


def test_a_network_that_draws_when_it_predicts_can_be_pickled(iris):
    X, y = iris
    net = sf.KerasClassifier(random_network, random_state=0).fit(X, y)
    twin = pickle.loads(pickle.dumps(net))
    for _ in range(2):
        assert_array_equal(twin.predict_proba(X), net.predict_proba(X))


def test_an_answer_is_that_to_its_question_alone(iris, tmp_path):
    X, y = iris
    first = stack_with(tmp_path).fit(X, y).estimators_[0]
    questions = [
        lambda net: net.predict_proba(X),
        lambda net: net.predict_proba(X[:40]),
        lambda net: net.predict_proba(X[::-1]),
        lambda net: net.predict_proba(X.astype(np.float32)),
        lambda net: net.predict_proba(np.asfortranarray(X)),
        lambda net: net.decision_function(X),
        lambda net: net.features(X),
        lambda net: net.predict(X),
        lambda net: net.set_params(predict__batch_size=7).predict_proba(X),
    ]
    for _ in range(2):
        for ask in questions:
            net = stack_with(tmp_path).fit(X, y).estimators_[0]
            assert_array_equal(ask(net), ask(first))
            first.set_params(predict__batch_size=None)


def test_unread_networks_are_pickled_and_copied_as_others_are(iris, tmp_path):
    X, y = iris
    wanted = stack_with(tmp_path).fit(X, y).transform(X)
    unread = stack_with(tmp_path).fit(X, y)
    data = pickle.dumps(unread)
    assert "model_" not in vars(unread.estimators_[0]._fitted)
    for twin in (pickle.loads(data), copy.deepcopy(unread), copy.copy(unread)):
        assert_array_equal(twin.transform(X), wanted)
        assert twin.estimators_[0].model_.count_params() > 0
    assert unread.estimators_[0].fit(X, y).predict_proba(X).shape == (150, 3)


def test_a_fit_goes_on_from_an_unread_network(iris, tmp_path):
    X, y = iris
    ways = []
    for _ in range(2):
        net = stack_with(tmp_path).fit(X, y).estimators_[0].set_params(warm_start=True)
        ways.append(net.fit(X, y).predict_proba(X))
    assert_array_equal(*ways)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_damaged_answer_is_asked_for_again(iris, tmp_path, damage):
    X, y = iris
    wanted = stack_with(tmp_path).fit(X, y).transform(X)
    [place] = [p for p in (tmp_path / "stackfuse-fits" / "answers").rglob("*") if p.is_file()]
    place.write_bytes(damage(place.read_bytes()))
    assert_array_equal(stack_with(tmp_path).fit(X, y).transform(X), wanted)


def test_networks_that_hold_words_or_own_code_are_read_with_the_rest():
    class Own(keras.layers.Layer):
        def call(self, x):
            return 2.0 * x

    def network(*layers):
        return keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)])

    assert networks.is_plain(network(keras.layers.Dropout(0.5)))
    assert not networks.is_plain(network(Own()))
    assert not networks.is_plain(network(keras.layers.IntegerLookup(vocabulary=[3, 5])))


@pytest.mark.parametrize(("kind", "in_pipeline"), [(sf.GridSearchCV, False), (GridSearchCV, True)])
def test_a_second_search_reads_no_network(kind, in_pipeline, iris, tmp_path, read):
    net = sf.KerasClassifier(build_classifier, random_state=0)
    base = make_pipeline(StandardScaler(), net) if in_pipeline else net
    finals = {"final_estimator": [LogisticRegression(C=strength) for strength in (0.1, 1, 10)]}
    plain = kind(stack_with(None, base), finals, cv=2).fit(*iris)
    kind(stack_with(tmp_path, base), finals, cv=2).fit(*iris)
    del read[:]
    again = kind(stack_with(tmp_path, base), finals, cv=2).fit(*iris)
    assert not read
    for name in ("split0_test_score", "split1_test_score"):
        assert_array_equal(again.cv_results_[name], plain.cv_results_[name])
    assert_array_equal(again.predict_proba(iris[0]), plain.predict_proba(iris[0]))
    assert read
