"""Every estimator that scikit-learn lists, as base, as meta-learner and before a model.

Run as a script, it writes the table of what converts into the page.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances

import stackfuse as sf
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.graph.reasons import REASONS

PAGE = Path(__file__).parents[2] / "docs" / "tables" / "exports.md"
BEGIN, END = "<!-- written by tests/support/sweep.py -->", "<!-- end -->"

#: Rows that the models are fitted on; the graphs are compared on more.
FITTED = 60

#: Settings of estimators that the sweep's data need.
SETTINGS: dict[str, dict[str, Any]] = {
    "Birch": {"threshold": 2.0},  # the distance of a row to itself is rounding alone
    "DictionaryLearning": {"transform_algorithm": "threshold"},  # others search for each row
    "DummyClassifier": {"strategy": "prior"},  # the default in the sweep draws random numbers
    "FunctionTransformer": {"func": np.log1p},
    "IsotonicRegression": {"out_of_bounds": "clip"},
    "KNeighborsClassifier": {"weights": "distance"},  # of neighbours at one distance any is taken
    "KNeighborsRegressor": {"weights": "distance"},
    "MiniBatchDictionaryLearning": {"transform_algorithm": "threshold"},
    "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "RadiusNeighborsClassifier": {"radius": 50.0, "weights": "distance"},
    "RadiusNeighborsRegressor": {"radius": 50.0, "weights": "distance"},
    "SelectFdr": {"alpha": 0.9},
    "SelectFpr": {"alpha": 0.9},
    "SelectFwe": {"alpha": 0.9},
    "SequentialFeatureSelector": {"estimator": Ridge()},
    "SparseCoder": {"dictionary": np.eye(4), "transform_algorithm": "threshold"},
    "StackingClassifier": {"final_estimator": LogisticRegression()},
    "StackingRegressor": {"final_estimator": LinearRegression()},
}

#: Targets of two columns only.
OF_COLUMNS = (
    *("CCA", "ClassifierChain", "MultiOutputClassifier", "MultiOutputRegressor"),
    *("MultiTaskElasticNet", "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV"),
    *("PLSCanonical", "RegressorChain"),
)

#: The one is what it holds; the other's ``fit_transform`` returns a pair, so no pipeline has it.
NOT_TRIED = ("FrozenEstimator", "PLSSVD")

#: Tasks of estimators that do not learn all that their kind does.
ONLY = {
    "ClassifierChain": ("binary",),  # of two columns, which is multilabel
    "FixedThresholdClassifier": ("binary",),
    "KNNImputer": ("binary",),  # the other rows have neighbours at equal distances
    "LinearDiscriminantAnalysis-transformer": ("multiclass",),
    "MultiOutputClassifier": ("binary",),
    "NeighborhoodComponentsAnalysis": ("multiclass",),
    "TunedThresholdClassifierCV": ("binary",),
}

#: Put in front of a base that takes no such features as the sweep's.
BEFORE = {
    "CategoricalNB": KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "IsotonicRegression": SelectKBest(k=1),
}


@dataclass(frozen=True)
class Subject:
    """One class in one role.

    Attributes
    ----------
    cls : type
    role : {"base", "meta", "transformer"}
    """

    cls: type
    role: str

    @property
    def name(self) -> str:
        return self.cls.__name__

    def __str__(self) -> str:
        return f"{self.name}-{self.role}"

    def tasks(self) -> tuple[str, ...]:
        """Return what it is tried on."""
        if only := ONLY.get(str(self), ONLY.get(self.name)):
            return only
        if self.role == "transformer":
            return "binary", "regression"
        return ("binary", "multiclass") if is_classifier(made(self.cls)) else ("regression",)


def subjects() -> Iterator[Subject]:
    """Return what is to convert: all that there is no reason against."""
    transformers = dict(all_estimators("transformer"))
    for name, cls in all_estimators():
        if name in REASONS or name in NOT_TRIED:
            continue
        predicts = is_classifier(made(cls)) or is_regressor(made(cls))
        if predicts:
            yield Subject(cls, "base")
        # scikit-learn's stacks do not decode the labels of a chain, which are floats.
        if predicts and name != "ClassifierChain":
            yield Subject(cls, "meta")
        if name in transformers and (not predicts or name == "LinearDiscriminantAnalysis"):
            yield Subject(cls, "transformer")


def made(cls: type) -> BaseEstimator:
    """Return a small estimator of a class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of classes to be removed
        estimator = next(iter(_construct_instances(cls)))
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator.set_params(**SETTINGS.get(cls.__name__, {}))


def rows_for(subject: Subject, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 80 rows of 4 positive numbers, none twice, and their targets."""
    rng = np.random.default_rng(0)
    if task == "regression":
        X, y = load_diabetes(return_X_y=True)
        X, y = X[:80, :4] * 20 + 4 + rng.uniform(0, 0.01, (80, 4)), y[:80] / 100
    else:
        X, y = load_iris(return_X_y=True)
        rows = rng.permutation(100 if task == "binary" else 150)[:80]
        X, y = X[rows] + rng.uniform(0, 0.01, (80, 4)), y[rows]
    if subject.name in OF_COLUMNS:
        y = np.column_stack([y, y**2 if task == "regression" else X[:, 0] > 5.5]).astype(y.dtype)
    if subject.name in ("SimpleImputer", "MissingIndicator", "IterativeImputer", "KNNImputer"):
        X = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    if subject.name == "KernelCenterer":
        X = X @ X[:FITTED].T
    return X, y


def model_for(subject: Subject, task: str) -> BaseEstimator:
    """Return a stack or pipeline with an estimator of the class in it."""
    tried = made(subject.cls)
    if task == "regression":
        stack, linear, tree = sf.StackingRegressor, Ridge(), DecisionTreeRegressor(max_depth=3)
    else:
        stack, tree = sf.StackingClassifier, DecisionTreeClassifier(max_depth=3)
        linear = tree if subject.name in OF_COLUMNS else LogisticRegression()
    if subject.role == "transformer":
        return make_pipeline(tried, linear)
    if subject.role == "base":
        if subject.name in BEFORE:
            tried = make_pipeline(BEFORE[subject.name], tried)
        return stack([("tried", tried), ("other", linear)], linear, cv=3, random_state=0)
    bases = [("linear", linear), ("tree", tree)]
    if subject.name == "IsotonicRegression":  # it takes one column
        bases = bases[:1]
    return stack(bases, tried, cv=3, random_state=0)


def tried(subject: Subject, task: str) -> tuple[str, str]:
    """Return "exact", "refused", "wrong" or "unfit", and by how much or why.

    "unfit" is what scikit-learn itself does not fit or predict.
    """
    X, y = rows_for(subject, task)
    try:
        model = model_for(subject, task).fit(X[:FITTED], y[:FITTED])
        expected = expected_outputs(model, X)
    except Exception as error:  # whatever scikit-learn raises
        return "unfit", f"{type(error).__name__}: {error}"
    try:
        graph = sf.to_keras(model)
    except sf.NotConvertible as error:
        return "refused", str(error)
    got = {name: np.asarray(tensor) for name, tensor in graph(X).items()}
    worst = 0.0
    for name, wanted in expected.items():
        if got[name].shape != wanted.shape:
            return "wrong", f"{name} has shape {got[name].shape} instead of {wanted.shape}"
        if name.startswith("label") and (got[name] != wanted).any():
            return "wrong", f"{np.count_nonzero(got[name] != wanted)} labels differ"
        if (np.isnan(got[name]) != np.isnan(wanted)).any():
            return "wrong", f"NaN of {name} differ"
        scale = max(1.0, float(np.nanmax(np.abs(wanted))))
        worst = max(worst, float(np.nanmax(np.abs(got[name] - wanted))) / scale)
    return ("exact" if worst < 1e-10 else "wrong"), f"{worst:.0e}"


def table() -> str:
    """Return what of scikit-learn converts, for the page."""
    kinds = [(kind, dict(all_estimators(kind))) for kind in ("classifier", "regressor")]
    names = {name for name, _ in all_estimators()}
    kept = {kind: sorted(set(of_kind) - REASONS.keys()) for kind, of_kind in kinds}
    others = sorted(names - REASONS.keys() - {*kept["classifier"], *kept["regressor"]})
    reasons = Counter(REASONS[name] for name in sorted(names & REASONS.keys()))
    lines = [
        f"scikit-learn {release()} lists {len(names)} estimators. These are converted:",
        "",
        *(f"- all {len(of_kind)} {kind}s;" for kind, of_kind in kept.items()),
        f"- {len(others)} others: {_code(others)}.",
        "",
        "| not converted | because it |",
        "|---|---|",
    ]
    for reason, _ in reasons.most_common():
        of_reason = [name for name in sorted(names & REASONS.keys()) if REASONS[name] == reason]
        lines.append(f"| {_code(of_reason)} | {reason} |")
    return "\n".join(lines)


def in_page() -> str:
    """Return the table as it is in the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def release() -> str:
    """Return the release of scikit-learn, like "1.9"."""
    return ".".join(sklearn.__version__.split(".")[:2])


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")
