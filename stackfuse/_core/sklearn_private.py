"""The private names of scikit-learn in use: what is renamed there breaks one line here."""

from sklearn._loss.link import IdentityLink
from sklearn._loss.loss import BaseLoss
from sklearn.calibration import _CalibratedClassifier as CalibratedClassifier
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.gaussian_process._gpc import COEFS, LAMBDAS
from sklearn.impute._iterative import IterativeImputer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import _ConstantPredictor as ConstantPredictor
from sklearn.preprocessing._data import BOUNDS_THRESHOLD
from sklearn.tree._tree import Tree
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
    "LAMBDAS",
    "BaseLoss",
    "BaseSearchCV",
    "CalibratedClassifier",
    "ConstantPredictor",
    "IdentityLink",
    "IterativeImputer",
    "Tree",
    "TreePredictor",
    "VisualBlock",
    "check_feature_names_in",
    "check_method_params",
    "check_sample_weight",
    "num_samples",
    "raise_for_params",
    "routing_enabled",
    "safe_indexing",
]
