"""Naive Bayes: the logarithms of the classes' probabilities, added up feature by feature."""

import numpy as np
from keras import ops
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

from stackfuse._export.converters.linear.discriminant import from_log_posterior
from stackfuse._export.converters.shared.pairwise import rows_as_tensor
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
    exact_constants,
    table,
)
from stackfuse._export.graph.convert import converter_for
from stackfuse._export.graph.masks import refuse_rows


@converter_for(GaussianNB)
def _gaussian(estimator, x, method):
    mean, variance = rows_as_tensor(x, estimator.theta_), rows_as_tensor(x, estimator.var_)
    squares = ops.sum(ops.square(ops.expand_dims(x, 1) - mean) / variance, axis=2)
    with np.errstate(divide="ignore"):
        prior = np.log(estimator.class_prior_)
    volume = -0.5 * np.sum(np.log(2.0 * np.pi * estimator.var_), axis=1)
    prior, volume = exact_constants(x, prior, volume)
    return from_log_posterior(estimator, prior + (volume - 0.5 * squares), method)


@converter_for(MultinomialNB)
def _multinomial(estimator, x, method):
    scores = affine(x, estimator.feature_log_prob_, estimator.class_log_prior_)
    return from_log_posterior(estimator, scores, method)


@converter_for(ComplementNB)
def _complement(estimator, x, method):
    prior = estimator.class_log_prior_ if len(estimator.classes_) == 1 else 0.0
    return from_log_posterior(estimator, affine(x, estimator.feature_log_prob_, prior), method)


@converter_for(BernoulliNB)
def _bernoulli(estimator, x, method):
    if estimator.binarize is not None:
        x = ops.cast(ops.greater(x, constant(estimator.binarize, x)), x.dtype)
    present = estimator.feature_log_prob_
    with np.errstate(divide="ignore"):
        absent = np.log(1 - np.exp(present))
    offset = estimator.class_log_prior_ + absent.sum(axis=1)
    return from_log_posterior(estimator, affine(x, present - absent, offset), method)


@converter_for(CategoricalNB)
def _categorical(estimator, x, method):
    n_classes = len(estimator.classes_)
    scores = ops.zeros_like(x[:, :1])
    for k, log_prob in enumerate(estimator.feature_log_prob_):
        rows = np.vstack([log_prob.T, np.full(n_classes, np.nan)])
        unknown = constant(len(rows) - 1, x)
        category = x[:, k]
        low, high = constant(-1, x), unknown
        known = ops.logical_and(ops.greater(category, low), ops.less(category, high))
        refuse_rows(ops.logical_not(known)[:, None])
        place = ops.cast(ops.where(known, category, unknown), "int32")  # towards 0, as in numpy
        scores = scores + table(rows, x.dtype)(place)
    return from_log_posterior(
        estimator, scores + exact_constants(x, estimator.class_log_prior_)[0], method
    )
