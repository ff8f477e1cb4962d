"""Send the function that loads files of a format to the process that checks them.

That process cannot import stackfuse, and so not the module that the format is in. It is run by the
same Python, so the function's compiled code is sent, which works for a notebook's as well. The
function must stand on its own: it imports what it needs inside.
"""

import base64
import builtins
import dis
import inspect
import marshal
from collections.abc import Callable, Iterator
from types import CodeType


def code_of(load: Callable) -> str:
    """Return the code of a function as text; ``runtimes.py`` makes a function of it again."""
    return base64.b64encode(marshal.dumps(load.__code__)).decode()


def check_stands_alone(cls: type) -> None:
    """Raise TypeError if the method ``load`` of a format cannot be sent.

    Parameters
    ----------
    cls : type
        The class of the format.
    """
    found = inspect.getattr_static(cls, "load")
    function = found.__func__ if isinstance(found, staticmethod) else None
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_argcount != 1:
        raise TypeError(
            f"{cls.__name__}.load must be a @staticmethod with one parameter, load(path). Another "
            "process runs it, and has no object of this class."
        )
    outside = sorted({*code.co_freevars, *_names_from_outside(code)})
    if outside:
        raise TypeError(
            f"{cls.__name__}.load uses {outside[0]!r} from outside of the function. Another "
            "process runs load alone: import or define it inside of load."
        )


def _names_from_outside(code: CodeType) -> Iterator[str]:
    """Yield the global names that code reads, also in functions inside of it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL" and not hasattr(builtins, instruction.argval):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_from_outside(constant)
