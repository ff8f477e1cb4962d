"""SavedModels: folders, for TensorFlow Serving."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackfuse._export.formats.archives import text_within_limits
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import log_messages_dropped
from stackfuse._export.formats.table import register
from stackfuse._export.written_manifest import MANIFEST

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph

#: The directory that TensorFlow keeps for others' files in a SavedModel.
EXTRA = "assets.extra"

#: The parts of a SavedModel without a digest.
_WITHOUT_DIGEST = {"fingerprint.pb", f"{EXTRA}/{MANIFEST}"}

#: The folders that TensorFlow makes in a SavedModel, also where they stay empty.
_FOLDERS = {"assets", "variables", EXTRA}


@register
class SavedModel(Format):
    """SavedModels of TensorFlow."""

    name = "saved_model"
    suffix = ""
    title = "SavedModel"
    bitwise = True
    traced = True
    runs_with = ("tensorflow",)
    may_write_files = True

    def write(self, graph: "Graph", path: Path) -> None:
        """See :class:`Format`."""
        import keras

        from stackfuse._keras import private

        layers = keras.layers
        with_tables = (layers.StringLookup, layers.IntegerLookup, layers.TextVectorization)
        archive = keras.export.ExportArchive()
        if any(isinstance(part, with_tables) for part in private.flatten_layers(graph.model)):
            archive.track(graph.model)  # for tables of words; then each weight is there twice
        archive.add_endpoint("serve", graph.model.__call__, [graph.specs()])
        with log_messages_dropped():
            archive.write_out(path, verbose=False)

    @staticmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], dict]:
        """See :class:`Format`."""
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
        serving = loaded.signatures["serving_default"]
        # The loaded object must outlive its functions.
        return lambda rows, keep=loaded: serving(
            **{name: tf.constant(a) for name, a in rows.items()}
        )

    def attach(self, path: Path, manifest: str) -> None:
        """See :class:`Format`."""
        extra = path / EXTRA
        extra.mkdir()
        (extra / MANIFEST).write_text(manifest)

    def attached(self, path: Path) -> str:
        """See :class:`Format`."""
        file = path / EXTRA / MANIFEST
        if not file.is_file():
            raise KeyError(MANIFEST)
        with open(file, "rb") as opened:
            return text_within_limits(opened)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """See :class:`Format`."""
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path)
            if file.is_file() and name.parts[0] != EXTRA and name != Path("fingerprint.pb"):
                yield name.as_posix(), file.read_bytes()

    def foreign_part(self, path: Path, manifest: dict[str, Any]) -> str | None:
        """Return a file, folder or link in a SavedModel that was not exported."""
        own_files = {*manifest["sha256"], *_WITHOUT_DIGEST}
        parents = {parent.as_posix() for name in own_files for parent in Path(name).parents}
        for part in sorted(path.rglob("*")):
            name, mode = part.relative_to(path).as_posix(), part.lstat().st_mode
            folders = _FOLDERS | parents
            own = folders if stat.S_ISDIR(mode) else own_files if stat.S_ISREG(mode) else ()
            if name not in own:
                return name
        return None
