"""Whether stacking helped: what a report holds, and how it is shown."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import issparse

from stackfuse._core import files, messages, sklearn_private
from stackfuse._display import page, rowwise
from stackfuse._stacking.costs import in_digits

#: Parts of the loss of the best base: gains below the first are tiny, from the second on clear.
#: Confidence intervals that reach further than the third leave the question open.
_HAIR, _CLEAR, _WIDE = 0.02, 0.1, 0.1

#: A meta-learner overfits if it loses more on new folds, in the same parts. Those with one weight
#: for each base lose up to a fifth on few rows; trees of full depth lose all.
_FOOLED = 0.25

#: A base with a greater part of all costs must be worth it.
_DEAR = 0.1

#: The letters of a line within which tables of text have the names of bases above their columns.
_LINE = 100

#: The costs of a base, in words.
_COSTS = ("time to fit", "time to predict", "size")


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
    """Scores, costs and weight of one base estimator.

    Attributes
    ----------
    name : str
    score : Estimate
        The score of its out-of-fold predictions.
    weight : float
        Its share in the meta-learner: its weight, or the part of its columns in the importances
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
    optimism : Estimate
        By how much better the meta-learner scores on the rows that it was trained on.
    constant : Estimate
        The score of the mean of y, or of the shares of the classes, of the other folds. NaN where
        `scoring` was given.
    over_constant : Estimate
        By how much the stack is better than that, or the best base where this scores better. Its
        error is that of the folds or that of the rows, the larger of the two.
    costs : DataFrame of shape (n_models, 3)
        The costs of each base: seconds to fit, on all folds together; milliseconds to predict a
        row; kilobytes. NaN where it is not known.
    evidence : Evidence or None
        Predictions of every row by the bases and the cross-fitted stack, and their losses.
    facts : Facts or None
        How the stack was made, and what is odd.
    is_constant : bool
        Whether the meta-learner answers every row alike, as no base predicts better.
    failures : dict of str to str
        The bases that could not be fitted, by name, and why; ``stack.failures_``.
    """

    metric: str
    greater_is_better: bool
    bases: list[BaseReport]
    stack: Estimate
    gain: Estimate
    correlations: pd.DataFrame
    n_folds: int
    optimism: Estimate = Estimate()
    constant: Estimate = Estimate()
    over_constant: Estimate = Estimate()
    costs: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    evidence: rowwise.Evidence | None = field(default=None, repr=False, compare=False)
    facts: page.Facts | None = field(default=None, repr=False, compare=False)
    is_constant: bool = False
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> BaseReport | None:
        """The base that scores best by itself, None if no base predicts what is scored."""
        sign = 1 if self.greater_is_better else -1
        known = [base for base in self.bases if not np.isnan(base.score.mean)]
        return max(known, key=lambda base: sign * base.score.mean, default=None)

    @property
    def verdict(self) -> str:
        """One sentence: whether stacking helps, and how much.

        It helps or hurts if the 95 % confidence interval of the gain, by Student's t over the
        folds, is on one side of zero. How much is told in parts of the best base's loss, or of
        1 - its score: below 2 % is "by a hair", from 10 % on "clearly". The question is left open
        if the interval is wider than 10 % to each side. Where neither the stack nor the best base
        is better than a constant, the mean of y or the shares of the classes, that comes first.
        """
        best = self.best
        if self.is_constant and (best is None or self._outlook != "bad"):
            return (
                f"No base predicts better than a constant. So the stack predicts {self._constant} "
                "for every row."
            )
        if best is None:
            return f"No base is scored alone. The stack has {self.metric} {self.stack}."
        if self.is_constant:
            return (
                f"The stack predicts {self._constant} for every row. But by {self.metric} the base "
                f"{best.name!r} is better: {best.score.mean:.4g} against {self.stack.mean:.4g}. "
                "Use that one, or a meta-learner with this scoring."
            )
        if self._is_idle:
            return (
                f"Nothing predicts better than a constant beyond noise: {self.metric} "
                f"{self.stack.mean:.4g} of the stack, {best.score.mean:.4g} of the best base, "
                f"{best.name!r}, {self.constant.mean:.4g} of {self._constant}."
            )
        against = (
            f"{self.metric} {self.stack.mean:.4g} against {best.score.mean:.4g} of the best base, "
            f"{best.name!r}, alone"
        )
        if np.isnan(self.gain.error):
            return f"Whether stacking helps cannot be told from one fold: {against}."
        if self._outlook == "good":
            return f"Stacking helps {self._how_much}: {against}."
        if self._outlook == "bad":
            return (
                f"Stacking hurts {self._how_much}: {against}; use that one, or a simpler "
                "meta-learner."
            )
        if self._is_open:
            return (
                f"Whether stacking helps cannot be told from {self.n_folds} folds: {against}, and "
                f"the folds differ too much (gain {self.gain.mean:.2g}, 95 % interval +/- "
                f"{self._sure:.2g}); use more rows or more folds."
            )
        return f"Stacking makes no difference beyond noise: {against}."

    @property
    def not_worth_it(self) -> dict[str, str]:
        """The bases that are not worth their cost, and what they cost.

        A base is not worth it if the stack scores no worse without it, or by a hair (the mean of
        `lost_without` is below 2 % of what the best base leaves to win); and it takes more than
        10 % of the bases' seconds to fit, of their milliseconds to predict, or of their kilobytes.
        No base is judged where the verdict leaves the question open, or where the stack predicts a
        constant or nothing better, nor a base whose own interval is as wide. Where stacking hurts,
        the best base is not named: the verdict advises it. Each base is judged by itself: once one
        is left out, the others may be worth theirs.
        """
        if self.costs.empty or self._is_open or self.is_constant or self._is_idle:
            return {}
        shares = self.costs / self.costs.sum()
        found = {}
        for base in self.bases:
            lost, dear = base.lost_without, shares.loc[base.name] > _DEAR
            is_advised = base is self.best and self._outlook == "bad"
            if np.isnan(lost.error) or not dear.any() or is_advised:
                continue
            is_told = self._reach(lost) <= _WIDE * self._at_stake
            if not is_told or lost.mean > _HAIR * self._at_stake:
                continue
            parts = [
                f"{shares.loc[base.name, name]:.0%} of the {what}"
                for name, what in zip(self.costs.columns, _COSTS)
                if dear[name]
            ]
            found[base.name] = " and ".join([", ".join(parts[:-1]), parts[-1]][not parts[:-1] :])
        return found

    @property
    def advice(self) -> list[str]:
        """Advice on the stack, one sentence each; empty if there is none.

        It names bases that are not worth their cost, see :attr:`not_worth_it`. It also warns if the
        stack fools itself: the meta-learner scores better on its training rows than on folds that
        it has not seen. With 95 % confidence the difference must be above zero. It must be a
        quarter of the loss of the best base, as every meta-learner does a little better there.
        """
        said = [
            f"The base {name!r} is not worth its cost: it takes {cost}, and without it the stack "
            f"loses less than {_HAIR:.0%}, or nothing."
            for name, cost in self.not_worth_it.items()
        ]
        if len(said) > 1:
            said.append(
                "Each of these bases was judged with all others in the stack. Leave out one by "
                "stack.of_bases([...]), and read its report before you leave out the next."
            )
        gap = self.optimism
        least = max(self._reach(gap, sides=1), _FOOLED * self._at_stake)
        if np.isfinite(gap.error) and gap.mean > least and not self.is_constant:
            said.append(
                f"The stack fools itself: its {self.metric} is {self._write(gap.mean)} better on "
                "the rows that the meta-learner was trained on than on folds that it has not seen. "
                "Use a simpler meta-learner, or fewer bases."
            )
        return said

    @property
    def _is_open(self) -> bool:
        """Whether the folds differ too much to tell whether stacking helps."""
        return self._outlook == "even" and self._sure / self._at_stake > _WIDE

    @property
    def _sure(self) -> float:
        """Half of the 95 % confidence interval of the gain, by Student's t for few folds."""
        return self._reach(self.gain)

    @property
    def _is_idle(self) -> bool:
        """Whether neither the stack nor the best base is better than a constant beyond noise.

        Noise is what 95 of 100 useless stacks stay below. The error of `over_constant` is at least
        that of the rows. These are many, so that the quantile is the normal one. Where much is
        gained but the folds differ too much, the other verdicts say so.
        """
        over = self.over_constant
        much = _CLEAR * self._room_above(self.constant.mean)
        noise = float(stats.norm.ppf(0.95)) * over.error
        return np.isfinite(over.error) and over.mean <= min(noise, much)

    @property
    def _constant(self) -> str:
        """The constant in words."""
        if self.metric == "accuracy":
            return "the most frequent class"
        if self.evidence is None:
            return "the shares of the classes, or the mean of y,"
        kinds = {"numbers": "the mean of y", "labels": "the shares of the labels"}
        return kinds.get(self.evidence.kind, "the shares of the classes")

    def _reach(self, estimate: Estimate, sides: int = 2) -> float:
        """Return how far a 95 % confidence interval of an estimate reaches; NaN for one fold."""
        quantile = stats.t.ppf(1 - 0.05 / sides, max(self.n_folds - 1, 1))
        return float(quantile) * estimate.error

    @property
    def _at_stake(self) -> float:
        """The room above the best base: its loss, or how far its score is from 1."""
        return self._room_above(np.nan if self.best is None else self.best.score.mean)

    def _room_above(self, score: float) -> float:
        """Return the loss, or how far a score is from 1; R2 may be below 0."""
        to_one = (
            self.greater_is_better and (0 <= score or self.metric.lower() == "r2") and score < 1
        )
        return float(max(1 - score if to_one else abs(score), np.finfo(float).tiny))

    @property
    def _how_much(self) -> str:
        part = abs(self.gain.mean) / self._at_stake
        return "by a hair" if part < _HAIR else "a little" if part < _CLEAR else "clearly"

    @property
    def _outlook(self) -> str:
        """Whether stacking is "good", "bad" or, as far as four digits and noise show, "even"."""
        best, sure = self.best, self._sure
        if best is not None and f"{self.stack.mean:.4g}" == f"{best.score.mean:.4g}":
            return "even"
        return "good" if self.gain.mean > sure else "bad" if self.gain.mean < -sure else "even"

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
        rows = {messages.printable(name): row for name, row in rows.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(columns))

    @property
    def _write(self) -> Callable[[float], str]:
        """A function that writes scores as tables of text show them."""
        return messages.score_writer([*(base.score.mean for base in self.bases), self.stack.mean])

    def _notes(self) -> str:
        better = "higher" if self.greater_is_better else "lower"
        return f"Means over {self.n_folds} folds with standard errors; {better} is better."

    def __str__(self) -> str:
        scores = self.to_frame().to_string(float_format=self._write, na_rep="")
        left_out = [f"The base {name!r} was left out: {why}" for name, why in self.failures.items()]
        lines = [self.verdict, *self.advice, *left_out, "", scores, self._notes()]
        if len(self.bases) > 1:
            lines += ["", "Correlation of errors:", _in_text(self.correlations)]
        if not self.costs.empty:
            table = self.costs.to_string(float_format=in_digits, na_rep="")
            lines += ["", "Costs of the bases:", table]
        return messages.printable("\n".join(lines))

    __repr__ = __str__

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        title: str = "Stack report",
        n_worst: int = 10,
        values_of: Any = None,
        warnings: Sequence[str] = (),
        rows: Sequence[int] | None = None,
    ) -> None:
        """Write the report as one page of HTML, which loads nothing from anywhere.

        The page follows light and dark, fits phones, and works by keyboard and screen reader. Equal
        reports give equal pages, but for the time at their end.

        Parameters
        ----------
        path : str or path
            Replaced as a whole, if it exists.
        title : str, default="Stack report"
        n_worst : int, default=10
            Rows that the stack misses by most: their numbers and losses are shown.
        values_of : array-like or DataFrame of shape (n_samples, n_features), default=None
            X of fit. With it the worst rows are shown with their values, targets and predictions.
            Everybody who has the file can read them.
        warnings : sequence of str, default=()
            Sentences about the data that are shown beside those of the report.
        rows : sequence of int, default=None
            The numbers of the rows of fit in a table that had more rows, or others first; by
            default they count from 0.

        Raises
        ------
        ValueError
            If a parameter cannot be used.
        OSError
            If the file cannot be written; an earlier file stays.

        Examples
        --------
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> import stackfuse as sf
        >>> X, y = load_iris(return_X_y=True)
        >>> bases = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=2))]
        >>> stack = sf.StackingClassifier(bases, random_state=0).fit(X, y)
        >>> stack.report().to_html(f"{tempfile.mkdtemp()}/report.html")
        """
        if isinstance(n_worst, bool) or not isinstance(n_worst, int) or n_worst < 0:
            raise ValueError(f"n_worst must be an integer of at least 0, got {n_worst!r}: use 10.")
        if isinstance(warnings, str) or not isinstance(warnings, Sequence):
            raise ValueError(f"warnings must be a list of sentences, got {warnings!r}: use [...].")
        if not isinstance(title, str):
            raise ValueError(f"title must be text, got {messages.in_short(title)}.")
        content = self._content(title, _worst(self.evidence, n_worst, values_of), warnings)
        if rows is not None and content.worst is not None and content.evidence is not None:
            if len(rows) != len(content.evidence.y):
                raise ValueError(
                    f"rows has {len(rows)} numbers, and the stack was fitted on "
                    f"{len(content.evidence.y)} rows: pass one for each."
                )
            content.worst.index = [int(rows[k]) for k in content.worst.index]
        written = datetime.now(UTC).strftime("%Y-%m-%d %H:%MZ")
        files.write_whole(files.path_given(path), page.whole_page(content, written).encode())

    def _content(
        self, title: str, worst: pd.DataFrame | None, warnings: Sequence[str]
    ) -> page.Content:
        known = self.facts
        if warnings:
            known = known or page.Facts({}, pd.DataFrame())
            known = replace(known, warnings=(*warnings, *known.warnings))
        return page.Content(
            title,
            self.verdict,
            "even" if self._is_idle else self._outlook,
            self.metric,
            self.greater_is_better,
            self.n_folds,
            (self.gain.mean, self.gain.error),
            self.to_frame(),
            self.correlations,
            self.evidence,
            known,
            worst,
        )

    def _repr_html_(self) -> str:
        return page.report_fragment(self._content("", None, ()))


def _worst(known: rowwise.Evidence | None, n_rows: int, values_of: Any) -> pd.DataFrame | None:
    """Return the worst rows by their numbers: losses, and with values all that is known of them.

    Raises
    ------
    ValueError
        If the values are not those of a table with the rows of fit.
    """
    if known is None or rowwise.STACK not in known.losses:
        return None
    rows = known.worst(n_rows)
    frame = known.shown(rows, values=values_of is not None)
    if values_of is None:
        return frame
    n_given = sklearn_private.num_samples(values_of)
    if n_given != len(known.y):
        raise ValueError(
            f"values_of has {n_given} rows, and the stack was fitted on {len(known.y)}: pass the X "
            "of fit."
        )
    chosen = sklearn_private.safe_indexing(values_of, rows)
    if hasattr(chosen, "columns"):
        chosen = pd.DataFrame({name: list(chosen[name]) for name in chosen.columns})
    else:
        chosen = np.asarray(chosen.toarray() if issparse(chosen) else chosen)
        if chosen.ndim != 2:
            raise ValueError(
                f"values_of must be a table of shape (n_samples, n_features), got {chosen.ndim} "
                "dimensions: leave it out, and the rows are shown by their numbers."
            )
        chosen = pd.DataFrame(chosen)
    return pd.concat([frame, chosen.set_index(frame.index)], axis=1)


def _in_text(correlations: pd.DataFrame) -> str:
    """Return a table of correlations as text, with numbers for names that make it too wide."""
    text = correlations.to_string(float_format="{:.2f}".format, na_rep="")
    if len(text.partition("\n")[0]) <= _LINE:
        return text
    rows = [f"{k + 1} {name}" for k, name in enumerate(correlations.index)]
    numbered = correlations.set_axis(rows).set_axis(range(1, len(rows) + 1), axis=1)
    return numbered.to_string(float_format="{:.2f}".format, na_rep="")
