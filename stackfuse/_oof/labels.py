"""Class numbers and class labels in the estimators of a stack."""

import numpy as np
from sklearn.base import clone


def relabelled(estimator, classes: np.ndarray | None):
    """Return an estimator whose class weights are by class number, as it is told the classes.

    Raises
    ------
    ValueError
        If a class weight is for a label that y does not hold.
    """
    if classes is None:
        return estimator
    weights = {
        name: value
        for name, value in estimator.get_params(deep=True).items()
        if isinstance(value, dict) and (name == "class_weight" or name.endswith("__class_weight"))
    }
    if np.array_equal(classes, np.arange(len(classes))):
        return estimator
    _refuse_searched_weights(estimator)
    if not weights:
        return estimator
    numbers = {label: k for k, label in enumerate(classes.tolist())}
    for name, weight in weights.items():
        unknown = [label for label in weight if label not in numbers]
        if unknown:
            raise ValueError(
                f"{name} of {type(estimator).__name__} weighs {unknown[0]!r}, which is none of the "
                f"classes {list(numbers)}."
            )
        weights[name] = {numbers[label]: value for label, value in weight.items()}
    return clone(estimator).set_params(**weights)


def _refuse_searched_weights(estimator) -> None:
    """Raise if a search inside the estimator tries class weights, which nobody translates."""
    for name, grid in estimator.get_params(deep=True).items():
        if not name.endswith(("param_grid", "param_distributions")):
            continue
        for part in grid if isinstance(grid, list) else [grid]:
            for key, values in part.items():
                dicts = isinstance(values, list | tuple) and any(
                    isinstance(value, dict) for value in values
                )
                if key.endswith("class_weight") and dicts:
                    raise ValueError(
                        f"{type(estimator).__name__} searches {key} by label, but is told the "
                        "numbers of the classes, 0, 1, ...: write the weights by number in y too, "
                        "LabelEncoder().fit_transform(y)."
                    )
