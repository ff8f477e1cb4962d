"""scikit-learn's own checks of what an estimator has to do."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import stackfuse as sf


def build(meta):
    """Return a network that learns the checks' small data within seconds."""
    import keras

    activation = {"multilabel-indicator": "sigmoid", "binary": "softmax", "multiclass": "softmax"}
    kind = meta["target_type_"]
    model = keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(meta["n_outputs_"], activation=activation.get(kind)),
        ]
    )
    losses = {"multilabel-indicator": "binary_crossentropy"}
    loss = "mse" if meta["classes_"] is None else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.03), losses.get(kind, loss))
    return model


def mini_batches(estimator):
    """Say which checks no estimator that trains in batches can pass."""
    reason = "a row of weight 2 is in one batch; a row given twice can be in two"
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in kinds}


@pytest.mark.slow
@parametrize_with_checks(
    [
        sf.KerasClassifier(build, epochs=20, random_state=0),
        sf.KerasRegressor(build, epochs=20, random_state=0),
        sf.FusionClassifier(learning_rate=0.1, epochs=50, random_state=0),
        sf.FusionRegressor(epochs=50, random_state=0),
    ],
    expected_failed_checks=mini_batches,
    xfail_strict=True,
)
def test_check_estimator(estimator, check):
    check(estimator)
