"""Steps that lead from images or several inputs to estimators that take a table."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

import stackfuse as sf
from tests.support.networks import build_classifier


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = X[:120] / 16, y[:120]
    return X, sf.MultiInput(image=X.reshape(-1, 8, 8), table=X[:, 20:30]), y


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 3), (6, 2, 3, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_rows_are_flattened_as_by_reshape(shape, dtype):
    X = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    found = sf.Flatten().fit_transform(X)
    assert_array_equal(found, X.reshape(6, -1))
    assert found.dtype == dtype
    assert list(sf.Flatten().fit(X).get_feature_names_out())[:2] == ["x0", "x1"]


def test_several_inputs_come_side_by_side(digits):
    X, inputs, _ = digits
    flat = sf.Flatten().fit(inputs)
    assert_array_equal(flat.transform(inputs), np.hstack([X, X[:, 20:30]]))
    assert flat.get_feature_names_out()[[0, 63, 64]].tolist() == ["image0", "image63", "table0"]
    assert_array_equal(flat.transform(inputs.arrays), flat.transform(inputs))
    mixed = sf.MultiInput(a=scipy.sparse.csr_array(X), b=pd.DataFrame({"c": X[:, 9]}))
    assert_array_equal(sf.Flatten().fit_transform(mixed), np.hstack([X, X[:, 9:10]]))


def test_tables_stay_tables(digits):
    X = digits[0]
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    flat = sf.Flatten().set_output(transform="pandas").fit(frame)
    pd.testing.assert_frame_equal(flat.transform(frame), frame)
    sparse = sf.Flatten().fit_transform(scipy.sparse.csr_array(X))
    assert_array_equal(sparse.toarray(), X)


def test_an_input_is_picked_as_it_is(digits):
    X, inputs, _ = digits
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    inputs = sf.MultiInput(frame=frame, **inputs.arrays)
    assert sf.Pick("frame").fit_transform(inputs) is frame
    assert sf.Pick("frame").fit(inputs).get_feature_names_out().tolist() == ["a", "b"]
    assert sf.Pick("table").fit(inputs).get_feature_names_out()[:2].tolist() == ["table0", "table1"]
    both = sf.Pick(["table", "image"]).fit_transform(inputs)
    assert repr(both) == "MultiInput(table=(120, 10), image=(120, 8, 8))"
    named = sf.Pick("table").set_output(transform="pandas").fit_transform(inputs)
    assert list(named.columns)[-1] == "table9"
    image = sf.Pick("image").set_output(transform="pandas").fit(inputs)
    assert image.transform(inputs).shape == (120, 8, 8)
    assert not hasattr(image, "get_feature_names_out")


@pytest.mark.parametrize("step", [sf.Flatten(), sf.Pick("table")], ids=str)
def test_they_are_cloned_and_pickled(digits, step):
    inputs = digits[1]
    assert clone(step).get_params() == step.get_params()
    fitted = clone(step).fit(inputs)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.transform(inputs), fitted.transform(inputs))


def test_what_they_cannot_do_is_said(digits):
    X, inputs, _ = digits
    with pytest.raises(ValueError, match=r"rows of shape \(4, 16\).*fitted on rows of shape"):
        sf.Flatten().fit(X.reshape(-1, 8, 8)).transform(X.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match=r"one ndarray: pass X = sf.MultiInput\(table=...\)"):
        sf.Pick("table").fit(X)
    with pytest.raises(ValueError, match=r"not an input of X\. Choose 'image' or 'table'"):
        sf.Pick("tables").fit(inputs)


def two_inputs(meta):
    import keras

    image, table = keras.Input((8, 8), name="image"), keras.Input((10,), name="table")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
    return keras.Model([image, table], keras.layers.Dense(3, "softmax")(both))


def test_a_stack_of_a_network_of_images_and_a_pipeline_on_pixels(digits):
    X, inputs, y = digits
    images = inputs["image"]
    on_pixels = make_pipeline(sf.Flatten(), PCA(5), LogisticRegression())
    bases = [("net", sf.KerasClassifier(build_classifier, epochs=2)), ("pixels", on_pixels)]
    stack = sf.StackingClassifier(bases, cv=3, random_state=0).fit(images, y)
    wanted = cross_val_predict(
        make_pipeline(PCA(5), LogisticRegression()),
        X,
        y,
        cv=[(fold.train, fold.test) for fold in stack.oof_.folds],
        method="predict_proba",
    )
    found = stack.oof_.to_frame().filter(like="pixels").to_numpy()
    assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert stack.score(images, y) > 0.9


def test_a_stack_over_several_inputs(digits):
    X, inputs, y = digits
    on_table = make_pipeline(sf.Pick("table"), RandomForestClassifier(5, random_state=0))
    on_image = make_pipeline(
        sf.Pick("image"), sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    )
    on_both = make_pipeline(sf.Pick(["table", "image"]), sf.Flatten(), PCA(3), LogisticRegression())
    network = sf.KerasClassifier(two_inputs, epochs=2)
    bases = [("net", network), ("table", on_table), ("image", on_image), ("both", on_both)]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(inputs, y)
    folds = [(fold.train, fold.test) for fold in stack.oof_.folds]
    plain = make_pipeline(PCA(3), LogisticRegression())
    both = np.hstack([inputs["table"], X])
    wanted = cross_val_predict(plain, both, y, cv=folds, method="predict_proba")
    found = stack.oof_.to_frame().filter(like="both").to_numpy()
    assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert "side by side" in stack.engine_["image"]
    grid = {"table__randomforestclassifier__max_depth": [1, 4]}
    search = sf.GridSearchCV(stack, grid, cv=2, scoring="neg_log_loss").fit(inputs, y)
    assert search.best_estimator_.predict(inputs[:3]).shape == (3,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
