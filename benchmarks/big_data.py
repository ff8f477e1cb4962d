"""Peak memory and time of a stack of two networks on rows in a file: 10 GB, or as many as asked.

``python benchmarks/big_data.py [GB] [FOLDER]``. The folder has to have room for the rows; they are
deleted afterwards.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COLUMNS = 4096


def write(path: Path, n_bytes: int) -> None:
    """Write rows of random float32 numbers to a file in numpy's format, block by block."""
    rng, n_rows = np.random.default_rng(0), n_bytes // (4 * COLUMNS)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, COLUMNS)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n_rows, 4096):
            shape = min(4096, n_rows - start), COLUMNS
            rng.standard_normal(shape, np.float32).tofile(file)


def gigabytes(name: str) -> float:
    """Return a size of this process that Linux knows, VmRSS or VmHWM, in GB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e9 if found else float("nan")


def main(n_bytes: int, folder: str | None) -> None:
    """Write the rows, fit and predict, and print what it took."""
    import keras

    import stackfuse as sf

    def build(meta):
        inputs = keras.Input((meta["n_features_in_"],))
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(8, "relu")(inputs)))

    with tempfile.TemporaryDirectory(dir=folder) as place:
        write(Path(place, "rows.npy"), n_bytes)
        rows = np.load(Path(place, "rows.npy"), mmap_mode="r")
        y = np.random.default_rng(1).normal(size=len(rows))
        network = sf.KerasRegressor(build, epochs=1, batch_size=1024)
        bases = [("one", network), ("two", sf.KerasRegressor(build, epochs=1, batch_size=512))]
        print(f"{rows.nbytes / 1e9:.1f} GB in {len(rows):,} rows", flush=True)
        before, start = gigabytes("VmRSS"), time.perf_counter()
        stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(rows, y)
        fitted, seconds = gigabytes("VmHWM"), time.perf_counter() - start
        print(f"before fit {before:.2f} GB, at the peak of fit {fitted:.2f} GB, {seconds:.0f} s")
        print(stack.engine_, flush=True)
        start = time.perf_counter()
        stack.predict(rows)
        seconds = time.perf_counter() - start
        print(f"at the peak of predict {gigabytes('VmHWM'):.2f} GB, {seconds:.0f} s")


if __name__ == "__main__":
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    main(int(wanted * 1e9), sys.argv[2] if len(sys.argv) > 2 else None)
