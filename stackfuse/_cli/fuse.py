"""Join trained models in files into one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stackfuse._core import files
from stackfuse._fusion import fuse


def fuse_files(models: Sequence[Path], how: str, out: Path) -> dict[str, list]:
    """Join models, write the joined one, and read it back.

    Parameters
    ----------
    models : sequence of Path
        Files of Keras, loaded in safe mode.
    how : str
        See :func:`stackfuse.fuse`.
    out : Path
        A ``.keras`` file that is not there yet.

    Returns
    -------
    shapes : dict of str to list of int or None
        The shapes of its inputs by name, without the axis of rows.

    Raises
    ------
    OSError
        If a file cannot be read, or the new one not be written.
    ValueError
        If the models cannot be joined so, or the written file computes something else.
    """
    if out.suffix != ".keras":
        raise ValueError(f"--out must end in '.keras', got {out}.")
    joined = fuse([str(path) for path in models], how)

    def check() -> None:
        if out.exists():
            raise FileExistsError(f"{out} is there already: choose another name, or delete it.")

    check()
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.told_if_full(out), files.draft_of(out, (out.suffix,)) as draft:
        joined.save(draft.path)
        again = keras.models.load_model(draft.path, compile=False, safe_mode=True)
        rows = _made_up_rows(joined)
        for one, other in zip(keras.tree.flatten(joined(rows)), keras.tree.flatten(again(rows))):
            if not np.allclose(one, other, rtol=0, atol=1e-6):
                raise ValueError(
                    f"The file was read back and computes other numbers than the joined {how} "
                    "model."
                )
        draft.swap(check)
    return {tensor.name: list(tensor.shape[1:]) for tensor in joined.inputs}


def _made_up_rows(model) -> Any:
    """Return eight rows of zeros and ones, which suit numbers and places in tables alike."""
    generator = np.random.default_rng(0)
    rows: dict[str, Any] = {}
    for tensor in model.inputs:
        shape = (8, *(side or 4 for side in tensor.shape[1:]))
        numbers = generator.integers(0, 2, shape)
        is_text = tensor.dtype == "string"
        rows[tensor.name] = (
            keras.ops.convert_to_tensor(numbers.astype(str).astype(object))
            if is_text
            else numbers.astype(tensor.dtype)
        )
    several = isinstance(model.input, dict | list)
    return rows if several else next(iter(rows.values()))
