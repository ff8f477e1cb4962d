"""The losses and gains of a distillation."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Model:
    """Score and costs of one model.

    Attributes
    ----------
    loss : float
        The loss on the scored rows, which the model has not seen; NaN if there are none.
    milliseconds : float
        The time of one row, the median of several calls; NaN where it was not measured.
    kilobytes : float
        The size of the model's pickle in units of 1,000 bytes; NaN where it was not measured.
    """

    loss: float = np.nan
    milliseconds: float = np.nan
    kilobytes: float = np.nan


@dataclass(frozen=True)
class Distillation:
    """The losses and gains of a student beside its stack; the student's ``distillation_``.

    The losses are those of a twin of the student. It has learnt neither the scored rows nor rows
    that were made up, because the stack answered these knowing the scored rows. After few epochs
    such a twin can be much worse than the student.

    Attributes
    ----------
    metric : str
        "log-loss", or "1 - R2".
    stack, student : Model
    on_labels : Model
        The same student, trained on the labels of the same rows.
    difference : float
        The mean loss of the student less that of the stack.
    error : float
        Its standard error, from the losses of the scored rows.
    n_rows, n_made_up, n_scored, n_twin : int
        Rows that the student has learnt, those among them that were made up, the rows that were
        scored, and the rows that the twin has learnt.
    """

    metric: str
    stack: Model
    student: Model
    on_labels: Model = Model()
    difference: float = np.nan
    error: float = np.nan
    n_rows: int = 0
    n_made_up: int = 0
    n_scored: int = 0
    n_twin: int = 0

    @property
    def kept(self) -> float:
        """The part of the stack's gain over the student on labels that the student's twin keeps.

        1 if the twin is as good as the stack, 0 if the labels would have taught it as much; NaN
        where the stack is no better than the student on labels.
        """
        gain = self.on_labels.loss - self.stack.loss
        return (self.on_labels.loss - self.student.loss) / gain if gain > 0 else np.nan

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each model.

        Returns
        -------
        frame : DataFrame of shape (3, 3)
            Columns: the loss, milliseconds for one row, kilobytes.
        """
        models = {"stack": self.stack, "student": self.student, "on labels": self.on_labels}
        rows = {name: [m.loss, m.milliseconds, m.kilobytes] for name, m in models.items()}
        columns = pd.Index([self.metric, "ms for one row", "kB"])
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __str__(self) -> str:
        made_up = f", {self.n_made_up:,} of them made up" if self.n_made_up else ""
        lines = [f"Learnt from {self.n_rows:,} rows{made_up}."]
        if self.n_scored:
            lines.append(
                f"Scored on {self.n_scored:,} rows by models that have not seen them. A twin of "
                f"the student, which learnt {self.n_twin:,} rows, loses {self.difference:.4f} "
                f"(s.e. {self.error:.4f}) {self.metric} to the stack."
            )
            if np.isfinite(self.kept):
                lines.append(
                    "The stack beats the same student trained on labels; the twin keeps "
                    f"{self.kept:.0%} of that gain."
                )
            if self.n_made_up:
                lines.append(
                    "The student learnt made-up rows too, so it can be much better than its twin. "
                    "Score it on rows of your own."
                )
        else:
            lines.append("Not scored. Score it yourself on rows with labels.")
        table = self.to_frame().to_string(float_format="{:.4g}".format, na_rep="")
        return "\n".join([*lines, table])
