"""The reasons why some estimators of scikit-learn have no converter."""

_ITERATES = "repeats an approximation for each row until it is good enough"
_CLUSTERS = "only finds clusters for the rows that it was fitted on"
_DENSITY = "is not a classifier, regressor or transformer, so stacks and pipelines cannot use it"
_GRAPH = "returns a matrix with a column for each training row, for clustering"
_TARGET = "transforms y, but a graph takes X"
_DICTS = "reads dicts, but a graph takes columns. Use it before the stack"
_TEXT = (
    "cuts texts into words by Python's rules, which no stock layer of Keras follows. Use "
    "sf.TextVectorizer, which can be exported to .keras and SavedModel, or use it before the "
    "stack"
)

#: For each class of scikit-learn, what it does that a graph on single rows of numbers cannot do.
REASONS = {
    "AffinityPropagation": _DENSITY,
    "AgglomerativeClustering": _CLUSTERS,
    "BayesianGaussianMixture": _DENSITY,
    "ClassicalMDS": "has no transform for other rows",
    "CountVectorizer": _TEXT,
    "DBSCAN": _CLUSTERS,
    "DictVectorizer": _DICTS,
    "EllipticEnvelope": _DENSITY,
    "EmpiricalCovariance": _DENSITY,
    "FeatureHasher": _DICTS,
    "GaussianMixture": _DENSITY,
    "GraphicalLasso": _DENSITY,
    "GraphicalLassoCV": _DENSITY,
    "HDBSCAN": _CLUSTERS,
    "HashingVectorizer": _TEXT,
    "IsolationForest": _DENSITY,
    "KNeighborsTransformer": _GRAPH,
    "KernelDensity": _DENSITY,
    "LabelBinarizer": _TARGET,
    "LabelEncoder": _TARGET,
    "LatentDirichletAllocation": _ITERATES,
    "LedoitWolf": _DENSITY,
    "LocalOutlierFactor": _DENSITY,
    "MDS": "has no transform for other rows",
    "MeanShift": _DENSITY,
    "MinCovDet": _DENSITY,
    "MiniBatchNMF": _ITERATES,
    "MultiLabelBinarizer": _TARGET,
    "NMF": _ITERATES,
    "NearestNeighbors": _DENSITY,
    "OAS": _DENSITY,
    "OPTICS": _CLUSTERS,
    "OneClassSVM": _DENSITY,
    "PatchExtractor": "returns more rows than it is given",
    "RadiusNeighborsTransformer": _GRAPH,
    "SGDOneClassSVM": _DENSITY,
    "ShrunkCovariance": _DENSITY,
    "SpectralBiclustering": _CLUSTERS,
    "SpectralClustering": _CLUSTERS,
    "SpectralCoclustering": _CLUSTERS,
    "SpectralEmbedding": "has no transform for other rows",
    "TSNE": "has no transform for other rows",
    "TfidfVectorizer": _TEXT,
}


def reason_against(cls: type) -> str | None:
    """Return why an estimator of scikit-learn, or one that descends from it, is not converted."""
    for parent in cls.__mro__:
        if parent.__module__.startswith("sklearn.") and parent.__name__ in REASONS:
            return REASONS[parent.__name__]
    return None
