"""Exported files: trees against scikit-learn and its peers, a stack against Keras' wrapper.

The milliseconds of one call, best of several. For the trees see ``exported_trees.py``.
"""

import tempfile

import _cases as cases
import exported_trees
from prediction import show

import stackfuse as sf


def main(quick: bool = False) -> None:
    """Print the tables."""
    exported_trees.main(quick)
    X, y = cases.table(2_000)()
    ours, theirs = cases.stack(cases.SMALL), cases.keras_stack(cases.SMALL)
    cases.silently(ours.fit, X, y), cases.silently(theirs.fit, X, y)
    with tempfile.TemporaryDirectory() as folder:
        loads = {name: exported_trees.FORMATS[name] for name in ("SavedModel", "ONNX")}
        ways = {}
        for name, (ending, load) in loads.items():
            sf.export(ours, f"{folder}/stack{ending}", verify=X.astype("float64"))
            ways[name] = load(f"{folder}/stack{ending}")
        show(
            "\nstack of three, rows",
            {
                "SavedModel": lambda X: ways["SavedModel"](X.astype("float64")),
                "ONNX": lambda X: ways["ONNX"](X.astype("float64")),
                "stack": ours.predict_proba,
                "keras.wrappers": theirs.predict_proba,
            },
            quick,
        )


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
