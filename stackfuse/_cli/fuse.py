"""Join trained models in files into one file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stackfuse._core import files
from stackfuse._fusion import fuse


def fuse_files(
    models: Sequence[Path],
    how: str,
    out: Path,
    kinds: str | None = None,
    layer: str | None = None,
) -> dict[str, list]:
    """Join models, write the joined one, and read it back.

    Parameters
    ----------
    models : sequence of Path
        Files of Keras, loaded in safe mode.
    how : str
        See :func:`stackfuse.fuse`.
    out : Path
        A ``.keras`` file that is not there yet.
    kinds, layer : str, default=None
        As :func:`stackfuse.fuse` takes them: one for all models, or one for each between commas.

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
    said, chosen = _for_each(kinds), _for_each(layer)
    try:
        joined = fuse([str(path) for path in models], how, kinds=said, layer=chosen)
    except ValueError as error:
        raise ValueError(_with_options(str(error))) from error

    def check() -> None:
        if out.exists():
            raise FileExistsError(f"{out} is there already: choose another name, or delete it.")

    check()
    files.check_writable(out.parent)
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


def _for_each(text: str | None) -> Any:
    """Return the value of an option for all models, or a list with one for each."""
    if text is None:
        return None
    parts = [int(p) if re.fullmatch(r"-?\d+", p) else p.strip() for p in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


def _with_options(text: str) -> str:
    """Return a message with options of the command in place of parameters of ``sf.fuse``.

    Examples
    --------
    >>> _with_options("how='vote' needs kinds=['logits', 'probability']")
    '--how vote needs --kinds logits,probability'
    """
    text = re.sub(r"\b(how|layer|kinds)=(?:'([^']*)'|(-?\d+))", r"--\1 \2\3", text)
    each = re.compile(r"\b(kinds|layer)=\[([^\]]*)\]")
    return each.sub(lambda m: f"--{m[1]} {re.sub('[^a-z_,]', '', m[2])}", text)


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
