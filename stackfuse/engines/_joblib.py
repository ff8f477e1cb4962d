"""The loop over joblib: folds side by side, in whatever ``joblib.parallel_config`` names."""

from contextlib import nullcontext

from sklearn.utils.parallel import Parallel, delayed

from stackfuse._network import NetworkEstimator
from stackfuse.engines._base import FoldFits, SequentialEngine, fit_fold, replica


class JoblibEngine:
    """Folds of scikit-learn estimators in parallel; networks in the loop.

    TensorFlow uses all cores for one network, every further process takes seconds to import it,
    and threads that train at once are slower and not reproducible.
    """

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs

    def fit_folds(
        self, estimator, X, y, folds, *, method, fit_params=None, seeds=None, watch=None
    ) -> FoldFits:
        """See :class:`stackfuse.engines.Engine`."""
        if holds_network(estimator):
            return SequentialEngine().fit_folds(
                estimator,
                X,
                y,
                folds,
                method=method,
                fit_params=fit_params,
                seeds=seeds,
                watch=watch,
            )
        outcomes = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(fit_fold)(
                replica(estimator, seeds[k] if seeds else None), X, y, fold, method, fit_params
            )
            for k, fold in enumerate(folds)
        )
        fits = FoldFits([], [], [])
        for k, (fitted, predictions) in enumerate(outcomes):
            with watch(k, fitted) if watch else nullcontext():  # it is told when it is done
                fits.append(fitted, predictions)
        return fits


def holds_network(estimator) -> bool:
    """Whether an estimator is, or has as a part, a network of ours."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(isinstance(part, NetworkEstimator) for part in parts)
