"""Small networks. Importing them is cheap: worker processes of tests need no TensorFlow for it."""


def build_classifier(meta, units=8, dropout=0.0, logits=False):
    """Return a small network with softmax or logits over all classes."""
    import keras

    n_classes = meta["n_classes_"]
    return keras.Sequential(
        [
            keras.Input(meta["X_shape_"][1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(n_classes, activation=None if logits else "softmax"),
        ]
    )


def build_sigmoid(meta, logits=False):
    """Return a small network with one unit per label, or one for two classes."""
    import keras

    n_units = meta["n_outputs_"] if meta["target_type_"].startswith("multilabel") else 1
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(n_units, activation=None if logits else "sigmoid"),
        ]
    )


def build_regressor(meta, units=8):
    """Return a small network with one linear unit per target column."""
    import keras

    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(meta["n_outputs_"]),
        ]
    )
