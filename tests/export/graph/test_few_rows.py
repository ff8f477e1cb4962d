"""As many rows as trees, classes or columns: shapes that happen to be equal mean nothing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._export.graph.nodes import refuse_taken_for_bias
from tests.support.cases import (
    CLASSIFIERS,
    FAMILY_CLASSIFIERS,
    FAMILY_REGRESSORS,
    REGRESSORS,
    name,
)

N_TREES = 6


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    X = random.uniform(0.1, 3, (60, 4))
    return X, np.argmax(X[:, :3] + random.normal(size=(60, 3)) / 2, axis=1)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(N_TREES, random_state=0),
        RandomForestRegressor(N_TREES, random_state=0),
        GradientBoostingClassifier(n_estimators=2, random_state=0),
        HistGradientBoostingClassifier(max_iter=2),
        BaggingClassifier(n_estimators=N_TREES, random_state=0),
        sf.StackingClassifier(
            [("rf", RandomForestClassifier(N_TREES))], LogisticRegression(), cv=2, random_state=0
        ),
    ],
    ids=name,
)
def test_as_many_rows_as_trees(data, model, tmp_path):
    import keras

    X, y = data
    model = clone(model).fit(X, y)
    sf.export(model, tmp_path / "model.keras", verify=X)
    graph = keras.models.load_model(tmp_path / "model.keras")
    which = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    for n_rows in range(1, 2 * N_TREES):
        got = graph(X[:n_rows])
        got = got["probabilities" if which == "predict_proba" else "prediction"]
        assert_allclose(got, getattr(model, which)(X[:n_rows]), atol=1e-13, err_msg=str(n_rows))


@pytest.mark.filterwarnings("ignore")  # of models that do not converge
@pytest.mark.parametrize(
    "model",
    [
        *(
            m
            for m in (*CLASSIFIERS, *FAMILY_CLASSIFIERS, *REGRESSORS, *FAMILY_REGRESSORS)
            if "length_scale=[" not in str(m)
        ),
    ],
    ids=name,
)
def test_a_row_is_what_it_is_among_others(data, model):
    X, y = data
    graph = sf.to_keras(clone(model).fit(X, y + 1))
    together = {key: np.asarray(value) for key, value in graph(X[:12]).items()}
    for n_rows in (1, 2, 3, 4, 5, 10):
        for key, value in graph(X[:n_rows]).items():
            assert_allclose(
                value, together[key][:n_rows], rtol=1e-9, atol=1e-9, err_msg=str(n_rows)
            )


@pytest.mark.parametrize(
    ("wide", "narrow", "refused"),
    [
        ((3,), (1,), True),
        ((3, 4), (1, 1), True),
        ((3, 4), (3, 1), True),
        ((3, 1), (1, 1), True),
        ((3,), (3,), False),
        ((3, 4), (1, 4), False),
        ((3, 4), (3, 4), False),
        ((1,), (3,), False),
    ],
    ids=str,
)
def test_sums_that_keras_takes_for_biases_are_refused(wide, narrow, refused):
    import keras

    first, second = keras.Input(wide), keras.Input(narrow)
    total = first + second
    if not refused:
        refuse_taken_for_bias([total])
        return
    with pytest.raises(sf.NotConvertible, match="Write the sum the other way round"):
        refuse_taken_for_bias([total])
    refuse_taken_for_bias([second + first])


def test_no_rows_at_all(data, tmp_path):
    import keras
    import onnxruntime
    import tensorflow as tf

    X, y = data
    paths = [tmp_path / "model", tmp_path / "model.onnx"]
    sf.export(LogisticRegression().fit(X, y), paths, verify=X)
    served = tf.saved_model.load(paths[0]).signatures["serving_default"](x=tf.constant(X[:0]))
    run = onnxruntime.InferenceSession(paths[1]).run(["probabilities", "label"], {"x": X[:0]})
    assert [served["probabilities"].shape, served["label"].shape] == [(0, 3), (0,)]
    assert [part.shape for part in run] == [(0, 3), (0,)]
    x = keras.Input((3,))  # Keras itself, as docs/guides/results/formats.md says
    with pytest.raises(tf.errors.InvalidArgumentError, match="BiasAdd"):
        keras.Model(x, keras.layers.Add()([x, 2 * x]))(np.zeros((0, 3), np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="max of an empty tensor"):
        keras.ops.max(np.zeros((0, 3)), axis=1)
