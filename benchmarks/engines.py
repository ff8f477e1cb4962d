"""Training of a whole stack: five folds, the refit and the meta-learner, by each engine and peer.

Ratios within this process: the candidates take turns, and the best of several turns counts. What
is compiled stays compiled between turns, as it does in a search; the first fit is shown apart.
"""

import _cases as cases

#: Turns of each candidate; the slow peers take one.
TURNS = 3


def main(quick: bool = False) -> None:
    """Print the table."""
    peers = {"wrappers": cases.keras_stack}
    why_not = cases.why_no_scikeras()
    if why_not is None:
        peers["scikeras"] = cases.scikeras_stack
    columns = ["auto, first", "auto", "fused", "loop", *peers]
    print("A stack of 5 folds in units of fitting each base once by model.fit")
    print(f"{'':20} {'model.fit':>10}" + "".join(f"{name:>12}" for name in columns))
    cases.warmed_up()
    for case in map(cases.smaller, cases.CASES) if quick else cases.CASES:
        X, y = case.data()
        candidates = {
            "auto": lambda case=case, X=X, y=y: cases.stack(case).fit(X, y),
            "plain": cases.plain(case, X, y),
            "loop": lambda case=case, X=X, y=y: cases.stack(case, "sequential").fit(X, y),
            "fused": lambda case=case, X=X, y=y: cases.stack(case, "fused").fit(X, y),
        }
        times = cases.interleaved(candidates, 2 if quick else TURNS)
        best = {name: min(values) for name, values in times.items()}
        best["auto, first"] = times["auto"][0]
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
