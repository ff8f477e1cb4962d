"""The tables of a fitted stack in a notebook, below scikit-learn's diagram."""

import numpy as np

from stackfuse._display import page
from stackfuse._stacking.judging import weights_of
from stackfuse._stacking.report import Estimate

#: Titles and signs of the scores of out-of-fold predictions; the first one sorts the table.
_METRICS = {"log_loss": ("log-loss", 1), "r2": ("R2", -1), "accuracy": ("accuracy", -1)}


def bases_as_html(stack) -> str:
    """Return the bases of a fitted stack as a table, best first; nothing is computed for it.

    Parameters
    ----------
    stack : fitted stack
    """
    oof = stack.oof_
    names = list(dict.fromkeys(column.estimator for column in oof.columns))
    metrics = [m for m in _METRICS if any(m in oof.scores.get(name, {}) for name in names)]
    estimates = {
        (name, metric): Estimate.of(oof.scores[name][metric])
        for name in names
        for metric in metrics
        if metric in oof.scores.get(name, {})
    }
    if metrics:
        sign = _METRICS[metrics[0]][1]
        means = [sign * estimates.get((name, metrics[0]), Estimate()).mean for name in names]
        names = [names[k] for k in np.argsort(np.nan_to_num(means, nan=np.inf), kind="stable")]
    head, columns = ["base"], []
    for metric in metrics:
        known = [estimates.get((name, metric), Estimate()) for name in names]
        errors = [one.error for one in known]
        columns.append(page.column_of([one.mean for one in known], errors))
        columns.append(page.column_of(errors, errors))
        head += [_METRICS[metric][0], "s.e."]
    weights = {} if stack._passes_through() else _weights(stack)
    if weights:
        columns.append(page.column_of([weights.get(name, np.nan) for name in names], [0.01]))
        head.append("weight")
    fitted = [stack.engine_.get(name, "") for name in names]
    rows = list(zip(names, *columns, fitted))
    n_rows, final = int(oof.mask.sum()), type(stack.final_estimator_).__name__
    lines = [f"Fitted: {final} over {len(names)} bases, {len(oof.folds)} folds, {n_rows} rows."]
    lines += [f"The base {name!r} was left out: {why}" for name, why in stack.failures_.items()]
    lines.append("stack.report() tells whether stacking helps.")
    return page.fragment(
        lines, ("Bases, by their out-of-fold predictions", [*head, "fitted"], rows)
    )


def _weights(stack) -> dict[str, float]:
    oof = stack.oof_
    return weights_of(stack.final_estimator_, oof.columns, oof.predictions, oof.mask)
