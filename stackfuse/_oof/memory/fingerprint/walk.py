"""A walk through all that a thing refers to, which makes one digest of it.

How a kind of object is digested is said in the files of its family, by functions that are marked
with :func:`digests`. Each looks at objects as ``looking`` does: none of their code is run.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stackfuse._core import messages
from stackfuse._oof.memory.fingerprint import looking
from stackfuse._oof.memory.fingerprint.code import Code

#: Strings that are longer name nothing.
_LONGEST_NAME = 200


class NotComparable(TypeError):
    """Something of which cannot be told whether another is equal to it.

    Parameters
    ----------
    what : str
        Says what cannot be compared: ``"a Connection cannot be compared"``.

    Attributes
    ----------
    place : str
        Says where it was found, in words that the user wrote; empty if it was handed in itself.
    """

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what
        self.place = ""
        self._within: list[str] = []

    @classmethod
    def of(cls, thing: Any, why: str = "") -> "NotComparable":
        """Return the error for an object of which only the class can be told."""
        what = messages.with_article(looking.qualname_of(type(thing)))
        return cls(f"{what} cannot be compared{why and f' ({why})'}")

    def found_as(self, attribute: str) -> None:
        """Note that the object is an attribute of the object looked at before."""
        if not self.place:
            self._within.insert(0, attribute)

    def found_in(self, place: str) -> None:
        """Note who holds or reads it, if nobody nearer did."""
        if not self.place:
            parts = ".".join(self._within)
            self.place = place + (f", which holds it as `{parts}`" if parts else "")

    def __str__(self) -> str:
        return f"{self.what}: {self.place}" if self.place else self.what


#: For each class the function that digests its instances; a missing class uses its base's.
_DIGESTS: dict[type, Callable[[Any, "Walk"], bytes]] = {}

#: For each package the function that digests instances of its classes; it is asked first.
_PACKAGES: dict[str, Callable[[Any, "Walk"], bytes | None]] = {}


def digests(*kinds: type) -> Callable:
    """Mark a function that digests instances of these classes."""

    def mark(function: Callable[[Any, "Walk"], bytes]):
        _DIGESTS.update(dict.fromkeys(kinds, function))
        return function

    return mark


def digests_of_package(package: str) -> Callable:
    """Mark a function that digests instances of a package's own classes, or returns None."""

    def mark(function: Callable[[Any, "Walk"], bytes | None]):
        _PACKAGES[package] = function
        return function

    return mark


class Walk:
    """One walk through things that may refer to each other.

    Parameters
    ----------
    uncounted : set of str, default=empty
        Attributes of classes that are only counted up, and are left out.

    Attributes
    ----------
    reads : dict of str to bytes
        The digests of the variables that functions read, by words that name them.
    codes : list of Code
        The code of all functions on the way.
    texts : set of str
        All strings on the way.
    numbers : set of str
        The attributes of the user's classes that are numbers.
    library_words : set of str
        Names that library classes know, which the user's classes inherit from.
    reads_data : bool
        Whether a function on the way reads anything but code.
    """

    def __init__(self, uncounted: frozenset[str] = frozenset()):
        self.uncounted = uncounted
        self.reads: dict[str, bytes] = {}
        self.codes: list[Code] = []
        self.texts: set[str] = set()
        self.numbers: set[str] = set()
        self.library_words: set[str] = set()
        self.reads_data = False
        self._open: dict[int, tuple[int, int]] = {}
        self._n_visited = 0
        self._done: dict[int, bytes] = {}
        self._alive: list = []  # as long as an object lives, no other has its id

    def of(self, thing: Any) -> bytes:
        """Return the digest of a thing."""
        kind = type(thing)
        if kind in _PLAIN:
            return self._plain(thing)
        if id(thing) in self._done:
            return self._done[id(thing)]
        if id(thing) in self._open:  # it refers to itself
            return self.tokens("again", *self._open[id(thing)])
        self._open[id(thing)] = (len(self._open), self._n_visited)
        self._n_visited += 1
        try:
            digest = self._by_kind(thing, kind)
        finally:
            del self._open[id(thing)]
        self._alive.append(thing)
        self._done[id(thing)] = digest
        return digest

    def _plain(self, thing: Any) -> bytes:
        name = _PLAIN[type(thing)]
        if name == "str":
            if len(thing) < _LONGEST_NAME:
                self.texts.add(thing)
            return self.tokens(name, thing)
        if name == "float":
            return self.tokens(name, struct.pack("<d", thing))
        if name == "complex":
            return self.tokens(name, struct.pack("<dd", thing.real, thing.imag))
        return self.tokens(name, thing if name == "bytes" else repr(thing))

    def _by_kind(self, thing: Any, kind: type) -> bytes:
        by_package = _PACKAGES.get(looking.module_of(kind).partition(".")[0])
        digest = by_package(thing, self) if by_package else None
        if digest is not None:
            return digest
        for base in looking.mro_of(kind):
            if base in _DIGESTS:
                return _DIGESTS[base](thing, self)
        raise NotComparable.of(thing)

    def tokens(self, kind: str, *tokens: Any) -> bytes:
        """Return the digest of a kind and its tokens; every token ends where its length says."""
        total = hashlib.blake2b(digest_size=20)
        for token in (kind, *tokens):
            if not isinstance(token, bytes):
                token = str(token).encode("utf-8", "surrogatepass")
            total.update(struct.pack("<q", len(token)))
            total.update(token)
        return total.digest()

    def all(self, kind: str, things: Iterable) -> bytes:
        """Return the digest of a kind and of things in their order."""
        return self.tokens(kind, *[self.of(thing) for thing in things])

    def named(self, kind: str, things: Mapping[str, Any], place: str = "") -> bytes:
        """Return the digest of things by name, whatever their order.

        Parameters
        ----------
        kind : str
        things : dict of str to object
        place : str, default=""
            Whose they are, for the message about one that cannot be compared; ``{}`` in it stands
            for the name. By default they are attributes of the present object.
        """
        digests = []
        for name in sorted(things, key=str):
            try:
                digests += [str(name), self.of(things[name])]
            except NotComparable as error:
                if place:
                    error.found_in(place.format(name))
                else:
                    error.found_as(str(name))
                raise
        return self.tokens(kind, *digests)

    def read(self, words: str, thing: Any) -> bytes:
        """Return the digest of a variable that a function reads."""
        try:
            digest = self.of(thing)
        except NotComparable as error:
            error.found_in(words)
            raise
        self.reads[words] = digest
        return digest

    def apart(self, thing: Any) -> tuple[bytes, bool]:
        """Return the digest of a thing, and whether functions in it read anything but code."""
        walk = Walk(self.uncounted)
        digest = walk.of(thing)
        self.reads |= walk.reads
        self.codes += walk.codes
        self.texts |= walk.texts
        self.numbers |= walk.numbers
        self.library_words |= walk.library_words
        self.reads_data |= walk.reads_data
        return digest, walk.reads_data


#: Classes whose instances are nothing but their value.
_PLAIN = {
    type(None): "none",
    type(...): "ellipsis",
    type(NotImplemented): "not implemented",
    bool: "bool",
    int: "int",
    float: "float",
    complex: "complex",
    str: "str",
    bytes: "bytes",
}
