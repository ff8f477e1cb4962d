import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from tests.support.cases import (
    CLASSIFIERS,
    REGRESSORS,
    SCALERS,
    name,
    shown,
)
from tests.support.networks import build_classifier, build_regressor, build_sigmoid

BASES = [
    ("net", sf.KerasClassifier(build_classifier, dropout=0.3, epochs=3)),
    ("logits", sf.KerasClassifier(build_classifier, logits=True, epochs=3)),
    ("trees", ExtraTreesClassifier(5)),
]


@pytest.fixture(scope="module")
def stack(iris):
    return sf.StackingClassifier(BASES, LogisticRegression(), cv=3, random_state=0).fit(*iris)


def reloaded(estimator, path, X):
    """Export, read the file with nothing but Keras, and return the outputs for X."""
    import keras

    sf.export(estimator, path, verify=X)
    outputs = keras.models.load_model(path, safe_mode=True)(np.asarray(X, np.float64))
    return {key: np.asarray(value) for key, value in outputs.items()}


def graph_outputs(estimator, X):
    return {key: np.asarray(y) for key, y in sf.to_keras(estimator)(X).items()}


@pytest.mark.parametrize("data", ["iris", "cancer"])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=name)
def test_classifiers(data, classifier, request, tmp_path):
    X, y = request.getfixturevalue(data)
    model = clone(classifier).fit(X[::2], y[::2])
    got = reloaded(model, tmp_path / "model.keras", X)
    assert_array_equal(model.classes_[got["label"]], model.predict(X))
    if hasattr(model, "predict_proba"):
        assert_allclose(got["probabilities"], model.predict_proba(X), atol=1e-13)
    else:
        decision = model.decision_function(X)
        assert_allclose(got["decision"], decision, atol=1e-12 * np.abs(decision).max())
    assert set(got) == {"label", "probabilities" if "probabilities" in got else "decision"}


@pytest.mark.parametrize(
    ("regressor", "columns"),
    [(regressor, 1) for regressor in REGRESSORS]
    + [(r, 2) for r in REGRESSORS if name(r) in ("LinearRegression", "Ridge", "FusionRegressor")],
    ids=str,
)
def test_regressors(diabetes, regressor, columns, tmp_path):
    X, y = diabetes
    y = y if columns == 1 else np.column_stack([y, y**2])
    model = clone(regressor).fit(X[::2], y[::2])
    got = reloaded(model, tmp_path / "model.keras", X)
    assert_allclose(got["prediction"], model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_scalers(iris, scaler, tmp_path):
    X, _ = iris
    got = reloaded(clone(scaler).fit(X[::2]), tmp_path / "scaler.keras", X * 3)
    assert_allclose(got["features"], scaler.fit(X[::2]).transform(X * 3), rtol=1e-14)


def test_stacks_fitted_on_sparse_rows(iris, tmp_path):
    from scipy.sparse import csr_matrix

    X, y = iris
    stack = sf.StackingClassifier(BASES[2:], cv=2, random_state=0).fit(csr_matrix(X), y)
    assert sf.export(stack, tmp_path / "stack.keras").n_rows == 64


@pytest.mark.parametrize(
    "final",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        RidgeClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        sf.FusionClassifier(epochs=3, random_state=0),
        sf.KerasClassifier(build_classifier, epochs=3, random_state=0),
    ],
    ids=name,
)
@pytest.mark.parametrize("data", ["iris", "cancer"])
def test_stacks(data, final, request, tmp_path):
    X, y = request.getfixturevalue(data)
    stack = sf.StackingClassifier(BASES, final, cv=3, random_state=0).fit(X, y)
    got = reloaded(stack, tmp_path / "stack.keras", X)
    assert_array_equal(stack.classes_[got["label"]], stack.predict(X))
    if "probabilities" in got:
        assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"passthrough": True},
        {"refit": False},
        {"stack_method": "predict"},
        {"final_estimator": RidgeClassifier()},
    ],
    ids=str,
)
def test_stacks_with_options(iris, settings, tmp_path):
    X, y = iris
    stack = sf.StackingClassifier(BASES, cv=3, random_state=0).set_params(**settings).fit(X, y)
    got = reloaded(stack, tmp_path / "stack.keras", X)
    assert_array_equal(got["label"], stack.predict(X))


def test_fold_models_that_lack_a_class(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.array([0, 1] * 19 + [2, 2])
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    stack = sf.StackingClassifier([("lr", LogisticRegression())], cv=folds, refit=False)
    with pytest.warns(UserWarning, match="fold 0 without"):
        stack.fit(X, y)
    got = reloaded(stack, tmp_path / "stack.keras", X)
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-13)


def test_stacks_inside_pipelines_inside_stacks_and_searches(iris, tmp_path):
    X, y = iris
    inner = sf.StackingClassifier(BASES[2:], cv=2, random_state=0)
    bases = [("inner", make_pipeline(StandardScaler(), inner)), ("lr", LogisticRegression())]
    search = GridSearchCV(sf.StackingClassifier(bases, cv=2), {"lr__C": [0.1, 1]}, cv=2).fit(X, y)
    got = reloaded(search, tmp_path / "search.keras", X)
    assert_allclose(got["probabilities"], search.predict_proba(X), atol=1e-13)
    theirs = StackingClassifier([("f", FrozenEstimator(search))], cv="prefit").fit(X, y)
    got = reloaded(theirs, tmp_path / "theirs.keras", X)
    assert_allclose(got["probabilities"], theirs.predict_proba(X), atol=1e-13)


def test_regression_stack(diabetes, tmp_path):
    X, y = diabetes
    network = sf.KerasRegressor(build_regressor, epochs=3)
    for target in (y, np.column_stack([y, -y])):
        bases = [("net", network), ("ridge", Ridge())]
        stack = sf.StackingRegressor(bases, Ridge(), cv=3, random_state=0).fit(X, target)
        got = reloaded(stack, tmp_path / "stack.keras", X)
        assert_allclose(got["prediction"], stack.predict(X), rtol=1e-5)
        assert got["prediction"].shape == target.shape


def test_images_and_multilabel(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 4, 4))
    y = (X.mean(axis=(1, 2)) > 0).astype(int)
    network = sf.KerasClassifier(build_classifier, random_state=0).fit(X, y)
    got = reloaded(network, tmp_path / "net.keras", X)
    assert_allclose(got["probabilities"], network.predict_proba(X), atol=1e-6)
    Y = np.column_stack([y, 1 - y, y])
    network = sf.KerasClassifier(build_sigmoid, random_state=0).fit(X.reshape(40, 16), Y)
    got = reloaded(network, tmp_path / "labels.keras", X.reshape(40, 16))
    assert_array_equal(got["label"], network.predict(X.reshape(40, 16)))


def test_networks_are_frozen_in_inference_mode(iris, stack):
    X, _ = iris
    graph = sf.to_keras(stack)
    assert not graph.trainable_variables
    assert_allclose(graph(X, training=True)["probabilities"], stack.predict_proba(X), atol=1e-6)


def test_the_estimator_is_left_as_it_was(iris, stack):
    X, _ = iris
    names = [network.model_.name for network in stack.estimators_[:2]]
    before = stack.predict_proba(X)
    sf.to_keras(stack)
    assert_array_equal(stack.predict_proba(X), before)
    assert [network.model_.name for network in stack.estimators_[:2]] == names
    assert stack.estimators_[0].model_.trainable_variables


def test_a_subclass_that_predicts_differently_is_refused(diabetes):
    class Shifted(Ridge):
        def predict(self, X):
            return super().predict(X) + 100

    class Same(Ridge):
        pass

    with pytest.raises(sf.NotConvertible, match="Shifted overrides predict of Ridge"):
        sf.to_keras(Shifted().fit(*diabetes))
    assert sf.to_keras(Same().fit(*diabetes)).output_names == ["prediction"]


def test_custom_functions_are_refused_even_where_they_are_registered(iris):
    import keras

    X, y = iris

    @keras.saving.register_keras_serializable("tests")
    def bent(x):
        return keras.ops.tanh(x) * 1.1

    def straight(x):
        return x

    for function in (bent, straight):

        def build(function=function):
            hidden = keras.layers.Dense(4, activation=function)
            return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(3, "softmax")])

        with pytest.raises(sf.NotConvertible, match=f"the function '{function.__name__}'"):
            sf.to_keras(sf.KerasClassifier(build).fit(X, y))


def test_nested_dropout_stays_asleep_and_sequences_may_have_any_length(iris):
    import keras

    X, y = iris

    def build():
        inner = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.9)])
        inputs = keras.Input((None, 1))
        hidden = inner(keras.layers.LSTM(8)(inputs))
        return keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))

    network = sf.KerasClassifier(build, random_state=0).fit(X[:, :, None], y)
    graph = sf.to_keras(network)
    got = graph(X[:, :, None], training=True)["probabilities"]
    assert_allclose(got, network.predict_proba(X[:, :, None]), atol=1e-6)


def test_searches_and_pipelines_over_images(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 4, 4))
    y = (X.mean(axis=(1, 2)) > 0).astype(int)
    network = sf.KerasClassifier(build_classifier, random_state=0)
    search = GridSearchCV(make_pipeline("passthrough", network), {"kerasclassifier__epochs": [1]})
    got = reloaded(search.fit(X, y), tmp_path / "search.keras", X)
    assert_allclose(got["probabilities"], search.predict_proba(X), atol=1e-6)
    assert sf.to_keras(search).input_shape == (None, 4, 4)


def test_exporting_touches_no_global_generator(iris, stack, tmp_path):
    import random

    before = random.getstate()
    sf.export(stack, tmp_path / "stack.keras")
    assert random.getstate() == before


def test_what_cannot_be_converted_is_named(iris, tmp_path):
    import keras

    X, y = iris

    class Guess(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.repeat(self.classes_[0], len(X))

    guess = sf.StackingClassifier([("guess", Guess())], cv=3).fit(X, y)
    with pytest.raises(sf.NotConvertible, match="Guess cannot be converted"):
        sf.to_keras(guess)
    with pytest.raises(sf.NotConvertible, match="LatentDirichletAllocation cannot be converted"):
        sf.to_keras(
            make_pipeline(LatentDirichletAllocation(1, max_iter=1), LogisticRegression()).fit(
                np.abs(X), y
            )
        )

    @keras.saving.register_keras_serializable("tests")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def custom(layer):
        def build():
            inputs = keras.Input((4,))
            return keras.Model(inputs, keras.layers.Dense(3, "softmax")(layer(inputs)))

        return sf.KerasClassifier(build).fit(X, y)

    with pytest.raises(sf.NotConvertible, match="Twice, which only loads together with its code"):
        sf.to_keras(custom(Twice()))
    with pytest.raises(sf.NotConvertible, match="a Lambda layer 'doubled'"):
        sf.to_keras(custom(keras.layers.Lambda(lambda x: 2 * x, name="doubled")))


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (sf.StackingClassifier(BASES), NotFittedError, "StackingClassifier instance is not fitted"),
        (LogisticRegression(), NotFittedError, "LogisticRegression instance is not fitted"),
        ("stack", TypeError, "is made of a fitted scikit-learn estimator, got 'stack'"),
        (LogisticRegression, TypeError, "got the class LogisticRegression"),
    ],
    ids=shown,
)
def test_wrong_estimators(estimator, error, message):
    with pytest.raises(error, match=message):
        sf.to_keras(estimator)


def test_what_label_and_probabilities_have_in_common_is_in_the_graph_once(stack):
    import keras

    random = np.random.default_rng(0)
    forest = RandomForestClassifier(5, random_state=0)
    forest.fit(random.normal(size=(900, 4)), random.integers(0, 3, 900))  # of many leaves
    n_nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    sizes = [int(np.prod(w.shape)) for w in sf.to_keras(forest).weights]
    assert len(sizes) == 4  # the first levels, the walk, the classes and their divisor, each once
    assert sum(sizes) < 1.1 * n_nodes * (3 + 3)  # feature, threshold, child; classes
    networks = [layer for layer in sf.to_keras(stack).layers if isinstance(layer, keras.Model)]
    assert len(networks) == 2
