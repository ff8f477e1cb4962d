"""Whether folds, sizes and predictions can be used."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stackfuse._oof.columns import as_block, labels_for
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.engines import FoldFits
from stackfuse._oof.folds import Fold


def warn_if_large(methods: Sequence[str], y: np.ndarray, classes: np.ndarray | None) -> None:
    """Warn if the out-of-fold matrix would take more than half of the memory that is free."""
    if classes is not None:
        several = 1 if len(classes) == 2 else len(classes)
        widths = {"predict": 1, FEATURES: 0}  # how many features is known when one is fitted
        n_columns = sum(widths.get(method, several) for method in methods)
    else:
        n_columns = len(methods) * (1 if y.ndim == 1 else y.shape[1])
    size, free = 8 * len(y) * n_columns, free_memory()
    if free is not None and size > free / 2:
        warnings.warn(
            f"The out-of-fold predictions, {len(y)} rows by {n_columns} columns, will take "
            f"{size / 2**30:.1f} GiB; {free / 2**30:.1f} GiB of memory are free. Use fewer base "
            "estimators or fewer rows.",
            ResourceWarning,
            stacklevel=2,
        )


def free_memory() -> int | None:
    """Return the bytes of memory that are free, or None where the system does not tell.

    Not by psutil: where that is installed, joblib stops processes that import TensorFlow, because
    they have grown.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # no Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


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


@dataclass(frozen=True)
class FitCheck:
    """Raises if what a base predicted cannot be used.

    Attributes
    ----------
    folds : sequence of Fold
    methods : dict of str to str
        By the name of the base.
    classes : ndarray or None
    constant : bool
        Whether a base may predict the same for every row.
    prefit : bool
        Whether all bases came fitted.
    """

    folds: Sequence[Fold]
    methods: dict[str, str]
    classes: np.ndarray | None
    constant: bool
    prefit: bool = False

    def __call__(self, name: str, fits: FoldFits) -> None:
        varies, width = not any(len(fold.test) for fold in self.folds), None
        for k, (fold, estimator, prediction) in enumerate(
            zip(self.folds, fits.estimators, fits.predictions)
        ):
            if prediction is None:  # the refit
                continue
            labels = labels_for(estimator, self.classes, prefit=self.prefit)
            block = as_block(prediction, estimator, self.methods[name], labels)
            width = block.shape[1] if width is None else width
            if len(block) != len(fold.test):
                raise _at(k, f"it returned {len(block)} predictions for {len(fold.test)} rows")
            if block.shape[1] != width:
                raise _at(k, f"it predicted {block.shape[1]} columns, and {width} before")
            if not np.isfinite(block).all():
                raise _at(k, "it predicted NaN or infinity")
            varies = varies or len(block) == 1 or bool((block != block[0]).any())
        if not (varies or self.constant):
            raise ValueError("it predicted the same for every row")


def _at(k: int, message: str) -> ValueError:
    error = ValueError(message)
    vars(error)["fold"] = k
    return error
