"""Checks of the parts of a stack before anything is fitted."""


def check_final(final_estimator, kind: str, example: str) -> None:
    """Raise unless the meta-learner is None or an estimator instance."""
    is_class = isinstance(final_estimator, type)
    if final_estimator is None or (hasattr(final_estimator, "get_params") and not is_class):
        return
    fusion = (
        "sf.FusionClassifier('dense')" if kind == "classifier" else "sf.FusionRegressor('dense')"
    )
    raise TypeError(
        f"final_estimator must be a {kind}, such as {example} or {fusion}, got {final_estimator!r}."
    )
