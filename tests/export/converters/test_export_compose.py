import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.ensemble import StackingClassifier as TheirStackingClassifier
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from tests.support.parity import assert_parity

LOGISTIC = LogisticRegression(max_iter=300)
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
FOREST = RandomForestClassifier(5, random_state=0)
BASES = [("lr", LOGISTIC), ("tree", TREE), ("forest", FOREST)]
LINES = [("ls", LinearRegression()), ("ridge", Ridge(100)), ("tree", DecisionTreeRegressor())]


@pytest.fixture(scope="module")
def data(iris):
    """Return the rows to fit on, their classes, and all rows with some far outside."""
    X, y = iris
    return X[::2], y[::2], np.vstack([X, X[:20] * 1e3, -X[:20]])


@pytest.fixture(scope="module")
def lines(diabetes):
    X, y = diabetes
    return X[::2], y[::2], np.vstack([X, X[:20] * 1e3])


def fitted(models, X, y):
    return [clone(model).fit(X, y) for model in models]


VOTING = [
    VotingClassifier(BASES),
    VotingClassifier([*BASES, ("ridge", RidgeClassifier())], weights=[2, 1, 1, 0.5]),
    VotingClassifier(BASES, voting="soft"),
    VotingClassifier(BASES, voting="soft", weights=[3, 1, 2]).set_params(tree="drop"),
]
BAGGING = [
    BaggingClassifier(n_estimators=7, max_features=0.5, random_state=0),
    BaggingClassifier(LOGISTIC, 3, max_samples=10, max_features=2, random_state=0),
    BaggingClassifier(LinearSVC(), 4, random_state=0),
    BaggingClassifier(n_estimators=3, max_features=1, random_state=0),
    BaggingClassifier(n_estimators=9, max_samples=3, random_state=3),  # some lack a class
    BaggingClassifier(LinearSVC(), 9, max_samples=6, random_state=3),
]
BOOSTING = [
    AdaBoostClassifier(n_estimators=8, random_state=0),
    AdaBoostClassifier(LOGISTIC, n_estimators=4, random_state=0),
]
CALIBRATED = [
    CalibratedClassifierCV(base, method=method, ensemble=ensemble, cv=3)
    for base in (LOGISTIC, TREE)
    for method in ("sigmoid", "isotonic", "temperature")
    for ensemble in (True, False)
]
MULTICLASS = [
    OneVsRestClassifier(LOGISTIC),
    OneVsRestClassifier(LinearSVC()),
    OneVsRestClassifier(TREE),
    OneVsRestClassifier(Ridge()),
    OneVsOneClassifier(LOGISTIC),
    OneVsOneClassifier(TREE),
    OutputCodeClassifier(LOGISTIC, random_state=1),
    OutputCodeClassifier(TREE, code_size=3, random_state=0),
]
OTHERS = [
    RFE(LOGISTIC, n_features_to_select=2),
    *(DummyClassifier(strategy=s) for s in ("prior", "most_frequent")),
    DummyClassifier(strategy="constant", constant=1),
]


@pytest.mark.parametrize(
    "models",
    [VOTING, BAGGING, BOOSTING, CALIBRATED, MULTICLASS, OTHERS],
    ids=["voting", "bagging", "adaboost", "calibrated", "multiclass", "others"],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_of_classifiers(data, models, n_classes, tmp_path):
    X, y, rows = data
    few = y < n_classes
    labels = np.array([30, 10, 20])[y]  # not in the order of the numbers of classes
    if models is CALIBRATED:
        labels = y  # scikit-learn's temperature takes labels for places, and reads beyond its array
    models = [m for m in models if type(m) is not DummyClassifier or m.strategy != "constant"] + [
        clone(m).set_params(constant=10) for m in models if getattr(m, "constant", None)
    ]
    assert_parity(fitted(models, X[few], labels[few]), rows, tmp_path / "all.keras")


def test_output_codes_far_out(data, tmp_path):
    """There all codes are equally near, as far as float64 can tell."""
    X, y, rows = data
    model = OutputCodeClassifier(LOGISTIC, code_size=2, random_state=0).fit(X, y)
    assert_parity([model], np.vstack([rows, 1e16 * rows, -1e30 * rows]), tmp_path / "codes.keras")


def test_regressors_of_regressors(lines, tmp_path):
    X, y, rows = lines
    models = [
        VotingRegressor(LINES),
        VotingRegressor(LINES, weights=[1, 2, 3]).set_params(ridge="drop"),
        BaggingRegressor(n_estimators=5, max_features=0.5, random_state=0),
        BaggingRegressor(Ridge(), 5, max_samples=0.3, random_state=0),
        AdaBoostRegressor(n_estimators=7, random_state=0),
        AdaBoostRegressor(Ridge(), n_estimators=7, random_state=0, loss="square"),
        DummyRegressor(strategy="quantile", quantile=0.3),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        TransformedTargetRegressor(Ridge(), transformer=MinMaxScaler((1, 2))),
        TransformedTargetRegressor(Ridge(), transformer=RobustScaler()),
        TransformedTargetRegressor(
            Ridge(), transformer=make_pipeline(MaxAbsScaler(), FunctionTransformer())
        ),
    ]
    assert_parity(fitted(models, X, y), rows, tmp_path / "all.keras")
    moderate = rows[: len(rows) - 20]
    models = [
        TransformedTargetRegressor(Ridge(), func=f, inverse_func=g)
        for f, g in ((np.log, np.exp), (np.log1p, np.expm1), (np.sqrt, np.square))
    ]
    assert_parity(fitted(models, X, y), moderate, tmp_path / "functions.keras", 1e-12)


def test_several_targets(data, lines, tmp_path):
    X, y, rows = data
    Y = np.column_stack([y == 0, y == 1, X[:, 0] > 0]).astype(int)
    several = np.column_stack([y, Y[:, 2]])
    models = [
        *fitted([OneVsRestClassifier(LOGISTIC), OneVsRestClassifier(TREE)], X, Y),
        *fitted([MultiOutputClassifier(TREE), MultiOutputClassifier(LOGISTIC)], X, several),
        *fitted(
            [
                ClassifierChain(LOGISTIC),
                ClassifierChain(LOGISTIC, order=[2, 0, 1], chain_method="predict_proba"),
                ClassifierChain(LinearSVC(), order=[1, 0, 2], chain_method="decision_function"),
                ClassifierChain(TREE, cv=2),
            ],
            X,
            Y,
        ),
    ]
    assert_parity(models, rows, tmp_path / "classes.keras")
    X, y, rows = lines
    targets = np.column_stack([y, -y, X[:, 0]])
    models = [
        MultiOutputRegressor(Ridge()),
        MultiOutputRegressor(DecisionTreeRegressor(max_depth=3)),
        RegressorChain(Ridge(), order=[2, 0, 1]),
        RegressorChain(DecisionTreeRegressor(max_depth=3), cv=2),
        DummyRegressor(),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        BaggingRegressor(n_estimators=3, random_state=0),
        BaggingRegressor(Ridge(), n_estimators=3, random_state=0),
    ]
    assert_parity(fitted(models, X, targets), rows, tmp_path / "numbers.keras")


@pytest.mark.parametrize("response", ["predict_proba", "decision_function"])
def test_thresholds(cancer, response, tmp_path):
    X, y = cancer
    models = [
        FixedThresholdClassifier(LOGISTIC, threshold=t, pos_label=p, response_method=response)
        for t in ("auto", 0.3)
        for p in (None, "benign", "malignant")
        if p or t == "auto"
    ]
    tuned = TunedThresholdClassifierCV(LOGISTIC, response_method=response, cv=2)
    for model in models:
        if model.pos_label is None:
            model.set_params(pos_label="malignant")
    assert_parity(fitted([*models, tuned], X, y), X, tmp_path / "all.keras")


def test_thresholds_on_the_shares_of_trees(cancer, tmp_path):
    """Rows of a tree share their probabilities, so the best threshold is one of them."""
    X, y = cancer
    model = TunedThresholdClassifierCV(TREE, cv=2).fit(X, y == "benign")
    prior = FixedThresholdClassifier(TREE, threshold=TREE.fit(X, y).predict_proba(X)[0, 1])
    prior.set_params(pos_label="malignant")
    assert_parity([model, prior.fit(X, y)], X, tmp_path / "all.keras")


def test_prefit_calibration_and_one_class_of_three(data, tmp_path):
    X, y, rows = data
    prefit = CalibratedClassifierCV(FrozenEstimator(clone(LOGISTIC).fit(X, y)), method="isotonic")
    Y = np.column_stack([y == 0, np.ones(len(y)), y == 2]).astype(int)
    with pytest.warns(UserWarning, match="present in all training examples"):
        constant = OneVsRestClassifier(LOGISTIC).fit(X, Y)
    assert_parity([prefit.fit(X, y), constant], rows, tmp_path / "all.keras")


MULTILABEL = [("tree", TREE), ("many", MultiOutputClassifier(LOGISTIC)), ("one", FOREST)]


@pytest.mark.parametrize(
    "final", [None, RandomForestClassifier(5, random_state=0), OneVsRestClassifier(LOGISTIC)]
)
@pytest.mark.parametrize("method", ["auto", "predict"])
def test_stacks_with_several_labels(data, final, method, tmp_path):
    X, y, rows = data
    Y = np.column_stack([y == 0, y == 1, X[:, 0] > 0]).astype(int)
    stack = sf.StackingClassifier(MULTILABEL, final, cv=2, stack_method=method, random_state=0)
    models = fitted([stack, clone(stack).set_params(refit=False, passthrough=[0, -1])], X, Y)
    if final is not None and not isinstance(final, OneVsRestClassifier):
        models += fitted([TheirStackingClassifier(MULTILABEL, final, cv=2, passthrough=True)], X, Y)
    assert_parity(models, rows, tmp_path / "all.keras", 1e-12)


def test_stacks_of_compositions(data, lines, tmp_path):
    X, y, rows = data
    bases = [
        ("voting", VOTING[2]),
        ("calibrated", CALIBRATED[2]),
        ("pairs", OneVsOneClassifier(LOGISTIC)),
        ("code", OutputCodeClassifier(TREE, random_state=0)),
        ("gone", "drop"),
    ]
    final = AdaBoostClassifier(n_estimators=5, random_state=0)
    mask = [True, False, False, True]
    stack = sf.StackingClassifier(bases, final, cv=2, passthrough=mask, random_state=0)
    theirs = TheirStackingClassifier(bases, BaggingClassifier(random_state=0), cv=2)
    assert_parity(fitted([stack, theirs], X, y), rows[:150], tmp_path / "classes.keras", 1e-10)
    X, y, rows = lines
    bases = [("ada", AdaBoostRegressor(n_estimators=3, random_state=0)), *LINES]
    stack = sf.StackingRegressor(bases, cv=2, refit=False, random_state=0)
    several = [("chain", RegressorChain(Ridge())), ("many", MultiOutputRegressor(Ridge()))]
    wide = sf.StackingRegressor(several, Ridge(), cv=2, random_state=0)
    models = [stack.fit(X, y), wide.fit(X, np.column_stack([y, -y]))]
    assert_parity(models, rows, tmp_path / "numbers.keras", 1e-12)


def test_a_fitted_base_that_predicts_labels(data, tmp_path):
    X, y, rows = data
    words = np.array(["c", "a", "b"])[y]
    bases = [("kept", FrozenEstimator(clone(TREE).fit(X, words))), ("tree", TREE)]
    stack = sf.StackingClassifier(bases, LOGISTIC, cv=2, stack_method="predict", random_state=0)
    assert_parity([stack.fit(X, words)], rows, tmp_path / "all.keras")


def test_labels_that_were_guessed(data, tmp_path):
    X, y, rows = data
    model = SelfTrainingClassifier(LOGISTIC).fit(X, np.where(np.arange(len(y)) % 3, y, -1))
    assert_parity([model], rows, tmp_path / "model.keras")


def test_inputs_passed_through_by_name(tmp_path):
    import keras

    rng = np.random.default_rng(0)
    X = sf.MultiInput(image=rng.normal(size=(40, 3, 3)), table=rng.normal(size=(40, 2)))
    y = (X["table"][:, 0] > 0).astype(int)

    def build():
        image, table = keras.Input((3, 3), name="image"), keras.Input((2,), name="table")
        both = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
        return keras.Model([image, table], keras.layers.Dense(1, "sigmoid")(both))

    bases = [("net", sf.KerasClassifier(build)), ("prior", DummyClassifier())]
    stack = sf.StackingClassifier(bases, FOREST, cv=2, passthrough=["table", "image"])
    stack.fit(X, y)
    sf.export(stack, tmp_path / "stack.keras", verify=X)
    got = keras.models.load_model(tmp_path / "stack.keras")(dict(X.arrays))
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DummyClassifier(strategy="stratified"), "draws its probabilities at random"),
        (DummyClassifier(strategy="uniform"), "draws its labels at random"),
        (VotingClassifier(BASES, weights=[1, -1, 1]), "negative weights"),
    ],
    ids=str,
)
def test_what_is_refused(data, model, message):
    X, y, _ = data
    with pytest.raises(sf.NotConvertible, match=message):
        sf.to_keras(model.fit(X, y))


def test_functions_of_the_target_without_a_twin(lines):
    X, y, _ = lines
    model = TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=lambda y: y**3)
    with pytest.raises(sf.NotConvertible, match="'<lambda>' of TransformedTargetRegressor"):
        sf.to_keras(model.fit(X, y))
