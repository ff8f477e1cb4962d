"""Each private name of scikit-learn in use exists; where one goes, a test says what breaks.

The file is read and not imported: one name that is gone would keep all of stackfuse from loading.
"""

import ast
import importlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import CallbackSupportMixin, ProgressBar, with_callbacks
from sklearn.datasets import load_iris
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from stackfuse._core import sklearn_private

PACKAGE = Path(__file__).parents[2] / "stackfuse"
TREE = ast.parse((PACKAGE / "_core" / "sklearn_private.py").read_text())

#: The part of stackfuse that breaks when a name goes, by the name that stackfuse gives it.
BREAKS = {
    "BOUNDS_THRESHOLD": "export of QuantileTransformer",
    "COEFS": "export of GaussianProcessClassifier",
    "LAMBDAS": "export of GaussianProcessClassifier",
    "BaseSearchCV": "searches as bases, and their export",
    "ConstantPredictor": "export of OneVsRestClassifier",
    "IdentityLink": "export of PoissonRegressor and its kin",
    "IterativeImputer": "export of IterativeImputer",
    "VisualBlock": "the picture of a stack in a notebook",
    "check_feature_names_in": "get_feature_names_out of stacks and meta-learners",
    "check_method_params": "fit parameters that are cut to a fold's rows",
    "check_sample_weight": "sample weights of networks and meta-learners",
    "num_samples": "the number of rows of X of any kind",
    "raise_for_params": "the error for fit parameters without metadata routing",
    "routing_enabled": "metadata routing through a stack",
    "safe_indexing": "rows of X of any kind",
}

IMPORTS = {
    alias.asname or alias.name: (node.module or "", alias.name)
    for node in TREE.body
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn")
    for alias in node.names
}

FITTED = next(
    ast.literal_eval(node.value)
    for node in TREE.body
    if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == "FITTED"
)

#: Private names of Keras, which are listed elsewhere.
OF_KERAS = {
    "_keras_history",
    "_inbound_nodes",
    "_flatten_layers",
    "_call_has_training_arg",
    "_compute_loss",
    "_loss_tracker",
    "_symbolic_build",
    "_dropout",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_name_exists(name):
    module, private = IMPORTS[name]
    assert name in BREAKS, f"Say in BREAKS what breaks when {module}.{private} goes."
    assert hasattr(importlib.import_module(module), private), (
        f"{module}.{private} is gone: {BREAKS[name]} breaks."
    )


def test_all_names_that_are_said_to_break_are_in_use():
    assert sorted(BREAKS) == sorted(IMPORTS)


class Counted(CallbackSupportMixin, BaseEstimator):
    """Reports two tasks, as stacks and networks do."""

    def __init__(self, b=1, a=2):
        self.b, self.a = b, a

    @with_callbacks
    def fit(self):
        context = sklearn_private.callback_context(self, 2)
        self.outer_ = sklearn_private.outer_context(self)
        context.call_on_fit_task_begin(estimator=self)
        context.subcontext(task_name="one")
        context.call_on_fit_task_end(estimator=self)
        return self


def test_names_of_callbacks():
    """Without them no stack and no network reports progress, and verbose=1 shows nothing."""
    estimator = Counted()
    assert not sklearn_private.has_callbacks(estimator)
    estimator.set_callbacks(ProgressBar())
    assert sklearn_private.has_callbacks(estimator)
    assert estimator.fit().outer_ == {}


def test_parameter_names():
    """Without it no parameter of a network can be told from an argument of its builder."""
    assert sklearn_private.parameter_names(Counted) == ["a", "b"]


class OwnParams(BaseEstimator):
    """Names a parameter that its constructor does not have."""

    def get_params(self, deep=True):
        return {"c": 3}


def test_params_are_those_of_scikit_learn():
    """Without them no random state is seeded, and no meta-learner knows its columns."""
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    estimators = [
        *(LogisticRegression(C=2.0), Counted(b=LinearRegression), Counted(a=Counted())),
        *(inner, GridSearchCV(inner, {"logisticregression__C": [1]}), FrozenEstimator(inner)),
        *(CalibratedClassifierCV(LogisticRegression()), OwnParams()),
    ]
    for estimator in estimators:
        got, wanted = sklearn_private.params_of(estimator), estimator.get_params(deep=True)
        assert list(got) == list(wanted)
        assert all(got[name] is wanted[name] for name in wanted)
    sklearn_private.set_params_of(inner, {"logisticregression__C": 5})
    sklearn_private.set_params_of(estimators[0], {"C": 5})
    assert (inner[-1].C, estimators[0].C) == (5, 5)


#: Settings without which an attribute does not exist, or the estimator needs.
SETTINGS = {
    "BisectingKMeans": {"n_clusters": 3},
    "Isomap": {"n_neighbors": 40},
    "ColumnTransformer": {"transformers": [("all", "passthrough", [0, 1])]},
    "FixedThresholdClassifier": {"estimator": LogisticRegression(max_iter=500)},
    "KernelPCA": {"kernel": "rbf"},
    "NuSVC": {"nu": 0.2},
    "OneHotEncoder": {"min_frequency": 5},
    "OrdinalEncoder": {"min_frequency": 5},
    "RadiusNeighborsClassifier": {"radius": 9.0},
    "RadiusNeighborsRegressor": {"radius": 9.0},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression(max_iter=500), "cv": 2},
    "VotingClassifier": {"estimators": [("tree", DecisionTreeClassifier(max_depth=2))]},
    "VotingRegressor": {"estimators": [("tree", DecisionTreeRegressor(max_depth=2))]},
    "TransformedTargetRegressor": {"regressor": LinearRegression()},
    "HistGradientBoostingClassifier": {"max_iter": 2},
    "HistGradientBoostingRegressor": {"max_iter": 2},
    "IterativeImputer": {"max_iter": 2},
    "CCA": {"n_components": 1},
    "PLSCanonical": {"n_components": 1},
    "PLSSVD": {"n_components": 1},
}


@cache
def fitted(name: str):
    X, y = load_iris(return_X_y=True)
    X, y = X[::2], (y[::2] > 0).astype(int)
    if "Imputer" in name:
        X = X.copy()
        X[::7, 0] = np.nan
    if name in ("OneHotEncoder", "OrdinalEncoder"):
        X = X.round()
    if name == "PoissonRegressor":
        y = y + 1
    cls = dict(all_estimators())[name]
    return cls(**SETTINGS.get(name, {})).fit(X, y)


@pytest.mark.parametrize(
    ("cls", "path"), [(cls, path) for cls, paths in FITTED.items() for path in paths]
)
def test_a_fitted_attribute_exists(cls, path):
    part = fitted(cls)
    for name in path.split("."):
        assert hasattr(part, name), f"{cls}.{path} is gone: sf.to_keras of {cls} breaks."
        part = getattr(part, name)


def _attributes_set(tree: ast.AST) -> set[str]:
    """Return the names that the classes of a file define, in their bodies or on objects."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                names |= {part.name} if isinstance(part, ast.FunctionDef) else set()
                for name in ast.walk(part):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                        names.add(name.id)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def _attributes_read(tree: ast.AST) -> set[tuple[str, int]]:
    """Return the attributes that a file reads, also by getattr and hasattr, with their lines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add((node.attr, node.lineno))
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") in ("getattr", "hasattr")
            and isinstance(node.args[1], ast.Constant)
        ):
            found.add((node.args[1].value, node.lineno))
    return found


def test_exporting_reads_no_other_private_attributes():
    files = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    own = set().union(*map(_attributes_set, files.values()))
    known = {name for paths in FITTED.values() for path in paths for name in path.split(".")}
    foreign = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path, tree in files.items()
        if "_export" in path.parts
        for name, line in sorted(_attributes_read(tree))
        if name.startswith("_") and not name.startswith("__")
        if name not in own | known | OF_KERAS
    ]
    assert not foreign, "List in sklearn_private.FITTED what exporting reads."


def test_nothing_is_listed_that_exporting_does_not_read():
    read = set()
    for path in (PACKAGE / "_export").rglob("*.py"):
        read |= {name for name, _ in _attributes_read(ast.parse(path.read_text()))}
    listed = {path.rpartition(".")[2] for paths in FITTED.values() for path in paths}
    assert listed <= read
