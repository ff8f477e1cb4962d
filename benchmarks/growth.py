"""How the time of fitting a stack grows with rows, folds and bases.

The network is the small MLP; one epoch of 32 rows a batch for the growth with rows, five for the
others. Every size is fitted once, interleaved with one ``model.fit`` per base.
"""

import dataclasses

import _cases as cases
import numpy as np

import stackfuse as sf
from stackfuse._oof.engines import (
    Job,
    fit_many,
)

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
FOLDS = (2, 5, 10, 20)
BASES = (1, 2, 5, 10)
SEEDS = (1, 5)


def row(title: str, case: cases.Case, cv: int, turns: int = 2) -> None:
    """Print one line: a stack by "auto", by the loop, in units of fitting each base once."""
    X, y = case.data()
    candidates = {
        "plain": cases.plain(case, X, y),
        "auto": lambda: cases.stack(case, cv=cv).fit(X, y),
        "loop": lambda: cases.stack(case, "sequential", cv=cv).fit(X, y),
    }
    show(title, candidates, turns)


def show(title: str, candidates, turns: int) -> None:
    """Print one line: "auto" and "loop" in units of "plain"."""
    best = {name: min(t) for name, t in cases.interleaved(candidates, turns).items()}
    ratios = [best[name] / best["plain"] for name in ("auto", "loop")]
    print(f"{title:20} {best['plain']:8.2f} s{ratios[0]:9.2f}{ratios[1]:9.2f}", flush=True)


def seeds(case: cases.Case, n_seeds: int, turns: int) -> None:
    """Print one line: the members of a seed ensemble, in units of fitting one."""
    X, y = case.data()
    network = sf.KerasClassifier(case.build, **case.fit)
    jobs = [Job(np.arange(len(X)), seed) for seed in range(n_seeds)]
    candidates = {
        "plain": cases.plain(case, X, y),
        "auto": lambda: fit_many(network, X, y, jobs),
        "loop": lambda: fit_many(network, X, y, jobs, engine="sequential"),
    }
    show(f"{n_seeds} seeds, no folds", candidates, turns)


def main(quick: bool = False) -> None:
    """Print the table."""
    turns = 1 if quick else 2
    print("A stack of small MLPs in units of fitting each base once by model.fit")
    print(f"{'':20} {'model.fit':>10} {'auto':>8} {'loop':>8}")
    cases.warmed_up()
    one = dataclasses.replace(cases.SMALL, n_bases=1)
    for n_rows in ROWS[::2][:2] if quick else ROWS:
        case = dataclasses.replace(one, data=cases.table(n_rows), fit={"epochs": 1})
        row(f"{n_rows:,} rows, 5 folds", case, 5, turns)
    small = dataclasses.replace(one, data=cases.table(2000), fit={"epochs": 5})
    for n_folds in FOLDS[:3:2] if quick else FOLDS:
        row(f"{n_folds} folds, 2,000 rows", small, n_folds, turns)
    for n_bases in BASES[:2] if quick else BASES:
        row(f"{n_bases} bases, 5 folds", dataclasses.replace(small, n_bases=n_bases), 5, turns)
    for n_seeds in SEEDS:
        seeds(small, n_seeds, turns)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
