import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

import stackfuse as sf
from stackfuse._export.converters import to_keras  # noqa: F401  registers all converters
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from tests.support.parity import assert_parity

pytestmark = [  # both still work in XGBoost 3.4
    pytest.mark.filterwarnings("ignore:`XGBRF.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings(r"ignore:(?s).*`booster=dart` is deprecated:UserWarning"),
]

XGB: dict[str, Any] = {"n_estimators": 6, "max_depth": 3}
LGBM: dict[str, Any] = {"n_estimators": 6, "num_leaves": 7, "min_child_samples": 5, "verbose": -1}
CAT: dict[str, Any] = {"iterations": 6, "depth": 3, "verbose": 0, "allow_writing_files": False}


def with_holes(X):
    """Return rows with missing values, zeros of both signs, and numbers far outside."""
    X = X.copy()
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.15] = np.nan
    X[:8, 0], X[8:16, 0], X[16:24, 0], X[24:32, 0] = 0.0, -0.0, 1e30, -1e30
    return X


def fitted(models, X, y):
    return [model.fit(X, y) for model in models]


def classifiers():
    return [
        XGBClassifier(**XGB),
        XGBClassifier(**XGB, missing=0.0),
        XGBRFClassifier(n_estimators=4, max_depth=3),
        LGBMClassifier(**LGBM),
        LGBMClassifier(**LGBM, boosting_type="rf", subsample=0.5, subsample_freq=1),
        LGBMClassifier(**LGBM, boosting_type="dart"),
        CatBoostClassifier(**CAT),
        CatBoostClassifier(**CAT, grow_policy="Lossguide", nan_mode="Max"),
    ]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("holes", [False, True])
def test_classifiers(iris, n_classes, holes, tmp_path):
    X, y = iris
    X, y = X[y < n_classes].round(1), y[y < n_classes]
    rows = with_holes(X)
    models = classifiers()
    if n_classes == 3:
        models += [XGBClassifier(**XGB, objective="multi:softmax")]
        models += [LGBMClassifier(**LGBM, objective="multiclassova")]
    models = fitted(models, rows if holes else X, y)
    exact = [model for model in models if not isinstance(model, XGBClassifier)]
    assert_parity(exact, rows, tmp_path / "exact.keras")
    single = [model for model in models if isinstance(model, XGBClassifier)]
    assert_parity(single, rows, tmp_path / "single.keras", 3e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_lightgbm_where_decisions_are_asked_for(iris, n_classes, tmp_path):
    """From version 4.7 on it has a decision_function, which calibration and others prefer."""
    X, y = iris
    X, y = X[y < n_classes], y[y < n_classes]
    models = [
        CalibratedClassifierCV(LGBMClassifier(**LGBM), cv=2),
        OneVsRestClassifier(LGBMClassifier(**LGBM)),
    ]
    assert_parity(fitted(models, X, y), X, tmp_path / "decisions.keras")


def test_numbers_that_float32_keeps_but_tensorflow_takes_for_zero(tmp_path):
    """Trees over probabilities see such numbers, and split between them."""
    random = np.random.default_rng(0)
    X = np.concatenate([10.0 ** -random.uniform(36, 45.5, 200), [0.0, -1e-40, -1e-44]])[:, None]
    y = np.argsort(np.argsort(X[:, 0])) // 25 % 2
    above_zero = np.repeat([-1.0, 1.0], 20)[:, None]
    exact = [
        CatBoostClassifier(**CAT).fit(X, y),
        *(
            model.fit(above_zero, above_zero[:, 0] > 0)
            for model in (
                DecisionTreeClassifier(),
                RandomForestClassifier(2, random_state=0),
                BaggingClassifier(n_estimators=2, random_state=0),
                GradientBoostingClassifier(n_estimators=2),
            )
        ),
    ]
    assert exact[1].tree_.threshold[0] == 0
    assert 0 < CatBoostClassifier.get_borders(exact[0])[0][0] < np.finfo(np.float32).tiny
    assert_parity(exact, X, tmp_path / "exact.keras")
    boosted = XGBClassifier(**XGB).fit(X, y)
    assert len(np.unique(boosted.predict_proba(X[X[:, 0] < 1e-38]))) > 8
    assert_parity([boosted], X, tmp_path / "single.keras", 3e-7)


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
def test_infinity_is_above_all_borders_of_catboost(policy, tmp_path):
    """Missing values are so too with nan_mode="Max", beyond a border of the largest float32."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[::7, 0] = np.nan
    model = CatBoostRegressor(**CAT, nan_mode="Max", grow_policy=policy)
    model.fit(X, np.where(np.isnan(X[:, 0]), 2.0, X[:, 0]))
    rows = X[:8].copy()
    rows[:4, 0], rows[4:6, 1] = [np.inf, -np.inf, 3e38, 1e30], [np.inf, -np.inf]
    assert_parity([model], rows, tmp_path / "model.keras")
    graph = sf.to_keras(model, precision="float32")
    assert_allclose(graph(rows.astype("float32"))["prediction"], model.predict(rows), rtol=1e-6)


def test_regressors(diabetes, tmp_path):
    X, y = diabetes
    rows = with_holes(X)
    exact = [
        *(LGBMRegressor(**LGBM, objective=name) for name in ("l2", "l1", "quantile", "poisson")),
        LGBMRegressor(**LGBM, objective="tweedie"),
        LGBMRegressor(**LGBM, reg_sqrt=True),
        *(CatBoostRegressor(**CAT, loss_function=name) for name in ("RMSE", "Quantile", "Poisson")),
    ]
    assert_parity(fitted(exact, rows, y), rows, tmp_path / "exact.keras")
    single = [
        *(XGBRegressor(**XGB, objective=f"reg:{n}") for n in ("squarederror", "gamma", "tweedie")),
        XGBRegressor(**XGB, objective="count:poisson"),
        XGBRegressor(**XGB, objective="reg:quantileerror", quantile_alpha=[0.2, 0.8]),
        XGBRFRegressor(n_estimators=4, max_depth=3),
    ]
    single = [*fitted(single, rows, y), XGBRegressor(**XGB, objective="reg:logistic")]
    assert_parity(
        [*single[:-1], single[-1].fit(rows, y > 150)], rows, tmp_path / "single.keras", 3e-7
    )
    several = np.column_stack([y, -y])
    models = [XGBRegressor(**XGB), CatBoostRegressor(**CAT, loss_function="MultiRMSE")]
    assert_parity(fitted(models, X, several), X, tmp_path / "several.keras", 3e-7)


def test_sums_in_float32_are_equal_to_the_last_bit(diabetes):
    """XGBoost adds float32 numbers one after another, and so does the graph."""
    X, y = diabetes
    model = XGBRegressor(n_estimators=60, max_depth=3).fit(X, y)
    got = np.asarray(sf.to_keras(model)(X)["prediction"])
    assert_array_equal(got, model.predict(X))


@pytest.mark.parametrize("objective", ["binary:hinge", "reg:logistic"])
@pytest.mark.parametrize("base_score", [None, 0.3])
def test_other_objectives_of_two_classes(iris, tmp_path, objective, base_score):
    X, y = iris
    settings = {} if base_score is None else {"base_score": base_score}
    model = XGBClassifier(**XGB, objective=objective, **settings).fit(X, (y == 1).astype(int))
    assert_parity([model], X, tmp_path / "two.keras", 3e-7)
    stack = sf.StackingClassifier([("xgb", model)], cv=2, random_state=0).fit(X, y == 1)
    assert sf.export(stack, tmp_path / "stack.onnx", verify=X).max_difference < 1e-6


@pytest.mark.parametrize("booster", ["xgboost", "lightgbm", "catboost"])
def test_rows_on_the_thresholds(iris, booster):
    X, y = iris
    X = X.round(1)
    model = {
        "xgboost": XGBClassifier(**XGB),
        "lightgbm": LGBMClassifier(**LGBM),
        "catboost": CatBoostClassifier(**CAT),
    }[booster].fit(X, y)
    middles = (X[:, None] + X[None, :50]) / 2
    rows = middles.reshape(-1, 4)
    rows = np.vstack([rows, rows.astype(np.float32), np.nextafter(rows, np.inf)])
    graph = sf.to_keras(model)
    assert_array_equal(graph(rows)["label"], np.ravel(model.predict(rows)))
    assert_allclose(graph(rows)["probabilities"], model.predict_proba(rows), atol=3e-7)


def test_thresholds_at_zero():
    """XGBoost asks whether x < 0; 0 itself goes right, although no normal float32 lies between."""
    X = np.array([[-1.0], [-1e-20], [0.0], [1e-20], [1.0]] * 20)
    y = (X[:, 0] >= 0).astype(int)
    model = XGBClassifier(n_estimators=3, min_child_weight=0).fit(X, y)
    for precision in ("float64", "float32"):
        got = sf.to_keras(model, precision=precision)(X)
        assert_array_equal(got["label"], model.predict(X))
        assert_allclose(got["probabilities"], model.predict_proba(X), atol=3e-7)


def test_only_the_best_iterations_count(iris, tmp_path):
    X, y = iris
    noisy = np.where(np.random.default_rng(0).uniform(size=len(y)) < 0.3, 0, y)
    half = {"eval_set": [(X[100:], noisy[100:])]}
    xgb = XGBClassifier(n_estimators=60, early_stopping_rounds=2)
    xgb.fit(X[:100], noisy[:100], **half, verbose=False)
    cat = CatBoostClassifier(**CAT | {"iterations": 60}, early_stopping_rounds=2)
    cat.fit(X[:100], noisy[:100], **half)
    assert xgb.best_iteration < 57
    assert cat.tree_count_ < 57
    assert_parity([xgb, cat], X, tmp_path / "all.keras", 3e-7)


def test_stacks_of_boosters(iris, tmp_path):
    X, y = iris
    bases = [
        ("xgb", XGBClassifier(**XGB)),
        ("lgbm", LGBMClassifier(**LGBM)),
        ("cat", CatBoostClassifier(**CAT)),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, y)
    assert_parity([stack], X, tmp_path / "stack.keras", 1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (XGBClassifier(**XGB, booster="dart", rate_drop=0.5), "XGBClassifier.*(dart|rate_drop)"),
        (XGBClassifier(**XGB, objective="binary:logitraw"), "objective='binary:logitraw'"),
        (LGBMClassifier(**LGBM, zero_as_missing=True), "zero_as_missing=True"),
        (LGBMClassifier(**LGBM, linear_tree=True), "linear_tree=True"),
        (CatBoostClassifier(**CAT, loss_function="Focal:focal_alpha=0.5;focal_gamma=1"), "Focal"),
    ],
    ids=str,
)
def test_what_is_refused(model, message):
    X = np.random.default_rng(0).normal(size=(200, 3))
    with pytest.raises(sf.NotConvertible, match=message):
        sf.to_keras(model.fit(X, X[:, 0] > 0))


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (XGBClassifier(**XGB, enable_categorical=True), "category"),
        (LGBMClassifier(**LGBM, min_data_per_group=5), "category"),
        (CatBoostClassifier(**CAT, cat_features=["a"]), "int"),
    ],
    ids=str,
)
def test_splits_on_categories_are_refused(model, dtype):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.integers(0, 6, 200), "b": rng.normal(size=200)})
    with pytest.raises(sf.NotConvertible, match=r"Encode .* OneHotEncoder"):
        sf.to_keras(model.fit(X.astype({"a": dtype}), X["a"] % 2))


def test_the_boosters_are_imported_by_nobody_else():
    code = "import stackfuse, stackfuse._export, sys; print([m for m in sys.modules if m in "
    code += "('xgboost', 'lightgbm', 'catboost')])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout.strip() == "[]", process.stderr


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(**XGB),
        LGBMClassifier(**LGBM),
        CatBoostClassifier(**CAT),
        GradientBoostingClassifier(n_estimators=4),
    ],
)
def test_labels_and_probabilities_read_the_trees_once(model, iris):
    build = Build()
    build_graph(model.fit(*iris), iris[0], build)
    assert len(build.n_trees) == 1
