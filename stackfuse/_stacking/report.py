"""Whether stacking helped: what a report holds, and how it is shown."""

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A mean over folds and its standard error, NaN where it is not known."""

    mean: float = np.nan
    error: float = np.nan

    @classmethod
    def of(cls, values: np.ndarray) -> "Estimate":
        """Return the estimate from one value per fold."""
        values = np.asarray(values, float)
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return cls(float(values.mean()), float(error))

    def __str__(self) -> str:
        return f"{self.mean:.4f} (s.e. {self.error:.4f})"


@dataclass(frozen=True)
class BaseReport:
    """What is known of one base estimator.

    Attributes
    ----------
    name : str
    score : Estimate
        Of its out-of-fold predictions.
    weight : float
        What the meta-learner gives it: its weight, or the part of its columns in the importances
        or in the coefficients (times the columns' deviations); NaN where it has none of these.
    lost_without : Estimate
        By how much the stack scores worse without it; below 0, if it does better.
    """

    name: str
    score: Estimate
    weight: float
    lost_without: Estimate


@dataclass(frozen=True)
class Report:
    """Did stacking help? Returned by ``stack.report()``.

    Attributes
    ----------
    metric : str
    greater_is_better : bool
    bases : list of BaseReport
    stack : Estimate
        The score of the meta-learner, trained on the out-of-fold predictions of other folds.
    gain : Estimate
        By how much that is better than the best base, over the same folds.
    correlations : DataFrame of shape (n_models, n_models)
        Between the errors of the bases.
    n_folds : int
        Folds that the scores are means of.
    """

    metric: str
    greater_is_better: bool
    bases: list[BaseReport]
    stack: Estimate
    gain: Estimate
    correlations: pd.DataFrame
    n_folds: int

    @property
    def best(self) -> BaseReport | None:
        """The base that scores best by itself, None if no base predicts what is scored."""
        sign = 1 if self.greater_is_better else -1
        known = [base for base in self.bases if not np.isnan(base.score.mean)]
        return max(known, key=lambda base: sign * base.score.mean, default=None)

    @property
    def verdict(self) -> str:
        """One sentence."""
        best = self.best
        if best is None:
            return f"No base is scored by itself; the stack has {self.metric} {self.stack}."
        against = (
            f"{self.metric} {self.stack.mean:.4g} against {best.score.mean:.4g} of the best base, "
            f"{best.name!r}, alone"
        )
        if np.isnan(self.gain.error):
            return f"Whether stacking helps cannot be told from one fold: {against}."
        if self.gain.mean > 2 * self.gain.error:
            return f"Stacking helps: {against}."
        if self.gain.mean < -2 * self.gain.error:
            return f"Stacking hurts: {against}; use that one, or a simpler meta-learner."
        return f"Stacking makes no difference beyond noise: {against}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per base, and a last one for the stack.

        Returns
        -------
        frame : DataFrame
            Columns: the metric, its standard error, ``weight``, ``lost without`` and its standard
            error.
        """
        rows = {
            base.name: [
                base.score.mean,
                base.score.error,
                base.weight,
                base.lost_without.mean,
                base.lost_without.error,
            ]
            for base in self.bases
        }
        rows["(stack)"] = [self.stack.mean, self.stack.error, np.nan, np.nan, np.nan]
        columns = [self.metric, "s.e.", "weight", "lost without", "s.e. of that"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(columns))

    def _notes(self) -> str:
        better = "higher" if self.greater_is_better else "lower"
        return f"Means over {self.n_folds} folds with standard errors; {better} is better."

    def __str__(self) -> str:
        shown = {"float_format": "{:.4f}".format, "na_rep": ""}
        return "\n".join(
            [
                self.verdict,
                "",
                self.to_frame().to_string(**shown),
                self._notes(),
                "",
                "Correlation of errors:",
                self.correlations.to_string(float_format="{:.2f}".format, na_rep=""),
            ]
        )

    def _repr_html_(self) -> str:
        shown = {"float_format": "{:.4f}".format, "na_rep": ""}
        return (
            f"<p><b>{escape(self.verdict)}</b></p>{self.to_frame().to_html(**shown)}"
            f"<p>{escape(self._notes())} Correlation of errors:</p>"
            f"{self.correlations.to_html(float_format='{:.2f}'.format, na_rep='')}"
        )
