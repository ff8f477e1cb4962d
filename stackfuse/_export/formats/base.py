"""The base of all formats: write a graph, attach and read the manifest, run the file."""

import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stackfuse._export.checking.process import Runtime
from stackfuse._export.graph.graph import Graph

#: The name of the manifest inside an export.
MANIFEST = "stackfuse.json"


class Format(ABC):
    """One format of exported files; each format is one object, in its own module.

    Attributes
    ----------
    name, suffix, title : str
        As in ``format=``, the ending of its files, and its name in messages.
    runtime : Runtime
        The process that loads such files.
    precisions : tuple of str
        The precisions in which its graphs can compute, the default first.
    takes_strings : bool
        Whether its inputs can be strings.
    reads_text : bool
        Whether Keras networks of strings can be in it, with layers that cut, look up and hash them.
    native_trees : bool
        Whether it has an operator for trees, so that graphs for it may hold ``TreeSums``.
    extra : str or None
        The extra of this package that installs the needed packages.
    packages : tuple of str
        The modules of that extra.
    companions : tuple of str
        Endings of further files that belong to one of this format.
    may_write_files : bool
        Whether a file of this format can hold operations that write files when it is run.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    title: ClassVar[str]
    runtime: ClassVar[Runtime]
    precisions: ClassVar[tuple[str, ...]] = ("float64", "float32")
    takes_strings: ClassVar[bool] = True
    reads_text: ClassVar[bool] = True
    native_trees: ClassVar[bool] = False
    extra: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    companions: ClassVar[tuple[str, ...]] = ()
    may_write_files: ClassVar[bool] = False

    @abstractmethod
    def write(self, graph: Graph, path: Path) -> None:
        """Write a graph to a path.

        Raises
        ------
        NotConvertible
            If the format has no counterpart for a part of the graph.
        """

    @abstractmethod
    def attach(self, path: Path, manifest: str) -> None:
        """Put the manifest's text into a written file."""

    @abstractmethod
    def attached(self, path: Path) -> str:
        """Return the manifest's text in a file; raise KeyError if there is none."""

    @abstractmethod
    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the parts of a file that compute, by name, without the manifest."""

    @property
    def is_folder(self) -> bool:
        """Whether an export is a folder."""
        return not self.suffix

    def foreign_part(self, path: Path, manifest: dict[str, Any]) -> str | None:
        """Return the name of something that was not exported; only a folder can hold such."""
        return None

    def check_installed(self) -> None:
        """Raise ModuleNotFoundError, with the line that installs it, if a package is missing."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise ModuleNotFoundError(
                f"{self.title} files need {' and '.join(missing)}, which {verb} not "
                f"installed: pip install 'stackfuse[{self.extra}]'.",
                name=missing[0],
            )

    def start(self) -> None:
        """Start the process that loads files; it gets ready while the caller goes on."""
        self.runtime.start(self.name)

    def outputs_of(self, path: Path, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a file for rows, computed by its runtime in another process."""
        return self.runtime.outputs_of(self.name, path, rows)

    def files(self, path: Path) -> list[Path]:
        """Return all files of an export; the one at the path is the last."""
        if path.is_dir():
            return [file for file in path.rglob("*") if file.is_file()]
        beside = [path.with_suffix(suffix) for suffix in self.companions]
        return [file for file in (*beside, path) if file.is_file()]

    def size(self, path: Path) -> int:
        """Return the size of an export in bytes."""
        return sum(file.stat().st_size for file in self.files(path))

    def digests(self, path: Path) -> dict[str, str]:
        """Return the SHA-256 of every part of a file that computes."""
        return {name: hashlib.sha256(part).hexdigest() for name, part in self.contents(path)}

    def read_manifest(self, path: Path) -> dict[str, Any]:
        """Return the manifest of an export; nothing of the export is run.

        Raises
        ------
        ValueError
            If there is no manifest, or this version of stackfuse could not have written it.
        OSError
            If the file cannot be read.
        """
        try:
            manifest = json.loads(self.attached(path))
        except KeyError:
            raise ValueError("it holds no manifest: it was not written by sf.export") from None
        except (ImportError, OSError):
            raise
        except Exception as error:  # each format's reader has its own for files that are none
            raise ValueError(f"it is no {self.title} file, or damaged") from error
        wanted = {"manifest_version", "sha256", "inputs", "outputs", "golden", "estimator"}
        if not isinstance(manifest, dict) or not wanted <= manifest.keys():
            raise ValueError("its manifest was not written by sf.export")
        digests = manifest["sha256"]
        if not isinstance(digests, dict) or not digests:
            raise ValueError("its manifest holds no digests")
        return manifest

    def changed_parts(self, path: Path, manifest: dict[str, Any]) -> list[str]:
        """Return the parts of an export that differ from its manifest; nothing is run.

        Raises
        ------
        ValueError
            If a file is damaged so much that it has no parts.
        OSError
            If a file cannot be read.
        """
        written = manifest["sha256"]
        try:
            found = self.digests(path)
        except FileNotFoundError as error:
            return [Path(error.filename).name]
        except (ImportError, OSError):
            raise
        except Exception as error:  # each format's reader has its own for files that are damaged
            raise ValueError(f"it is no {self.title} file, or damaged") from error
        return sorted(k for k in {*found, *written} if found.get(k) != written.get(k))
