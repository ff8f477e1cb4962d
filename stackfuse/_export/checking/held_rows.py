"""Estimators that by their nature hold rows that they were fitted on, in the file too."""

from stackfuse._stacking import parts_of

#: Fitted attributes that hold such rows, or their values: of neighbours and imputers by them,
#: support vectors, Gaussian processes, kernels, isotonic regressions, Nystroem's subset, label
#: propagation.
_OF_ROWS = {
    "_fit_X",
    "support_vectors_",
    "X_train_",
    "X_fit_",
    "X_",
    "X_thresholds_",
    "component_indices_",
}


def holders_of_rows(estimator) -> list[str]:
    """Return the classes of the estimators inside an estimator that hold rows, sorted."""
    return sorted({type(p).__name__ for p in parts_of(estimator) if _OF_ROWS & vars(p).keys()})
