"""Parts of messages: lists of names, and suggestions for mistyped ones."""

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any


def listed(names: Sequence[str], word: str = "or") -> str:
    """Return names quoted and joined for a message: ``'a', 'b' or 'c'``."""
    quoted = [repr(name) for name in names]
    return f" {word} ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``"1 job"``, ``"2 jobs"``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


#: Beginnings of names that are spoken as words.
_WORDS_IN_CAPITALS = ("RANSAC", "RUSBoost", "SMOTE")


def with_article(noun: str) -> str:
    """Return a noun, or the name of a class, with its article as it is spoken.

    Capitals are taken as letters: an "SVC" begins with the sound of "es".

    Examples
    --------
    >>> with_article("SVC"), with_article("ExtraTreesClassifier"), with_article("Ridge")
    ('an SVC', 'an ExtraTreesClassifier', 'a Ridge')
    """
    if re.match("[A-Z]{2,}(?![a-z])", noun) and not noun.startswith(_WORDS_IN_CAPITALS):
        vowel = noun[0] in "AEFHILMNORSX"
    else:
        vowel = noun[:1].lower() in "aeiou" and not re.match("(?i)one|uni[^mn]|us|eu", noun)
    return f"{'an' if vowel else 'a'} {noun}"


def first_few(values: Iterable) -> str:
    """Return the first values for a message.

    Examples
    --------
    >>> first_few(range(9))
    '0, 1, 2, 3, 4, ...'
    """
    values = list(values)
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


#: The most characters of a value that a message shows.
_LONGEST = 200


def in_short(value: Any) -> str:
    """Return how a value is written, for a message: on one line, and no longer than fits.

    Examples
    --------
    >>> in_short("no"), in_short(range(3))
    ("'no'", 'range(0, 3)')
    """
    text = printable(" ".join(repr(value).split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def shortened(text: str, n_letters: int) -> str:
    """Return a text of at most this many letters; the middle of a longer one is left out.

    Examples
    --------
    >>> shortened("gradient_boosting_of_all_columns", 20)
    'gradient_b…l_columns'
    """
    if len(text) <= n_letters:
        return text
    end = (n_letters - 1) // 2
    return f"{text[: n_letters - 1 - end]}…{text[len(text) - end :]}"


def score_writer(scores: Iterable[float], most: float = 1e6) -> Callable[[float], str]:
    """Return a function that writes scores, and numbers beside them, with four decimals.

    Four digits are written where these would show zeros only, six where one reaches `most`.

    Examples
    --------
    >>> score_writer([0.25])(-0.00001), score_writer([-3.2e-9])(1.5e-10)
    ('0.0000', '1.5e-10')
    """
    largest = max((abs(score) for score in scores if math.isfinite(score)), default=0.0)
    if 0 < largest < 0.01:
        return "{:.4g}".format
    if largest >= most:
        return "{:.6g}".format
    return lambda score: f"{round(score, 4) + 0.0:.4f}"  # no negative zero


def size_in_words(n_bytes: int) -> str:
    """Return a number of bytes for a message.

    Examples
    --------
    >>> size_in_words(3 * 2**30)
    '3.0 GiB'
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


def printable(text: Any) -> str:
    """Return text in which what a terminal takes for a command is spelled out.

    Names of columns, classes, bases and files may come from strangers. All text that shows one as
    it is goes through here: what is printed, written into a page or a picture, or said in an error.

    Examples
    --------
    >>> printable(f"a red {chr(27)}[31mname") == "a red " + chr(92) + "x1b[31mname"
    True
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character)[0] != "C"
        # Also what turns the direction of writing, and halves of characters.
        else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return the question whether a similar name was meant, or nothing.

    Examples
    --------
    >>> did_you_mean("optimzer", ["optimizer", "loss"])
    " Did you mean 'optimizer'?"
    """
    typed = {one.lower(): one for one in known}
    found = difflib.get_close_matches(str(name).lower(), typed, n=3)
    return f" Did you mean {listed([typed[one] for one in found])}?" if found else ""


def keras_object_named(
    name: str, module: ModuleType, parameter: str, config: dict[str, Any] | None = None
) -> Any:
    """Return the optimizer, loss or metric of a name.

    Parameters
    ----------
    name : str
    module : module
        Such as ``keras.optimizers``.
    parameter : str
        The parameter that was given the name; for the message.
    config : dict, default=None
        Settings of the object.

    Raises
    ------
    ValueError
        If Keras does not know the name; the message suggests similar ones.
    """
    get: Any = vars(module)["get"]
    try:
        return get({"class_name": name, "config": config} if config else name)
    except ValueError:
        noun = module.__name__.rpartition(".")[2]
        known = [key for key in vars(module) if key[0] != "_" and callable(vars(module)[key])]
        known = [key for key in known if key not in ("get", "serialize", "deserialize")]
        raise ValueError(
            f"{parameter}={name!r} is not in keras.{noun}.{did_you_mean(name, known)}"
        ) from None
