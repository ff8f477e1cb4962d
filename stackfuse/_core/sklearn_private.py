"""All private names of scikit-learn that stackfuse uses: a renamed one breaks one line here.

``tests/core/test_sklearn_private.py`` says for each name what would break in stackfuse.
"""

import types
import weakref
from typing import Any

import sklearn.base
from sklearn._loss.link import IdentityLink
from sklearn.gaussian_process._gpc import COEFS, LAMBDAS
from sklearn.impute._iterative import IterativeImputer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import _ConstantPredictor as ConstantPredictor
from sklearn.preprocessing._data import BOUNDS_THRESHOLD
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
from sklearn.utils.metadata_routing import _raise_for_params as raise_for_params
from sklearn.utils.metadata_routing import _routing_enabled as routing_enabled
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "BOUNDS_THRESHOLD",
    "COEFS",
    "FITTED",
    "LAMBDAS",
    "BaseSearchCV",
    "ConstantPredictor",
    "IdentityLink",
    "IterativeImputer",
    "VisualBlock",
    "callback_context",
    "check_feature_names_in",
    "check_method_params",
    "check_sample_weight",
    "has_callbacks",
    "num_samples",
    "outer_context",
    "parameter_names",
    "params_of",
    "raise_for_params",
    "routing_enabled",
    "safe_indexing",
    "set_params_of",
]


def callback_context(estimator, n_tasks: int):
    """Return the callback context of a fit with this number of tasks."""
    return estimator._init_callback_context(max_subtasks=n_tasks)


def has_callbacks(estimator) -> bool:
    """Whether an estimator has callbacks, its own or inherited from an outer estimator."""
    return hasattr(estimator, "_skl_callbacks")


def outer_context(estimator) -> dict[str, Any]:
    """Return the attribute with the outer estimator's context as a dict; empty at the top."""
    name = "_parent_callback_ctx"
    return {name: vars(estimator)[name]} if name in vars(estimator) else {}


def parameter_names(kind: type) -> list[str]:
    """Return the names of the parameters in a class's constructor, sorted."""
    return kind._get_param_names()


_BASE: Any = sklearn.base.BaseEstimator

#: Names of parameters by the constructor that takes them: to read a signature takes long.
_NAMES: "weakref.WeakKeyDictionary[Any, list[str]]" = weakref.WeakKeyDictionary()


def params_of(estimator) -> dict[str, Any]:
    """Return what ``estimator.get_params(deep=True)`` returns, sooner where that is scikit-learn's.

    Parameters
    ----------
    estimator : estimator
    """
    kind: Any = type(estimator)
    plain = kind.get_params is _BASE.get_params and isinstance(kind.__init__, types.FunctionType)
    if not plain or kind._get_param_names.__func__ is not _BASE._get_param_names.__func__:
        return estimator.get_params(deep=True)
    if kind.__init__ not in _NAMES:
        _NAMES[kind.__init__] = parameter_names(kind)
    params: dict[str, Any] = {}
    for name in _NAMES[kind.__init__]:
        value = getattr(estimator, name)
        if hasattr(value, "get_params") and not isinstance(value, type):
            params |= {f"{name}__{key}": inner for key, inner in value.get_params().items()}
        params[name] = value
    return params


def set_params_of(estimator, params: dict[str, Any]) -> None:
    """Do what ``estimator.set_params(**params)`` does, sooner where that is scikit-learn's.

    Parameters
    ----------
    estimator : estimator
    params : dict of str to object
        By names of :func:`params_of`.
    """
    method = getattr(estimator.set_params, "__func__", None)
    if method is not _BASE.set_params or any("__" in name for name in params):
        estimator.set_params(**params)
        return
    for name, value in params.items():
        setattr(estimator, name, value)


#: Private attributes of fitted estimators that exporting reads, by the name of the class. After a
#: dot stands an attribute of the attribute.
FITTED: dict[str, tuple[str, ...]] = {
    "BisectingKMeans": ("_X_mean", "_bisecting_tree"),
    "CCA": ("_predict_1d", "_x_mean", "_x_std"),
    "ColumnTransformer": ("_iter", "_transformer_to_input_indices"),
    "DummyClassifier": ("_strategy",),
    "FixedThresholdClassifier": ("_get_response_method",),
    "GaussianProcessRegressor": ("_y_train_mean", "_y_train_std"),
    "HistGradientBoostingClassifier": ("_baseline_prediction", "_predictors", "_preprocessor"),
    "HistGradientBoostingRegressor": ("_baseline_prediction", "_predictors", "_preprocessor"),
    "Isomap": ("nbrs_._fit_X",),
    "IterativeImputer": ("_is_empty_feature", "_max_value", "_min_value"),
    "KNNImputer": ("_fit_X", "_mask_fit_X", "_valid_mask"),
    "KNeighborsClassifier": ("_fit_X", "_fit_method", "_y"),
    "KNeighborsRegressor": ("_fit_X", "_fit_method", "_y"),
    "KernelPCA": ("_centerer",),
    "LinearDiscriminantAnalysis": ("_max_components",),
    "NuSVC": ("_dual_coef_", "_gamma", "_intercept_", "_n_support"),
    "NuSVR": ("_dual_coef_", "_gamma", "_intercept_"),
    "OneHotEncoder": (
        "_default_to_infrequent_mappings",
        "_drop_idx_after_grouping",
        "_infrequent_enabled",
        "_n_features_outs",
    ),
    "OrdinalEncoder": (
        "_default_to_infrequent_mappings",
        "_infrequent_enabled",
        "_missing_indices",
    ),
    "PLSCanonical": ("_predict_1d", "_x_mean", "_x_std"),
    "PLSRegression": ("_predict_1d", "_x_mean", "_x_std"),
    "PLSSVD": ("_x_mean", "_x_std"),
    "PoissonRegressor": ("_base_loss",),
    "PolynomialFeatures": ("_max_degree", "_min_degree"),
    "PowerTransformer": ("_scaler",),
    "RadiusNeighborsClassifier": ("_fit_X", "_y"),
    "RadiusNeighborsRegressor": ("_fit_X", "_y"),
    "RidgeClassifier": ("_label_binarizer",),
    "SVC": ("_dual_coef_", "_gamma", "_intercept_", "_n_support"),
    "SVR": ("_dual_coef_", "_gamma", "_intercept_"),
    "SimpleImputer": ("_fill_dtype",),
    "TransformedTargetRegressor": ("_training_dim",),
    "TunedThresholdClassifierCV": ("_curve_scorer._get_pos_label", "_get_response_method"),
    "VotingClassifier": ("_weights_not_none",),
    "VotingRegressor": ("_weights_not_none",),
}
