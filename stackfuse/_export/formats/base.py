"""The base of all formats: write a graph, attach and read the manifest, run the file."""

import hashlib
import importlib.util
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from stackfuse._core import NotConvertible, files, messages
from stackfuse._export.checking.process import Loader, Runtime, memory_for, runtime_for
from stackfuse._export.formats.archives import (
    attach_member,
    attached_member,
    parts_without_manifest,
)
from stackfuse._export.formats.loading import code_of
from stackfuse._export.graph.build import Build
from stackfuse._export.written_manifest import check_manifest

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph


class Format(ABC):
    """The base class of formats; a format is one subclass in one file.

    A format needs its names, ``write`` and ``load``, and :func:`register`. The rest has defaults:
    the manifest is appended to the file as a zip archive, which most runtimes ignore, and all bytes
    before it are the part that computes.

    Attributes
    ----------
    name : str
        The name, for ``format=``.
    suffix : str
        The ending of its files, such as ``".onnx"``; empty if an export is a folder.
    title : str
        The name in messages.
    runs_with : tuple of str
        The modules that ``load`` imports. If "tensorflow" or "keras" is among them, files are
        checked in a process that has TensorFlow.
    packages : tuple of str
        The modules that must be installed to write such files.
    install : str or None
        The text after ``pip install`` for these packages; by default their names.
    precisions : tuple of str
        The precisions in which its graphs can compute, the default first.
    takes_strings : bool
        Whether its inputs can be strings.
    reads_text : bool
        Whether it can hold Keras networks that read strings, with layers that cut, look up and hash
        them.
    native_trees : bool
        Whether it has an operator for trees, so that its graphs may hold ``TreeSums``.
    bitwise : bool
        Whether its graphs may hold bitwise operations on integers, which make some trees faster.
    traced : bool
        Whether its files hold operations of TensorFlow in the place of layers. Then its graphs may
        hold layers of stackfuse, which make trees faster.
    companions : tuple of str
        The endings of further files that belong to an export.
    may_write_files : bool
        Whether a file of this format can hold operations that write files when it is run.

    Examples
    --------
    >>> import stackfuse as sf
    >>> form = sf.formats.named("keras")
    >>> isinstance(form, sf.formats.Format), form.suffix, form.precisions
    (True, '.keras', ('float64', 'float32'))
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    title: ClassVar[str]
    runs_with: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str | None] = None
    precisions: ClassVar[tuple[str, ...]] = ("float64", "float32")
    takes_strings: ClassVar[bool] = True
    reads_text: ClassVar[bool] = True
    native_trees: ClassVar[bool] = False
    bitwise: ClassVar[bool] = False
    traced: ClassVar[bool] = False
    companions: ClassVar[tuple[str, ...]] = ()
    may_write_files: ClassVar[bool] = False

    def new_build(self, precision: str) -> Build:
        """Return the settings with which a graph is built for this format.

        Parameters
        ----------
        precision : {"float64", "float32"}
            The dtype of all arithmetic outside networks.

        Returns
        -------
        build : Build
            The settings.
        """
        return Build(
            precision,
            native_trees=self.native_trees,
            bitwise=self.bitwise,
            traced=self.traced,
        )

    @abstractmethod
    def write(self, graph: "Graph", path: Path) -> None:
        """Write a graph to a path.

        Parameters
        ----------
        graph : Graph
            The graph; ``graph.model`` is the ``keras.Model``.
        path : Path
            Where to write. It ends in `suffix`.

        Raises
        ------
        NotConvertible
            If the format has no counterpart for a part of the graph.
        """

    @staticmethod
    @abstractmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], Any]:
        """Load a file in its own runtime, as its users do.

        Another process runs this function, without stackfuse. It must stand on its own: it imports
        what it needs inside.

        Parameters
        ----------
        path : str
            The file or folder of an export.

        Returns
        -------
        compute : callable
            A function that takes the inputs, arrays of shape (n_samples, ...) in their dtypes by
            their names, and returns the outputs by their names.
        """

    def check(self, graph: "Graph", owner: str) -> None:
        """Raise an error if the format cannot hold a graph.

        This is called before anything is compared or written.

        Parameters
        ----------
        graph : Graph
            The graph to write.
        owner : str
            The class of its estimator, for the message.

        Raises
        ------
        NotConvertible
            If the graph takes strings, or reads text, and the format cannot.
        """
        self._check_strings(graph, owner)

    def _check_strings(self, graph: "Graph", owner: str) -> None:
        """Raise if a graph takes strings, or holds a network that does, and the format cannot."""
        of_strings = graph.signature.columns_of_strings
        if not of_strings or (self.takes_strings and self.reads_text):
            return
        listed = messages.listed(of_strings, "and")
        if not self.takes_strings:
            raise NotConvertible(
                f"The {owner} takes strings in {listed}, and {self.title} has no strings. Export "
                "to .keras or a SavedModel, or encode them before the stack."
            )
        import keras

        from stackfuse._keras import private

        parts = [part for part in private.flatten_layers(graph.model) if part is not graph.model]
        networks = [part for part in parts if isinstance(part, keras.Model)]
        if any(isinstance(part, keras.layers.TextVectorization) for part in graph.model.layers):
            raise NotConvertible(
                f"The {owner} cuts texts in {listed} into words, which {self.title} cannot do. "
                "Export to .keras or a SavedModel, or leave columns of text out."
            )
        if any(tensor.dtype == "string" for part in networks for tensor in part.inputs):
            raise NotConvertible(
                f"The {owner} holds a network that takes strings in {listed}, which {self.title} "
                "cannot read. Export to .keras or a SavedModel, or encode the strings before the "
                "network, for example with a OneHotEncoder."
            )

    def attach(self, path: Path, manifest: str) -> None:
        """Put the manifest into a written file.

        Parameters
        ----------
        path : Path
            The file or folder of an export.
        manifest : str
            The text of the manifest.
        """
        attach_member(path, manifest)

    def attached(self, path: Path) -> str:
        """Return the text of the manifest in a file.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Returns
        -------
        manifest : str
            The text.

        Raises
        ------
        KeyError
            If the file holds no manifest.
        """
        return attached_member(path)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the parts of a file that compute, without the manifest.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Yields
        ------
        name : str
            The name of a part.
        content : bytes
            Its bytes.
        """
        yield from parts_without_manifest(path)

    @property
    def is_folder(self) -> bool:
        """Whether an export is a folder."""
        return not self.suffix

    def foreign_part(self, path: Path, manifest: dict[str, Any]) -> str | None:
        """Return the name of a file in an export that was not exported with it.

        Only a folder can hold such files.

        Parameters
        ----------
        path : Path
            The file or folder of an export.
        manifest : dict
            The manifest of the export.

        Returns
        -------
        name : str or None
            The name of the first such file; None if there is none.
        """
        return None

    def check_installed(self) -> None:
        """Raise an error if a package is missing.

        Raises
        ------
        ModuleNotFoundError
            If a package is missing; the message has the line that installs it.
        """
        needed = dict.fromkeys([*self.packages, *self.loader.packages])
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            install = self.install or " ".join(missing)
            raise ModuleNotFoundError(
                f"{self.title} files need {' and '.join(missing)}, which {verb} not "
                f"installed: pip install {install}.",
                name=missing[0],
            )

    @property
    def loader(self) -> Loader:
        """The code and the modules with which a process loads files of this format."""
        return Loader(self.title, code_of(self.load), self.runs_with)

    @property
    def runtime(self) -> Runtime:
        """The process that loads files of this format."""
        return runtime_for(self.loader)

    def start(self) -> None:
        """Start the process that loads files, and return while it gets ready."""
        self.runtime.start(self.loader)

    def outputs_of(
        self, path: Path, rows: dict[str, np.ndarray], *, limited: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a file for rows, computed by its runtime in another process.

        Parameters
        ----------
        path : Path
            The file or folder of an export.
        rows : dict of str to ndarray of shape (n_samples, ...)
            The inputs by their names.
        limited : bool, default=False
            Whether to limit the memory, in proportion to the size of the file. Use it for files
            that may come from anybody.

        Returns
        -------
        outputs : dict of str to ndarray of shape (n_samples, ...)
            The outputs by their names.
        """
        memory = memory_for(self.size(path)) if limited else None
        return self.runtime.outputs_of(self.loader, path, rows, memory)

    def files(self, path: Path) -> list[Path]:
        """Return all files of an export.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Returns
        -------
        files : list of Path
            The files; the one at the path is the last.
        """
        if path.is_dir():
            return [file for file in path.rglob("*") if file.is_file()]
        beside = [path.with_suffix(suffix) for suffix in self.companions]
        return [file for file in (*beside, path) if file.is_file()]

    def size(self, path: Path) -> int:
        """Return the size of an export.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Returns
        -------
        n_bytes : int
            The bytes of all its files.
        """
        return sum(file.stat().st_size for file in self.files(path))

    def digests(self, path: Path) -> dict[str, str]:
        """Return the SHA-256 of every part of a file that computes.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Returns
        -------
        digests : dict of str to str
            Hexadecimal digests by the names of the parts.
        """
        return {name: hashlib.sha256(part).hexdigest() for name, part in self.contents(path)}

    def read_manifest(self, path: Path) -> dict[str, Any]:
        """Return the manifest of an export, without running any of it.

        Parameters
        ----------
        path : Path
            The file or folder of an export.

        Returns
        -------
        manifest : dict
            The manifest, checked.

        Raises
        ------
        ValueError
            If there is no manifest, or this version of stackfuse could not have written it.
        OSError
            If the file cannot be read.
        """
        self._check_regular(path)
        try:
            manifest = json.loads(self.attached(path))
        except KeyError:
            raise ValueError("it holds no manifest: it was not written by sf.export") from None
        except (ImportError, OSError, files.RefusedFile):
            raise
        except Exception as error:  # each format's reader has its own for files that are none
            kind = messages.with_article(self.title)
            raise ValueError(f"it is not {kind} file, or is damaged") from error
        return check_manifest(manifest)

    def _check_regular(self, path: Path) -> None:
        """Raise ValueError if there is a pipe or a device, which would be waited for."""
        if self.is_folder and os.path.lexists(path) and not path.is_dir():
            raise ValueError("it is not a folder")
        beside = [path, *(path.with_suffix(ending) for ending in self.companions)]
        for part in self.files(path) if self.is_folder else beside:
            files.check_regular(part)

    def changed_parts(self, path: Path, manifest: dict[str, Any]) -> list[str]:
        """Return the parts of an export that differ from its manifest, without running any of it.

        Parameters
        ----------
        path : Path
            The file or folder of an export.
        manifest : dict
            The manifest of the export.

        Returns
        -------
        names : list of str
            The names of the parts, sorted.

        Raises
        ------
        ValueError
            If a file is damaged so much that it has no parts.
        OSError
            If a file cannot be read.
        """
        self._check_regular(path)
        written = manifest["sha256"]
        try:
            found = self.digests(path)
        except FileNotFoundError as error:
            return [Path(error.filename).name]
        except (ImportError, OSError, files.RefusedFile):
            raise
        except Exception as error:  # each format's reader has its own for files that are damaged
            kind = messages.with_article(self.title)
            raise ValueError(f"it is not {kind} file, or is damaged") from error
        return sorted(k for k in {*found, *written} if found.get(k) != written.get(k))
