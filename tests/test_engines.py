import numpy as np
import pytest
from cases import build_classifier
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

import stackfuse as sf
from stackfuse._folds import draw_folds, whole
from stackfuse.engines import SequentialEngine, engine_named, replica


def test_sequential_equals_cross_val_predict(iris):
    X, y = iris
    cv = StratifiedKFold(3)
    folds = draw_folds(cv, X, y, classifier=True)
    fits = SequentialEngine().fit_folds(
        LogisticRegression(), X, y, [*folds, whole(len(y))], method="predict_proba"
    )
    wanted = cross_val_predict(LogisticRegression(), X, y, cv=cv, method="predict_proba")
    for fold, prediction in zip(folds, fits.predictions):
        assert_array_equal(prediction, wanted[fold.test])
    assert fits.predictions[-1] is None
    assert_array_equal(fits.estimators[-1].coef_, LogisticRegression().fit(X, y).coef_)


def test_sample_weights_are_cut_to_the_fold(iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(size=len(y))
    (fold, *_) = draw_folds(3, X, y, classifier=True)
    fits = SequentialEngine().fit_folds(
        LogisticRegression(),
        X,
        y,
        [fold],
        method="predict_proba",
        fit_params={"sample_weight": weight},
    )
    wanted = LogisticRegression().fit(X[fold.train], y[fold.train], weight[fold.train])
    assert_array_equal(fits.predictions[0], wanted.predict_proba(X[fold.test]))


def test_keras_folds_equal_a_loop_of_plain_keras(iris):
    import keras

    X, y = iris
    folds = draw_folds(3, X, y, classifier=True)
    base = sf.KerasClassifier(build_classifier, dropout=0.2, epochs=3, batch_size=16)
    fits = SequentialEngine().fit_folds(
        base, X, y, folds, method="predict_proba", seeds=[10, 11, 12]
    )
    for k, (train, test) in enumerate(folds):
        seed = fits.estimators[k].random_state
        keras.utils.set_random_seed(seed)
        meta = {"n_features_in_": 4, "X_shape_": (len(train), 4), "n_classes_": 3}
        model = build_classifier(meta, dropout=0.2)
        model.compile("adam", "sparse_categorical_crossentropy")
        rows = X[train].astype("float32")
        for epoch in range(3):
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            model.fit(rows[order], y[train][order], batch_size=16, shuffle=False, verbose=0)
        wanted = model.predict(X[test].astype("float32"), verbose=0)
        assert_allclose(fits.predictions[k], wanted, atol=1e-5)
        assert len(fits.histories[k]["loss"]) == 3


def test_replica_seeds_only_what_is_unset():
    pipe = make_pipeline(RandomForestClassifier(), RandomForestClassifier(random_state=3))
    twin = replica(pipe, 0)
    assert isinstance(twin.steps[0][1].random_state, int)
    assert twin.steps[1][1].random_state == 3
    assert replica(pipe, None).steps[0][1].random_state is None
    assert replica(pipe, 0).steps[0][1].random_state == twin.steps[0][1].random_state
    assert replica(pipe, 1).steps[0][1].random_state != twin.steps[0][1].random_state


def test_unknown_engine():
    with pytest.raises(ValueError, match="engine must be 'auto' or 'sequential', got 'fast'"):
        engine_named("fast")
