"""Whether bases, folds, sizes and predictions can be used."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from stackfuse._core import MultiInput, errors, fitting, messages, multi_input, sampling
from stackfuse._oof.contributions import FEATURES, has_engine, is_network
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import FoldFit, FoldJob
from stackfuse._oof.prediction_columns import as_block, as_labels, labels_for
from stackfuse._oof.result import OutOfFold, in_memory


def refuse_or_tell_whole_reads(bases: Sequence[tuple[str, Any]], X) -> None:
    """Tell which bases take all rows of files at once, and with how much memory.

    Raises
    ------
    ValueError
        If there is less; nothing has been read then.
    """
    arrays = X.arrays.values() if isinstance(X, MultiInput) else [X]
    size = sum(rows.nbytes for rows in arrays if isinstance(rows, multi_input.StoredRows))
    # A stack inside tells of its own bases.
    names = [name for name, base in bases if not is_network(base) and not has_engine(base)]
    if not size or not names:
        return
    several, free = len(names) > 1, fitting.memory_use.free()
    told = (
        f"Base estimator{'s' if several else ''} {', '.join(map(repr, names))} "
        f"{'take' if several else 'takes'} all rows of X at once, "
        f"{messages.size_in_words(size)} in memory"
    )
    advice = "Only networks read batches: leave these out, or pass fewer rows"
    if free is not None and size > free:
        raise ValueError(f"{told}, but {messages.size_in_words(free)} are free. {advice}.")
    warnings.warn(f"{told}. {advice}.", stacklevel=2)


def check_averages(
    folds: Sequence[Fold], methods: Sequence[str], classes: np.ndarray | None
) -> None:
    """Raise if class numbers would be averaged, before anything is fitted."""
    if classes is None or "predict" not in methods:
        return
    tested = np.concatenate([fold.test for fold in folds])
    if np.unique(tested).size < tested.size:
        raise ValueError(
            "Some rows are predicted several times, and class numbers cannot be averaged. Use "
            "stack_method='predict_proba', or folds that do not overlap."
        )


def check_coverage(
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
    *,
    averaged: bool,
    methods: Iterable[str],
) -> None:
    """Raise if the meta-learner could not learn all classes, or class numbers were averaged."""
    if classes is None:
        return
    covered = np.unique(y[np.concatenate([fold.test for fold in folds])])
    if len(covered) < len(classes):
        lost = np.delete(classes, covered).tolist()
        raise ValueError(
            f"cv: no fold predicts a row of class {lost[0]!r}, so the meta-learner would not "
            "know it. Use folds whose test sets hold every class."
        )
    if averaged and "predict" in methods:
        raise ValueError(
            "refit=False averages the fold models, but class numbers cannot be averaged. Use "
            "stack_method='predict_proba' or refit=True."
        )


def check_saved(
    saved: OutOfFold,
    methods: dict[str, str],
    y: np.ndarray,
    classes: np.ndarray | None,
    *,
    refit: bool,
) -> None:
    """Raise unless out-of-fold predictions are of these bases, for these rows."""
    columns = {column.estimator: column.method for column in saved.columns}
    if columns != methods or list(columns) != list(methods):
        raise ValueError(
            f"cv holds out-of-fold predictions of {columns}, but the bases are {methods}, in this "
            "order. Pass the same names and methods."
        )
    features = [name for name, method in methods.items() if method == FEATURES]
    if features:
        raise ValueError(
            f"cv holds out-of-fold features of {features[0]!r}, aligned to a model that was "
            "fitted then. The model fitted now has other features. Fit with folds (memory= keeps "
            "the fits), or train another meta-learner with refit_final."
        )
    now, then = (y, classes), (saved.y, saved.classes_)
    if not all(a is b or np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(now, then)):
        raise ValueError(
            "cv holds out-of-fold predictions for another y. Fit on the rows that they were made "
            "from, in the same order."
        )
    if not refit:
        raise ValueError(
            "cv holds out-of-fold predictions, but not the models of the folds: use refit=True."
        )


def warn_seen_rows(bases: Sequence[tuple[str, Any]], X, *, prefit: bool) -> None:
    """Warn of fitted bases that are known to have been trained on rows of X."""
    here: set[bytes] = set()
    for name, base in bases:
        fitted = base.estimator if isinstance(base, FrozenEstimator) else base
        if fitted is base and not prefit:
            continue
        seen = getattr(fitted, "_seen_rows", None)
        if seen and not here:
            here = set(sampling.row_digests(X))
        # Some rows may be equal by chance, where there are few columns.
        if seen and np.mean([row in here for row in seen]) > 0.1:
            warnings.warn(
                f"Base estimator {name!r} was trained on rows that now train the meta-learner. It "
                "predicts them better than new rows, so the meta-learner will trust it too much. "
                "Fit the stack on rows that its bases have not seen.",
                stacklevel=2,
            )


@dataclass(frozen=True)
class FitCheck:
    """Raises if what a base predicted cannot be used.

    Attributes
    ----------
    methods : dict of str to str
        By the name of the base.
    classes : ndarray or None
    constant : bool
        Whether a base may predict the same for every row.
    n_labels : int, default=1
        The number of columns of y.
    prefit : bool
        Whether all bases came fitted.
    """

    methods: dict[str, str]
    classes: np.ndarray | None
    constant: bool
    n_labels: int = 1
    prefit: bool = False

    def __call__(self, name: str, jobs: Sequence[FoldJob], fits: Sequence[FoldFit]) -> None:
        """Check the fits of one base.

        Raises
        ------
        FitFailed
            From UnusablePredictions.
        """
        varies, width = not any(len(job.fold.test) for job in jobs), None
        for job, fit in zip(jobs, fits, strict=True):
            if fit.predictions is None and not len(job.fold.test):  # the refit
                continue
            with job.failing_here():
                block = self._block(name, fit, len(job.fold.test))
                width = block.shape[1] if width is None else width
                if block.shape[1] != width:
                    raise UnusablePredictions(
                        f"it predicted {block.shape[1]} columns, but {width} before"
                    )
            varies = varies or len(block) == 1 or bool((block != block[0]).any())
        if not (varies or self.constant):
            cause = UnusablePredictions("it predicted the same for every row")
            raise errors.FitFailed("", cause) from cause

    def _block(self, name: str, fit: FoldFit, n_rows: int) -> np.ndarray:
        """Return the predictions of a fit as columns, once they are known to be usable."""
        labels, method = self._labels(fit), self.methods[name]
        fit = fit._replace(predictions=in_memory(fit.predictions))
        _refuse_no_array(fit.predictions, method)
        if method == "predict_proba":
            numbers = self._probabilities(fit, labels)  # all columns: a block leaves one out
            block = as_block(fit.predictions, fit.estimator, method, labels)
        else:
            numbers = block = as_block(fit.predictions, fit.estimator, method, labels)
        if len(block) != n_rows:
            raise UnusablePredictions(f"it returned {len(block)} predictions for {n_rows} rows")
        if not np.isfinite(numbers.astype(np.float64)).all():
            raise UnusablePredictions("it predicted NaN or infinity")
        if method == "predict_proba":
            _check_probabilities(numbers, name, exclusive=labels is not None)
        return block

    def _labels(self, fit: FoldFit) -> np.ndarray | None:
        return labels_for(fit.estimator, self.classes, prefit=self.prefit)

    def _probabilities(self, fit: FoldFit, labels: np.ndarray | None) -> np.ndarray:
        """Return the probabilities of a fit as one table, a column for each class that it knows."""
        several = isinstance(fit.predictions, list)
        table = as_labels(fit.predictions, fit.estimator) if several else fit.predictions
        table = np.asarray(table)
        table = table[:, None] if table.ndim == 1 else table
        known = getattr(fit.estimator, "classes_", None)
        n_known = self.n_labels if labels is None else len(labels if known is None else known)
        of_the_second = labels is not None and n_known == 2 and table.shape[1:] == (1,)
        if table.shape[1:] != (n_known,) and not of_the_second:
            shape = " by ".join(map(str, table.shape[1:]))
            what = "labels" if labels is None else "classes"
            raise UnusablePredictions(
                f"it predicted {shape} columns of probabilities for {n_known} {what}: let its "
                "predict_proba return one column for each"
            )
        return table


def _refuse_no_array(predictions: Any, method: str) -> None:
    """Raise unless predictions are an array, or a list of arrays, one for each label."""
    parts = predictions if isinstance(predictions, list) and predictions else [predictions]
    if not all(getattr(part, "ndim", 0) for part in parts):
        raise UnusablePredictions(
            f"its {method} returned {messages.in_short(predictions)}: let it return an array with "
            "a row for each row of X"
        )


#: How far probabilities may leave [0, 1], and their sums 1: in half precision these are rounded.
_OUTSIDE, _OFF_ONE = 1e-6, 0.01


def _check_probabilities(table: np.ndarray, name: str, *, exclusive: bool) -> None:
    """Raise unless numbers are probabilities, of which those of exclusive classes sum to one."""
    advice = f"correct its predict_proba, or use stack_method={{{name!r}: 'predict'}}"
    least, most = float(table.min()), float(table.max())
    if least < -_OUTSIDE or most > 1 + _OUTSIDE:
        raise UnusablePredictions(
            f"it predicted probabilities from {least:.3g} to {most:.3g}, but they must lie "
            f"between 0 and 1: {advice}"
        )
    if not exclusive or table.shape[1] == 1:
        return
    sums = table.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if sums[worst] == 0:  # as of scikit-learn's OneVsRestClassifier over trees
        raise UnusablePredictions(
            f"it predicted probability 0 for every class in row {worst} of its test rows. A "
            "OneVsRestClassifier does so where all of its classifiers say no. Use "
            f"stack_method={{{name!r}: 'predict'}}, or wrap it: CalibratedClassifierCV(base)"
        )
    if abs(sums[worst] - 1) > _OFF_ONE:
        raise UnusablePredictions(
            f"it predicted probabilities that sum to {sums[worst]:.3g} in row {worst} of its test "
            f"rows, but they must sum to 1: {advice}"
        )


class UnusablePredictions(ValueError):
    """The fault of a base's predictions, for a sentence that begins with "it"."""
