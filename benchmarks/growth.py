"""How the time of fitting a stack grows with rows, folds and bases.

The network is the small MLP; one epoch of 32 rows a batch for the growth with rows, five for the
others. Every size is fitted once, interleaved with one ``model.fit`` per base.
"""

import dataclasses

import _cases as cases

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
FOLDS = (2, 5, 10, 20)
BASES = (1, 2, 5, 10)


def row(title: str, case: cases.Case, cv: int) -> None:
    """Print one line: a stack by "auto", by the loop, in units of fitting each base once."""
    X, y = case.data()
    candidates = {
        "plain": cases.plain(case, X, y),
        "auto": lambda: cases.stack(case, cv=cv).fit(X, y),
        "loop": lambda: cases.stack(case, "sequential", cv=cv).fit(X, y),
    }
    best = {name: min(t) for name, t in cases.interleaved(candidates, 2).items()}
    ratios = [best[name] / best["plain"] for name in ("auto", "loop")]
    print(f"{title:20} {best['plain']:8.2f} s{ratios[0]:9.2f}{ratios[1]:9.2f}", flush=True)


def main() -> None:
    """Print the table."""
    print("A stack of small MLPs in units of fitting each base once by model.fit")
    print(f"{'':20} {'model.fit':>10} {'auto':>8} {'loop':>8}")
    cases.warmed_up()
    one = dataclasses.replace(cases.SMALL, n_bases=1)
    for n_rows in ROWS:
        case = dataclasses.replace(one, data=cases.table(n_rows), fit={"epochs": 1})
        row(f"{n_rows:,} rows, 5 folds", case, cv=5)
    small = dataclasses.replace(one, data=cases.table(2000), fit={"epochs": 5})
    for n_folds in FOLDS:
        row(f"{n_folds} folds, 2,000 rows", small, cv=n_folds)
    for n_bases in BASES:
        row(f"{n_bases} bases, 5 folds", dataclasses.replace(small, n_bases=n_bases), cv=5)


if __name__ == "__main__":
    main()
