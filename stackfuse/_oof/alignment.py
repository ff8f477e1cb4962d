"""Features of several networks in one frame.

Networks that were trained apart may compute the same features in different directions: turn a
layer's outputs, and turn the next layer's kernel back, and the network is the same. A meta-learner
that is trained on the features of fold models and fed with those of the refitted model needs both
in one frame. So the features F of a fold model are moved to those G of a reference, the refitted
model, by the orthogonal Q (turns and reflections) that brings them closest on some rows:

    min || (F - mean F) Q - (G - mean G) ||,   aligned = (F - mean F) Q + mean G

the orthogonal Procrustes problem, which has a solution by one singular value decomposition.

Nothing leaks by that. Q and the means are estimated on the rows that the fold model was trained
on, never on those that it predicts. The reference has been trained on the latter too, and its frame
depends on them a little; but the whole fold is moved by one rigid motion, which keeps all distances
and angles between its rows, so nothing about a single row of it can be told by the motion. Neither
does another reference help: every model of the stack, but one, has seen the rows of a fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.base import BaseEstimator

from stackfuse._core import sampling, sklearn_private
from stackfuse._oof.contributions import (
    FEATURES,
    contribution,
)
from stackfuse._oof.jobs import FoldFit, FoldJob

#: Training rows of a fold that its frame is estimated on, at most.
MOST_ROWS = 10_000


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """A rigid motion from the frame of one network's features to that of another's.

    Attributes
    ----------
    origin : ndarray of shape (n_features,)
        The mean of the features to move.
    rotation : ndarray of shape (n_features, n_features)
        Orthogonal.
    target : ndarray of shape (n_features,)
        Where the mean goes.
    """

    origin: np.ndarray
    rotation: np.ndarray
    target: np.ndarray

    @classmethod
    def between(cls, features: np.ndarray, reference: np.ndarray) -> "Alignment":
        """Return the motion that brings features closest to those of a reference.

        Parameters
        ----------
        features, reference : ndarray of shape (n_samples, n_features)
            The features of the same rows.

        Raises
        ------
        ValueError
            If they are of different widths, or the rows too few to tell.

        References
        ----------
        Schönemann, P. H. "A generalized solution of the orthogonal Procrustes problem."
        Psychometrika 31 (1966): 1-10.

        Examples
        --------
        >>> import numpy as np
        >>> reference = np.random.default_rng(0).normal(size=(9, 2))
        >>> turned = reference @ [[0.0, 1.0], [-1.0, 0.0]] + 5.0
        >>> aligned = Alignment.between(turned, reference)(turned)
        >>> bool(np.allclose(aligned, reference))
        True
        """
        n_rows, width = features.shape
        if width != reference.shape[1]:
            raise ValueError(
                f"it has {width} features, but the model to align it with has "
                f"{reference.shape[1]}. Build networks of the same shape for all rows"
            )
        if n_rows <= width:
            raise ValueError(
                f"{n_rows} training rows are too few to align {width} features, which takes more "
                "rows than features. Make the layer before the last one narrower, or use "
                "stack_method='auto'"
            )
        origin, target = features.mean(axis=0), reference.mean(axis=0)
        rotation, _ = orthogonal_procrustes(features - origin, reference - target)
        return cls(origin, rotation, target)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.origin) @ self.rotation + self.target


class Aligned(BaseEstimator):
    """A fitted estimator whose features are moved into the frame of another.

    Parameters
    ----------
    estimator : fitted estimator
        That ends in a network.
    alignment : Alignment
    """

    def __init__(self, estimator, alignment):
        self.estimator = estimator
        self.alignment = alignment

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X, y=None) -> "Aligned":
        """Return the estimator as it is; see :class:`sklearn.frozen.FrozenEstimator`."""
        return self

    def features(self, X) -> np.ndarray:
        """Return the features of X in that frame.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        features : ndarray of shape (n_samples, n_features), float64
        """
        return self.alignment(contribution(self.estimator, FEATURES, X))


def in_one_frame(fits: Sequence[FoldFit], jobs: Sequence[FoldJob], X) -> list[FoldFit]:
    """Return fits with their models and features in one frame.

    It is the frame of the model that was fitted on all rows, else that of the first fold's.

    Parameters
    ----------
    fits : sequence of FoldFit
        With their models; the predictions are the features of each fold's test rows.
    jobs : sequence of FoldJob
    X : array-like of shape (n_samples, ...)

    Raises
    ------
    FitFailed
        If the features of a fold cannot be aligned.
    """
    whole = [k for k, job in enumerate(jobs) if not len(job.fold.test)]
    first = whole[0] if whole else 0
    moved = list(fits)
    for k, job in enumerate(jobs):
        if k == first:
            continue
        train = job.fold.train
        some = sklearn_private.safe_indexing(X, sampling.spread(len(train), MOST_ROWS, train))
        with job.failing_here():
            own, reference = (contribution(fits[j].estimator, FEATURES, some) for j in (k, first))
            model = Aligned(fits[k].estimator, Alignment.between(own, reference))
        features = fits[k].predictions
        features = None if features is None else model.alignment(features)
        moved[k] = fits[k]._replace(estimator=model, predictions=features)
    return moved
