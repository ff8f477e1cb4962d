"""A digest of anything that a fit depends on: data, parameters, functions with all they refer to.

Equal things have equal digests in every process; different things have different ones. Things that
cannot be told apart for certain, such as an open file, raise :class:`NotComparable`. Nothing is
imported, run or changed on the way.

No digest sees the world outside of the process: the content of files that compiled code opens, a
database, the time.
"""

from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator

from stackfuse._oof.memory.fingerprint import functions, looking, networks, tables, values
from stackfuse._oof.memory.fingerprint.circumstances import registered
from stackfuse._oof.memory.fingerprint.walk import NotComparable, Walk, digests

#: The files that digest the kinds of objects.
_FAMILIES = (functions, networks, tables, values)

#: Names by which code may look up any attribute: then none is known to be only counted up.
_LOOKS_UP_ANY = {"__dict__", "__getattribute__", "attrgetter", "dir", "getattr", "vars"}


@dataclass(frozen=True)
class Fingerprint:
    """A digest, and what was read for it.

    Attributes
    ----------
    digest : str
        40 hexadecimal digits.
    reads : dict of str to bytes
        The digests of the variables that functions read, by words that name them.
    """

    digest: str
    reads: dict[str, bytes]

    def first_change(self, later: "Fingerprint") -> str:
        """Return the words for a variable that has changed; empty if there is none."""
        changed = (
            words for words, digest in later.reads.items() if self.reads.get(words) != digest
        )
        return next(changed, "")


def fingerprint(*things: Any) -> str:
    """Return the digest of things, 40 hexadecimal digits.

    Parameters
    ----------
    *things : object
        Arrays, frames, estimators, functions, Keras objects, and containers of these. A class of
        this package may have a method ``_fit_depends_on()`` that returns what to look at instead.

    Raises
    ------
    NotComparable
        Naming what cannot be compared, and who holds or reads it.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.arange(6.0).reshape(2, 3)
    >>> fingerprint(table) == fingerprint(np.asfortranarray(table))
    True
    >>> fingerprint(table) == fingerprint(table.astype(np.float32))
    False
    """
    return look_at(*things).digest


def look_at(*things: Any) -> Fingerprint:
    """Return the digest of things, and all that was read for it; see :func:`fingerprint`."""
    try:
        walk, digest = _walked(things, frozenset())
        uncounted = _only_counted(walk)
        if uncounted:
            walk, digest = _walked(things, uncounted)
    except NotComparable:
        raise
    except RecursionError as error:  # a mock, for example, has parts without end
        raise NotComparable("an object has endlessly many parts") from error
    except Exception as error:  # of an odd object; it is told, and stops no fit
        raise NotComparable(f"an object cannot be compared ({error!r:.200})") from error
    return Fingerprint(digest.hex(), walk.reads)


def _walked(things: tuple, uncounted: frozenset[str]) -> tuple[Walk, bytes]:
    """Return a walk through things, and what Keras' registry holds under names in them."""
    walk = Walk(uncounted)
    digests = [walk.of(things)]
    done: set[str] = set()
    while True:
        named = {k: v for k, v in registered(walk.texts).items() if k not in done}
        if not named:
            return walk, walk.tokens("things", *digests)
        done |= set(named)
        digests.append(walk.named("registered", named, "it is registered in Keras as {}"))


def _only_counted(walk: Walk) -> frozenset[str]:
    """Return the attributes of classes that all code on the way only counts up.

    A counter that every fit raises does not change the fit, if nobody reads it.
    """
    words = set().union(*[code.words for code in walk.codes])
    if words & _LOOKS_UP_ANY:
        return frozenset()
    counted = set().union(*[code.counted for code in walk.codes])
    names = (walk.numbers & counted) - words - walk.library_words
    return frozenset(name for name in names if not any(name in text for text in walk.texts))


@digests(BaseEstimator)
def _estimator(thing, walk):
    told = looking.defines(type(thing), "_fit_depends_on")
    if told is not None:
        state = thing._fit_depends_on()
    else:  # parameters, and what a frozen one has learnt
        attributes = looking.attributes_of(thing)
        state = {name: v for name, v in attributes.items() if not name.startswith("_skl_")}
    place = f"the parameter `{{}}` of {looking.qualname_of(type(thing))} holds it"
    return walk.tokens("estimator", walk.of(type(thing)), walk.named("state", state, place))
