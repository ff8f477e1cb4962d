"""Rows held out for validation, and the weights of the others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import compute_sample_weight

import stackfuse as sf
from stackfuse._networks.holdout import hold_out
from stackfuse._networks.target import class_weights
from tests.support.networks import build_classifier, build_regressor

META = {"n_features_in_": 4, "X_shape_": (150, 4), "n_classes_": 3}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [{0: 0.2, 1: 1.0, 2: 6.0}, "balanced"])
def test_classes_are_weighed_in_training_alone_as_in_keras(iris, weighted, class_weight):
    import keras

    X, y = iris
    X, y = X[:120].astype("float32"), y[:120]
    sample_weight = np.linspace(0.5, 2, 120).astype("float32")
    settings = {"epochs": 2, "shuffle": False, "validation_split": 0.25, "random_state": 1}
    network = sf.KerasClassifier(build_classifier).set_params(**settings)
    network.set_params(class_weight=class_weight).fit(
        X, y, sample_weight=sample_weight if weighted else None
    )

    kept, held_out = hold_out(120, 0.25, 1, y, None)
    by_class = class_weight
    if class_weight == "balanced":
        by_class = dict(enumerate(120 / (3 * np.bincount(y))))
    validation = [X[held_out], y[held_out]]
    weights = {}
    if weighted:  # Keras takes one or the other
        weights["sample_weight"] = sample_weight[kept] * [by_class[label] for label in y[kept]]
        validation.append(sample_weight[held_out])
    else:
        weights["class_weight"] = by_class
    keras.utils.set_random_seed(1)
    model = build_classifier(META)
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(
        X[kept],
        y[kept],
        epochs=2,
        shuffle=False,
        validation_data=tuple(validation),
        verbose=0,
        **weights,
    ).history
    for name in ("loss", "val_loss"):
        assert_allclose(network.history_[name], history[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({0: 1.0, 7: 2.0}, r"class_weight names 7, but the classes are \[0, 1, 2\]"),
        ({0: -1.0}, "class_weight gives 0 the weight -1.0. Weights must be numbers of at least 0"),
        ({0: np.nan}, "class_weight gives 0 the weight nan"),
        ({0: "2"}, "class_weight gives 0 the weight '2'"),
        ("balance", "class_weight must be a dict of label to weight, or 'balanced', got 'balance'"),
        ([1, 2, 3], r"class_weight must be a dict .* got \[1, 2, 3\]"),
    ],
)
def test_wrong_class_weights(iris, class_weight, message):
    with pytest.raises(ValueError, match=message):
        sf.KerasClassifier(build_classifier, class_weight=class_weight).fit(*iris)


def test_class_weights_of_labels_that_are_text_or_come_in_several_columns():
    numbers = np.array([0, 1, 1, 0])
    classes = np.array(["a", "b"])
    assert_array_equal(class_weights({"b": 3.0}, numbers, classes), [1, 3, 3, 1])
    table = np.column_stack([numbers, [0, 0, 1, 1]])
    weights = [{"b": 3.0}, {0: 0.5}]
    assert_array_equal(class_weights(weights, table, [classes, np.arange(2)]), [0.5, 1.5, 3.0, 1.0])
    for columns in (table, numbers):
        assert_allclose(
            class_weights("balanced", columns, classes), compute_sample_weight("balanced", columns)
        )
    with pytest.raises(ValueError, match="must be a list of 2 dicts, one per column of y,"):
        class_weights({0: 1.0}, table, classes)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.75])
def test_groups_are_held_out_with_all_classes(fraction):
    rng = np.random.default_rng(0)
    groups = rng.integers(20, size=400)
    y = (groups < 4).astype(int)  # each group is of one class
    kept, held_out = hold_out(400, fraction, 3, y, groups)
    assert not set(groups[kept]) & set(groups[held_out])
    assert_array_equal(np.sort(np.r_[kept, held_out]), np.arange(400))
    assert_allclose(len(held_out) / 400, fraction, atol=0.1)
    assert_allclose(y[held_out].mean(), y[kept].mean(), atol=0.12)
    assert_array_equal(hold_out(400, fraction, 3, y, groups)[1], held_out)


def test_few_groups_and_numbers():
    groups = np.repeat([0, 1, 2], 20)
    _, held_out = hold_out(60, 0.05, 0, np.arange(60) % 2, groups)
    assert len(set(groups[held_out])) == 1
    _, held_out = hold_out(60, 0.3, 0, None, groups)
    assert len(set(groups[held_out])) == 1


@pytest.mark.parametrize("fraction", [0.25, 0.1, 0.37])
def test_the_last_rows_are_those_that_keras_holds_out(iris, fraction):
    import keras

    X, y = iris[0][:, :3].astype("float32"), iris[0][:, 3]
    settings = {"epochs": 2, "shuffle": False, "validation_split": fraction, "random_state": 1}
    network = sf.KerasRegressor(build_regressor, validation="last", **settings)
    network.fit(X, y, groups=np.arange(150))

    keras.utils.set_random_seed(1)
    model = build_regressor(META | {"n_features_in_": 3, "n_outputs_": 1})
    model.compile("adam", "mean_squared_error")
    history = model.fit(X, y, epochs=2, shuffle=False, validation_split=fraction, verbose=0).history
    for name in ("loss", "val_loss"):
        assert_allclose(network.history_[name], history[name], rtol=1e-5)


@pytest.mark.parametrize("network", ["classifier", "regressor"])
def test_splits_that_cannot_be_made(iris, network):
    X, y = iris
    classifier = sf.KerasClassifier(build_classifier, validation_split=0.3)
    regressor = sf.KerasRegressor(build_regressor, validation_split=0.3)
    estimator = {"classifier": classifier, "regressor": regressor}[network]
    with pytest.raises(ValueError, match=r"validation_split=0\.3 cannot be held out: all rows"):
        estimator.fit(X, y, groups=np.zeros(150))
    alone = np.where(np.arange(150) == 0, 9, y)
    with pytest.raises(ValueError, match=r"validation_split=0.3 cannot be held out: The least pop"):
        classifier.fit(X, alone)
    for wrong in ("0.2", np.nan, -0.1, True):
        with pytest.raises(
            ValueError, match="validation_split must be at least 0 and below 1, got"
        ):
            estimator.set_params(validation_split=wrong).fit(X, y)
    estimator.set_params(validation_split=0.999, validation="last")
    with pytest.raises(
        ValueError, match=r"held out: 0 of 150 rows would be left to train on\. Pass"
    ):
        estimator.fit(X, y)
    for wrong in ("first", True, None):
        with pytest.raises(ValueError, match="validation must be 'auto', 'random' or 'last', got"):
            estimator.set_params(validation=wrong).fit(X, y)
