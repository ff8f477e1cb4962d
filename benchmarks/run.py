"""All benchmarks of speed, memory and accuracy, one table after another; ``--quick``: minutes."""

import time

import _cases as cases
import accuracy
import engines
import exported
import growth
import memory
import pipelines
import prediction
import search
import tuning


def main(quick: bool = False) -> None:
    """Print the tables."""
    start = time.perf_counter()
    for part in (
        engines,
        pipelines,
        growth,
        search,
        tuning,
        prediction,
        exported,
        memory,
        accuracy,
    ):
        part.main(quick)
        print(f"{'':20} ({(time.perf_counter() - start) / 60:.1f} minutes so far)\n", flush=True)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
