"""Tables of cases that several tests read."""

import re

import numpy as np
from sklearn import naive_bayes
from sklearn.cross_decomposition import CCA, PLSCanonical, PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
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
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as gp
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    Perceptron,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

import stackfuse as sf
from tests.support.networks import build_classifier as build_classifier
from tests.support.networks import build_regressor as build_regressor
from tests.support.networks import build_sigmoid as build_sigmoid

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

#: Classifiers made neither of trees nor of other estimators.
FAMILY_CLASSIFIERS = [
    SGDClassifier(loss="modified_huber", random_state=0),
    LinearDiscriminantAnalysis(solver="lsqr"),
    QuadraticDiscriminantAnalysis(reg_param=0.1),
    naive_bayes.GaussianNB(),
    naive_bayes.MultinomialNB(),
    naive_bayes.ComplementNB(),
    naive_bayes.BernoulliNB(binarize=0.3),
    SVC(),
    SVC(kernel="linear"),
    SVC(kernel="poly", coef0=0.5, decision_function_shape="ovo"),
    SVC(kernel="sigmoid", gamma=0.05, break_ties=True),
    NuSVC(nu=0.2),
    GaussianProcessClassifier(2.0 * gp.RBF(1.5), optimizer=None),
    GaussianProcessClassifier(gp.DotProduct() + gp.WhiteKernel(), optimizer=None),
    KNeighborsClassifier(),
    KNeighborsClassifier(3, weights="distance", algorithm="kd_tree"),
    KNeighborsClassifier(4, metric="chebyshev", algorithm="brute"),
    RadiusNeighborsClassifier(2.5, outlier_label="most_frequent"),
    RadiusNeighborsClassifier(4.0, metric="manhattan", algorithm="brute", outlier_label=1),
    NearestCentroid(),
    NearestCentroid(priors="empirical", shrink_threshold=0.1),
    NearestCentroid(metric="manhattan"),
    MLPClassifier((4,), max_iter=300, tol=0.1, random_state=0),
    MLPClassifier((4, 3), activation="tanh", max_iter=300, tol=0.1, random_state=0),
    LabelPropagation(gamma=0.5),
    LabelSpreading(kernel="knn"),
]

FAMILY_REGRESSORS = [
    PoissonRegressor(),
    GammaRegressor(),
    TweedieRegressor(power=0),
    RANSACRegressor(random_state=0),
    PLSRegression(),
    *(
        KernelRidge(9, kernel=k, gamma=0.1)
        for k in ("poly", "rbf", "laplacian", "sigmoid", "cosine")
    ),
    SVR(),
    NuSVR(kernel="poly"),
    *(
        GaussianProcessRegressor(kernel, alpha=0.1, normalize_y=True, optimizer=None)
        for kernel in (
            None,
            gp.Matern(nu=0.5),
            gp.Matern(nu=1.5) + gp.ConstantKernel(2.0) * gp.ConstantKernel(3.0),
            gp.Matern(np.linspace(1, 2, 10), nu=2.5),
            gp.Matern(nu=np.inf),
            gp.RationalQuadratic(),
            0.5 * gp.ExpSineSquared(3.0, 2.0) + gp.WhiteKernel(2.0),
            gp.DotProduct() ** 2,
            gp.PairwiseKernel(metric="laplacian"),
        )
    ),
    KNeighborsRegressor(),
    KNeighborsRegressor(weights="distance", p=1),
    KNeighborsRegressor(p=3, weights="distance"),
    RadiusNeighborsRegressor(3.0),
    RadiusNeighborsRegressor(3.0, weights="distance"),
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=300, tol=1e9, random_state=0),
]

#: Of these families, those that take several columns of y.
FAMILY_MULTI_REGRESSORS = [
    MultiTaskLasso(),
    PLSRegression(),
    PLSCanonical(1),
    CCA(1),
    KernelRidge(kernel="rbf"),
    GaussianProcessRegressor(alpha=0.1, normalize_y=True, optimizer=None),
    KNeighborsRegressor(weights="distance"),
    RadiusNeighborsRegressor(3.0),
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=300, tol=1e9, random_state=0),
]


def shown(value) -> str:
    """Return a value as a test's id: without addresses, which differ between processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def name(estimator) -> str:
    """Return a short name for a test's id."""
    return str(estimator).split("(")[0]
