"""The default meta-learner: an opinion pool, chosen by cross-validation, that does no harm."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stackfuse._core import messages
from stackfuse._meta.combining import free_sum, simplex
from stackfuse._meta.combining.combiners import CombiningClassifier, CombiningRegressor
from stackfuse._meta.combining.pooling import (
    SMALLEST_PROBABILITY,
    SMALLEST_SUM,
    apply_link,
    invert_link,
    log_losses,
)

#: Folds that choose the pool, and the rows on which it is chosen at most.
_FOLDS, _ROWS = 10, 5000


#: Bases of a logarithmic pool are idle if its log-loss grows by less than this without them all,
#: and by less than this part of itself.
_IDLE_LOSS, _IDLE_SHARE = 5e-5, 0.002

#: In other pools, a base is idle if its part of the sum varies by less than this times the
#: deviation of the truth. Without it, losses grow by half the square of that at most, since weights
#: are where the loss is flat.
_IDLE = 0.001


@dataclass(frozen=True)
class Pool:
    """A fitted pool: predictions are ``invert_link(weights @ link(bases) + offset)``."""

    weights: np.ndarray
    offset: np.ndarray
    link: str = "identity"
    floor: float = SMALLEST_PROBABILITY

    def of(self, predictions: np.ndarray, *, classes: bool, labels: bool = False) -> np.ndarray:
        """Return what the pool predicts; shape (n_samples, n_outputs)."""
        linked = apply_link(predictions, self.link, labels=labels, floor=self.floor)
        total = self.weights @ linked + self.offset
        return invert_link(total, self.link, labels=labels) if classes else total

    def without_idle(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        weight: np.ndarray,
        *,
        labels: bool = False,
    ) -> "Pool":
        """Return the pool with weight zero for bases whose part is the same where it matters.

        The mean of this part goes to the offset. A base that predicts a constant would keep the
        weight of the prior, and would be asked for nothing.
        """
        linked = apply_link(predictions, self.link, labels=labels, floor=self.floor)
        means = np.average(linked, axis=0, weights=weight)
        if self.link == "identity":
            spread = np.sqrt(np.average((linked - means) ** 2, axis=0, weights=weight))
            limit = _IDLE * np.sqrt(free_sum.mean_and_variance(truth, weight)[1])
            idle = (self.weights[:, None] * spread < limit).all(axis=1)
        else:
            chances = self.of(predictions, classes=True, labels=labels)
            target = truth if labels else truth.argmax(axis=1)
            loss = np.average(log_losses(chances, target, labels=labels), weights=weight)
            limit = min(_IDLE_LOSS, _IDLE_SHARE * loss)
            parts = self.weights[:, None] * (linked - means)
            idle = _idle_parts(parts, chances, weight, limit, labels)
        moved = np.where(idle, self.weights, 0.0) @ means
        return replace(self, weights=np.where(idle, 0.0, self.weights), offset=self.offset + moved)


def _idle_parts(parts, chances, weight, limit: float, labels: bool) -> np.ndarray:
    """Return which parts of a logarithmic pool can be left out, shape (n_models,).

    At the best weights the log-loss is flat. Without a part, it grows by half its second derivative
    times the square of the part. For one row, this is half the variance of the part over the
    classes, each with its probability. So a part counts less where the pool is sure.

    Parameters
    ----------
    parts : ndarray of shape (n_samples, n_models, n_classes)
    chances : ndarray of shape (n_samples, n_classes)
        The probabilities that the pool predicts.
    weight : ndarray of shape (n_samples,)
    limit : float
        How much the loss may grow without all of them.
    labels : bool
    """

    def growth(part):
        if labels:
            variance = (chances * (1 - chances) * part**2).mean(axis=1)
        else:
            variance = (chances * part**2).sum(axis=1) - (chances * part).sum(axis=1) ** 2
        return np.average(variance, weights=weight) / 2

    idle = np.zeros(parts.shape[1], bool)
    each = [growth(parts[:, k]) for k in range(len(idle))]
    for k in np.argsort(each, kind="stable"):
        idle[k] = True
        if growth(parts[:, idle].sum(axis=1)) >= limit:
            idle[k] = False
            break
    return idle


def _pools_of(kinds: tuple[str, ...], chosen: str) -> tuple[str, ...]:
    """Return the kinds of pools that are compared."""
    if chosen != "auto" and chosen not in kinds:
        raise ValueError(f"pool must be {messages.listed(['auto', *kinds])}, got {chosen!r}.")
    return kinds if chosen == "auto" else (chosen,)


def _choose(
    kinds: tuple[str, ...],
    fit: Callable[[str, np.ndarray], Pool],
    losses: Callable[[Pool, np.ndarray], np.ndarray],
    target: np.ndarray,
    weight: np.ndarray,
) -> tuple[str, dict[str, float]]:
    """Return the kind of pool with the smallest cross-validated loss, and the losses.

    Parameters
    ----------
    kinds : tuple of str
        The first of equals is chosen.
    fit : callable
        From a kind and the numbers of rows to the pool of these rows.
    losses : callable
        From a pool and the numbers of rows to the losses of these rows.
    target : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Rows are dealt to folds in the order of the classes, so that each fold has its share.
    weight : ndarray of shape (n_samples,)
    """
    if len(kinds) == 1:
        return kinds[0], {}
    rows = np.random.RandomState(0).permutation(len(target))[:_ROWS]
    if target.ndim == 1:
        rows = rows[np.argsort(target[rows], kind="stable")]
    n_folds = min(_FOLDS, len(rows))
    if n_folds < 2:
        return kinds[1], {}
    totals = dict.fromkeys(kinds, 0.0)
    for k in range(n_folds):
        is_test = np.arange(len(rows)) % n_folds == k
        train, test = rows[~is_test], rows[is_test]
        for kind in kinds:
            totals[kind] += float(weight[test] @ losses(fit(kind, train), test))
    means = {kind: total / float(weight[rows].sum()) for kind, total in totals.items()}
    return min(means, key=means.__getitem__), means


def _in_use(predictions, target, weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that have a weight, and weights whose mean is one: scales mean nothing."""
    rows = np.flatnonzero(weight)
    return predictions[rows], target[rows], weight[rows] / weight[rows].mean()


class PoolClassifier(CombiningClassifier):
    """The opinion pool with the smallest cross-validated log-loss: the default of a stack.

    Three pools are compared on the out-of-fold predictions by ten-fold cross-validation; no base
    is fitted for it. ``"constant"`` is the share of each class: where no base knows more, the
    stack answers with it and does no harm. ``"linear"`` averages the bases' probabilities and the
    shares, with weights that sum to one. ``"logarithmic"`` adds the logarithms of the
    probabilities, with weights of any sum and an offset for each class, and scales the result to
    probabilities. The bases' probabilities become more or less extreme by it, as the rows demand.

    Parameters
    ----------
    pool : {"auto", "constant", "linear", "logarithmic"}, default="auto"
        The pool. By default, it is chosen by cross-validation.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base if there are two classes; with more classes,
        each run of ``n_classes`` columns is a base. Columns that hold no probabilities are scores.

    Attributes
    ----------
    pool_ : str
        The pool that was chosen.
    losses_ : dict of str to float
        The cross-validated log-loss of each pool that was compared; empty if `pool` names one.
    weights_ : ndarray of shape (n_models,)
        The weights, not negative. A base of weight zero is not asked when the stack predicts, and
        is not part of an exported graph. A base without which the loss hardly grows has weight zero
        too: the mean of its part is in the offset.
    offset_ : ndarray of shape (n_classes,)
        The numbers to add to the weighted sum.
    link_ : {"identity", "logit"}
        The scale of the sum: probabilities, or their logarithms (log-odds for labels).
    floor_ : float
        Smaller probabilities of a base count as this before a logarithm: one half divided by the
        number of rows. So no base is surer than the rows can tell.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    calibrators_ : list of (estimator or None)
        For each base with scores, such as those of ``decision_function``, the logistic regression
        that turns them into probabilities (Platt scaling); None for other bases.
    classes_ : ndarray of shape (n_classes,)
        The labels; for a multilabel target the numbers of its columns.
    n_features_in_ : int
        The number of columns of X.

    Notes
    -----
    The weights and offsets of the logarithmic pool are drawn towards the plain average by a normal
    prior of variance one half. More than 5,000 rows are represented by 5,000 in the choice, not in
    the fit.

    References
    ----------
    Genest, C. and Zidek, J. V. "Combining probability distributions." Statistical Science 1.1
    (1986): 114-135.

    van der Laan, M. J., Polley, E. C. and Hubbard, A. E. "Super learner." Statistical Applications
    in Genetics and Molecular Biology 6.1 (2007).

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> generator = np.random.default_rng(0)
    >>> y = generator.integers(0, 2, 500)
    >>> knows = np.where(y == 1, 0.7, 0.3) + 0.2 * generator.uniform(-1, 1, 500)
    >>> guesses = generator.uniform(0.2, 0.8, 500)
    >>> meta = sf.PoolClassifier().fit(np.column_stack([knows, guesses]), y)
    >>> meta.pool_, bool(meta.weights_[0] > 10 * meta.weights_[1])
    ('logarithmic', True)
    >>> sf.PoolClassifier().fit(guesses[:, None], y).pool_
    'constant'
    """

    _KINDS = ("constant", "linear", "logarithmic")

    pool_: str
    losses_: dict[str, float]
    link_: str
    offset_: np.ndarray
    floor_: float

    def __init__(self, *, pool: str = "auto", columns: Any = None):
        self.pool = pool
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        labels = self._is_multilabel
        kinds = _pools_of(self._KINDS, self.pool)
        predictions, target, weight = _in_use(predictions, target, weight)
        floor = max(SMALLEST_PROBABILITY, 0.5 / len(target))

        def fit(kind, rows):
            return _fit_classes(kind, predictions[rows], target[rows], weight[rows], labels, floor)

        def losses(pool, rows):
            chances = pool.of(predictions[rows], classes=True, labels=labels)
            return log_losses(chances, target[rows], labels=labels)

        self.pool_, self.losses_ = _choose(kinds, fit, losses, target, weight)
        pool = fit(self.pool_, np.arange(len(target)))
        truth = target if labels else np.eye(predictions.shape[2])[target]
        pool = pool.without_idle(predictions, truth, weight, labels=labels)
        self.link_, self.offset_, self.floor_ = pool.link, pool.offset, pool.floor
        return pool.weights

    @property
    def floor(self) -> float:
        """Smaller probabilities of a base count as this before a logarithm: ``floor_``."""
        return self.floor_

    @property
    def scale(self) -> str:
        """The scale on which probabilities are added up: ``link_``."""
        return self.link_


def _fit_classes(kind, predictions, target, weight, labels: bool, floor: float) -> Pool:
    """Fit a pool of probabilities; those of the labels count as so many problems of two classes."""
    n_models, n_classes = predictions.shape[1:]
    truth = target if labels else np.eye(n_classes)[target]
    shares = np.average(truth, axis=0, weights=weight)
    shares = np.clip(shares, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if kind == "constant":
        return Pool(np.zeros(n_models), shares if labels else shares / shares.sum())
    if kind == "logarithmic":
        logs = apply_link(predictions, "logit", labels=labels, floor=floor)
        return Pool(*free_sum.fit_logarithms(logs, target, weight, labels=labels), "logit", floor)
    everyone = np.concatenate([predictions, np.broadcast_to(shares, truth.shape)[:, None]], axis=1)
    weights = _fit_linear(everyone, truth, weight, labels)
    return Pool(weights[:-1], weights[-1] * shares)


def _fit_linear(predictions, truth, weight, labels: bool) -> np.ndarray:
    """Return the weights that sum to one and make the true outcomes most probable."""
    if labels:
        true = np.where(truth[:, None] == 1, predictions, 1 - predictions)
        true = true.swapaxes(1, 2).reshape(-1, predictions.shape[1])
        weight = np.repeat(weight, truth.shape[1])
    else:
        sums = np.maximum(predictions.sum(axis=2), SMALLEST_SUM)
        true = np.einsum("nkc,nc->nk", predictions, truth) / sums
    share = weight / weight.sum()

    def loss(weights):
        mean = np.maximum(true @ weights, SMALLEST_SUM)
        return -share @ np.log(mean[:, 0]), -true.T @ (share[:, None] / mean)

    return simplex.minimise(loss, np.full((true.shape[1], 1), 1 / true.shape[1]))[:, 0]


class PoolRegressor(CombiningRegressor):
    """The weighted sum with the smallest cross-validated squared error: the default of a stack.

    Three sums are compared on the out-of-fold predictions by ten-fold cross-validation; no base is
    fitted for it. ``"constant"`` is the mean of y: where no base knows more, the stack answers
    with it and does no harm. ``"convex"`` averages the bases and the mean, with weights that sum
    to one. ``"free"`` has weights that are not negative and have any sum, and an offset, so that
    it is right in scale and bias.

    Parameters
    ----------
    pool : {"auto", "constant", "convex", "free"}, default="auto"
        The sum. By default, it is chosen by cross-validation.
    columns : list of Column, default=None
        The base and the output behind each column of X. A stack sets it; :class:`OutOfFold` has it
        too. By default, each column of X is a base; with several targets, each run of
        ``n_outputs`` columns is one.

    Attributes
    ----------
    pool_ : str
        The sum that was chosen.
    losses_ : dict of str to float
        The cross-validated squared error of each sum that was compared, in units of the variance
        of y, the mean over its columns; empty if `pool` names one.
    weights_ : ndarray of shape (n_models,)
        The weights, not negative. A base of weight zero is not asked when the stack predicts, and
        is not part of an exported graph. A base whose part of the sum hardly varies has weight zero
        too: the mean of its part is in the offset.
    offset_ : ndarray of shape (n_outputs,)
        The numbers to add to the weighted sum.
    bases_ : list of str
        The names of the bases, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    n_features_in_ : int
        The number of columns of X.

    Notes
    -----
    The weights of the free sum are drawn towards the plain average by a normal prior of variance
    one. More than 5,000 rows are represented by 5,000 in the choice, not in the fit.

    References
    ----------
    Breiman, L. "Stacked regressions." Machine Learning 24 (1996): 49-64.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> generator = np.random.default_rng(0)
    >>> y = generator.normal(5, 2, 500)
    >>> half = 0.5 * y + generator.normal(0, 0.1, 500)
    >>> meta = sf.PoolRegressor().fit(half[:, None], y)
    >>> meta.pool_, meta.weights_.round(1).tolist()
    ('free', [2.0])
    """

    _KINDS = ("constant", "convex", "free")

    pool_: str
    losses_: dict[str, float]
    offset_: np.ndarray

    def __init__(self, *, pool: str = "auto", columns: Any = None):
        self.pool = pool
        self.columns = columns

    def _find_weights(self, predictions, target, weight):
        kinds = _pools_of(self._KINDS, self.pool)
        predictions, target, weight = _in_use(predictions, target, weight)
        _, variance = free_sum.mean_and_variance(target, weight)

        def fit(kind, rows):
            return _fit_numbers(kind, predictions[rows], target[rows], weight[rows])

        def losses(pool, rows):
            errors = pool.of(predictions[rows], classes=False) - target[rows]
            return (errors**2 / variance).mean(axis=1)

        self.pool_, self.losses_ = _choose(kinds, fit, losses, target, weight)
        pool = fit(self.pool_, np.arange(len(target)))
        pool = pool.without_idle(predictions, target, weight)
        self.offset_ = pool.offset
        return pool.weights


def _fit_numbers(kind, predictions, target, weight) -> Pool:
    """Fit a sum of numbers; each output counts in units of its own deviation."""
    n_models = predictions.shape[1]
    mean, variance = free_sum.mean_and_variance(target, weight)
    if kind == "constant":
        return Pool(np.zeros(n_models), mean)
    if kind == "free":
        return Pool(*free_sum.fit_numbers(predictions, target, weight))
    everyone = np.concatenate([predictions, np.broadcast_to(mean, target.shape)[:, None]], axis=1)
    errors = (everyone - target[:, None]) / np.sqrt(variance) * np.sqrt(weight)[:, None, None]
    weights = simplex.least_squares(errors.swapaxes(1, 2).reshape(-1, n_models + 1))
    return Pool(weights[:-1], weights[-1] * mean)
