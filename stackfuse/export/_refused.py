"""Transformers that have no counterpart in a graph, each with its reason."""

from sklearn.decomposition import NMF, LatentDirichletAllocation, MiniBatchNMF
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.image import PatchExtractor
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsTransformer, RadiusNeighborsTransformer
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer

from stackfuse._checks import NotConvertible
from stackfuse.export._convert import convert_type

_ITERATES = "it repeats an approximation for each row until it is good enough"
_TEXT = "it takes texts or dicts apart, and a graph takes columns: use it before the stack"
_TARGETS = "it is made for y, and a graph takes X"
_NEIGHBOURS = "it returns a matrix with a column for each training row, for clustering"

#: Why a class cannot be converted.
REASONS: dict[type, str] = {
    NMF: _ITERATES,
    MiniBatchNMF: _ITERATES,
    LatentDirichletAllocation: _ITERATES,
    TSNE: "it cannot transform rows that it was not fitted on",
    KNeighborsTransformer: _NEIGHBOURS,
    RadiusNeighborsTransformer: _NEIGHBOURS,
    CountVectorizer: _TEXT,
    HashingVectorizer: _TEXT,
    DictVectorizer: _TEXT,
    FeatureHasher: _TEXT,
    PatchExtractor: "it makes many rows of one",
    LabelBinarizer: _TARGETS,
    LabelEncoder: _TARGETS,
    MultiLabelBinarizer: _TARGETS,
}


@convert_type(*REASONS)
def _refused(estimator, x, method):
    reason = next(REASONS[cls] for cls in type(estimator).__mro__ if cls in REASONS)
    raise NotConvertible(f"{type(estimator).__name__} cannot be converted to a graph: {reason}.")
