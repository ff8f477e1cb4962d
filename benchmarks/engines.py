"""Training of a whole stack: five folds, the refit and the meta-learner, by each engine and peer.

Ratios within this process: the candidates take turns, and the best of several turns counts. What
is compiled stays compiled between turns, as it does in a search. First fits, which compile, are
timed in processes of their own, twice each.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import _cases as cases

#: Turns of each candidate; the slow peers take one.
TURNS = 3


def first(case_number: int, engine: str, quick: bool) -> float:
    """Return the seconds of the first fit of a stack in this process."""
    cases.warmed_up()
    case = cases.CASES[case_number]
    case = cases.smaller(case) if quick else case
    X, y = case.data()
    return cases.seconds(lambda: cases.stack(case, engine).fit(X, y))


def in_new_processes(*arguments) -> float:
    """Return the better of two first fits."""
    spawned = multiprocessing.get_context("spawn")
    times = []
    for _ in range(2):
        with ProcessPoolExecutor(1, spawned) as other:
            times.append(other.submit(first, *arguments).result())
    return min(times)


def main(quick: bool = False) -> None:
    """Print the table."""
    peers = {"wrappers": cases.keras_stack}
    why_not = cases.why_no_scikeras()
    if why_not is None:
        peers["scikeras"] = cases.scikeras_stack
    columns = ["auto, first", "loop, first", "auto", "fused", "loop", *peers]
    print("A stack of 5 folds in units of fitting each base once by model.fit")
    print(f"{'':20} {'model.fit':>10}" + "".join(f"{name:>12}" for name in columns))
    cases.warmed_up()
    for number, case in enumerate(cases.CASES):
        case = cases.smaller(case) if quick else case
        X, y = case.data()
        candidates = {
            "auto": lambda case=case, X=X, y=y: cases.stack(case).fit(X, y),
            "plain": cases.plain(case, X, y),
            "loop": lambda case=case, X=X, y=y: cases.stack(case, "sequential").fit(X, y),
            "fused": lambda case=case, X=X, y=y: cases.stack(case, "fused").fit(X, y),
        }
        times = cases.interleaved(candidates, 2 if quick else TURNS)
        best = {name: min(values) for name, values in times.items()}
        best["auto, first"] = in_new_processes(number, "auto", quick)
        best["loop, first"] = in_new_processes(number, "sequential", quick)
        for name, peer in peers.items():
            if X.ndim == 2 and not (quick and case.n_bases == 1):  # they take tables only
                fit = peer(case).fit
                best[name] = cases.seconds(lambda fit=fit, X=X, y=y: fit(X, y))
        unit = best["plain"]
        ratios = [f"{best[name] / unit:.2f}" if name in best else "-" for name in columns]
        shown = "".join(f"{ratio:>12}" for ratio in ratios)
        print(f"{case.title:20} {unit:8.2f} s{shown}", flush=True)
    print("The peers take no X of more than two axes: -.")
    if why_not is not None:
        print(f"No column of scikeras: {why_not}.")


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
