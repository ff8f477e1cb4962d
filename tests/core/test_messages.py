"""Parts of messages."""

import pytest

from stackfuse._core.messages import with_article


@pytest.mark.parametrize(
    "noun",
    """an SVC, an SVR, a LinearSVC, a NuSVC, an MLPClassifier, an LGBMClassifier, an XGBRegressor,
    an SGDClassifier, an ARDRegression, an RBFSampler, a PCA, a KNNImputer, a KBinsDiscretizer,
    a RANSACRegressor, a SMOTE, a GRU, an LSTM, an ExtraTreesClassifier, an AdaBoostClassifier,
    an OrdinalEncoder, a OneHotEncoder, a OneVsRestClassifier, an IsotonicRegression, a Ridge,
    a UnitNormalization, an UpSampling2D, a UserEstimator, a HuberRegressor, a StackingRegressor,
    an ONNX, a SavedModel, an OpenVINO, an unknown, a list""".split(","),
)
def test_an_article_fits_the_sound_of_the_noun(noun):
    article, noun = noun.split()
    assert with_article(noun) == f"{article} {noun}"
