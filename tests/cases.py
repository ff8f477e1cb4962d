"""Tables of cases that several tests read."""

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

import stackfuse as sf

SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    MinMaxScaler((-1, 2), clip=True),
    MaxAbsScaler(),
    RobustScaler(with_centering=False),
]

CLASSIFIERS = [
    LogisticRegression(max_iter=500),
    LinearDiscriminantAnalysis(),
    LinearSVC(random_state=0),
    Perceptron(random_state=0),
    RidgeClassifier(),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="hinge", random_state=0),
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(10, random_state=0),
    ExtraTreesClassifier(10, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    make_pipeline(StandardScaler(), LogisticRegression()),
    sf.FusionClassifier(epochs=2, random_state=0),
    sf.FusionClassifier(hidden_units=(4,), epochs=2, random_state=0),
]

REGRESSORS = [
    LinearRegression(),
    Ridge(),
    RidgeCV(),
    ElasticNet(),
    BayesianRidge(),
    LinearSVR(random_state=0),
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(random_state=0),
    RandomForestRegressor(10, random_state=0),
    ExtraTreesRegressor(10, random_state=0),
    GradientBoostingRegressor(n_estimators=5, random_state=0),
    HistGradientBoostingRegressor(max_iter=5, random_state=0),
    HistGradientBoostingRegressor(loss="poisson", max_iter=5, random_state=0),
    make_pipeline(RobustScaler(), Ridge()),
    sf.FusionRegressor(epochs=2, random_state=0),
]


def name(estimator) -> str:
    """Return a short name for a test's id."""
    return str(estimator).split("(")[0]


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
