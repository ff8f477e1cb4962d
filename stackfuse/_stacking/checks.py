"""What is asked of stacks: of their parts before anything is fitted, and whether one is given."""

from typing import Any

from stackfuse._stacking.fitting import Stack


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


def stack_of(estimator, function: str) -> Any:
    """Return a stack, or that of a search.

    Raises
    ------
    TypeError
        If it is none; the message names the function that was given it.
    """
    stack = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(stack, Stack):
        given = stack.__name__ if isinstance(stack, type) else type(stack).__name__
        raise TypeError(
            f"{function} takes a fitted StackingClassifier or StackingRegressor, got {given}. Give "
            f"it the stack that ends a pipeline, {function}(pipeline[-1]); of other estimators "
            "make a graph, to_keras(estimator)."
        )
    return stack
