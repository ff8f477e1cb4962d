"""Peak memory of fitting a stack, each in a process of its own, above what the data take.

One ``model.fit`` is the unit: what a process takes at its peak, less what it held with TensorFlow
imported and the data made.
"""

import subprocess
import sys

import _cases as cases
from big_data import gigabytes

FITS = {
    "model.fit": lambda case, X, y: cases.plain(case, X, y)(),
    "auto": lambda case, X, y: cases.stack(case).fit(X, y),
    "fused": lambda case, X, y: cases.stack(case, "fused").fit(X, y),
    "loop": lambda case, X, y: cases.stack(case, "sequential").fit(X, y),
    "wrappers": lambda case, X, y: cases.keras_stack(case).fit(X, y),
}


def peak() -> float:
    """Return the most memory that this process has taken so far, in MB."""
    return 1000 * gigabytes("VmHWM")  # ru_maxrss would count what the parent held when it forked


def measure(title: str, name: str) -> None:
    """Print the peak of one fit and what the process held before it, in MB."""
    import tensorflow  # noqa: F401

    case = next(case for case in cases.CASES if case.title == title)
    X, y = case.data()
    before = peak()
    cases.seconds(lambda: FITS[name](case, X, y))
    print(before, peak())


def main(quick: bool = False) -> None:
    """Print the table; each figure comes from a new process. The quick one has one line."""
    print("Peak memory in MB above TensorFlow and the data (and the whole process)")
    fits = list(FITS)[: 2 if quick else None]
    print(f"{'':20}" + "".join(f"{name:>18}" for name in fits))
    for case in cases.CASES[:1] if quick else cases.CASES:
        shown = ""
        for name in fits:
            if name == "wrappers" and "digits" in case.title:
                shown += f"{'takes tables only':>18}"
                continue
            command = [sys.executable, __file__, case.title, name]
            process = subprocess.run(command, capture_output=True, text=True, check=True)
            before, after = map(float, process.stdout.split()[-2:])
            shown += f"{after - before:8.0f} ({after:6.0f}) "
        print(f"{case.title:20}{shown}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
    else:
        main(cases.asked_for(__doc__))
