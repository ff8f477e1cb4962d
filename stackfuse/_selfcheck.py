"""Check an exported .keras file in a process that cannot import stackfuse.

Run as a script: ``python -I _selfcheck.py stack.keras [rows.npz]``. It loads the file as any user
of Keras would and compares its outputs with the golden rows inside it and, if given, with the
arrays ``x``, ``probabilities`` and ``label`` (or ``prediction``) of an .npz file.
"""

import json
import sys
import zipfile

import numpy as np


def differences(model, x, expected: dict) -> dict[str, float]:
    """Return the largest difference per output; of labels, how many differ."""
    outputs = model(x)
    result = {}
    for name, wanted in expected.items():
        found, wanted = np.asarray(outputs[name]), np.asarray(wanted)
        if found.shape != wanted.shape:
            raise SystemExit(f"{name}: shape {found.shape} instead of {wanted.shape}")
        distance = np.count_nonzero(found != wanted) if name == "label" else None
        if distance is None:
            distance = np.abs(found - wanted).max()
        result[name] = float(distance)
    return result


def main(path: str, rows: str | None = None) -> None:
    """Load the file, compare, and exit with an error if anything differs."""
    sys.modules["stackfuse"] = None  # type: ignore[assignment]  # importing it fails from here on
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    manifest = json.loads(zipfile.ZipFile(path).read("stackfuse.json"))
    checks = {}
    if manifest["golden"]:
        golden = {
            name: np.asarray(manifest["golden"]["inputs"][name], np.float64) for name in ["x"]
        }
        checks["golden rows"] = (golden["x"], manifest["golden"]["expected"])
    if rows:
        with np.load(rows, allow_pickle=False) as arrays:
            held_out = dict(arrays)
        checks["held-out rows"] = (held_out.pop("x"), held_out)
    for what, (x, expected) in checks.items():
        for name, distance in differences(model, x, expected).items():
            allowed = 0 if name == "label" else manifest["tolerance"]
            sys.stdout.write(f"{len(x)} {what}: {name} differs by {distance:.2g}\n")
            if not distance <= allowed:
                raise SystemExit(f"MISMATCH: {name} may differ by {allowed:g} at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
