"""The contents of a page: texts, tables and arrays."""

from dataclasses import dataclass, field

import pandas as pd

from stackfuse._display.rowwise import Evidence

#: How the stack is called beside its bases.
THE_STACK = "the stack"


@dataclass(frozen=True, eq=False)
class Facts:
    """How a stack was made, for its page.

    Attributes
    ----------
    settings : dict of str to str
        The settings of the stack, by name.
    bases : DataFrame
        One row per base: its class, its contribution, and how it was fitted.
    warnings : tuple of str
        Warnings about the data and the bases, one sentence each.
    versions : dict of str to str
        The versions of the libraries, by name.
    seconds : dict of str to float
        The seconds of each part.
    """

    settings: dict[str, str]
    bases: pd.DataFrame
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Content:
    """All that a page shows.

    Attributes
    ----------
    title : str
    verdict : str
        One sentence.
    outlook : {"good", "bad", "even"}
        The verdict on the stack.
    metric : str
    greater_is_better : bool
    n_folds : int
    gain : tuple of float
        By how much the stack is better than the best base, and the standard error.
    scores : DataFrame of shape (n_models, 5)
        One row for each base, the last one for the stack. Columns: score, its standard error,
        weight, what is lost without it, its standard error.
    correlations : DataFrame of shape (n_bases, n_bases)
        The correlations of the bases' errors.
    evidence : Evidence or None
    facts : Facts or None
    worst : DataFrame or None
        The worst rows, by their numbers; see :func:`worst_rows`.
    """

    title: str
    verdict: str
    outlook: str
    metric: str
    greater_is_better: bool
    n_folds: int
    gain: tuple[float, float]
    scores: pd.DataFrame
    correlations: pd.DataFrame
    evidence: Evidence | None = None
    facts: Facts | None = None
    worst: pd.DataFrame | None = None
