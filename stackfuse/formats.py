"""Formats of exported files, and what a format of your own needs.

A format is a class in one file that registers itself::

    import stackfuse as sf


    @sf.formats.register
    class Foo(sf.formats.Format):
        name, suffix, title = "foo", ".foo", "Foo"
        runs_with = ("foo_runtime",)

        def write(self, graph, path):
            ...  # graph.model is the keras.Model

        @staticmethod
        def load(path):
            import foo_runtime

            model = foo_runtime.load(path)
            return lambda rows: model.run(rows)  # both by name

From then on ``sf.export(stack, "x.foo")`` writes such files. Before one is put in its place,
another process loads it by ``load``, without stackfuse, and compares its answers with the stack's.
:func:`stackfuse.testing.check_format` says whether a format keeps what files promise, and
docs/extend/format.md shows a whole one.
"""

from typing import TYPE_CHECKING, Any

from stackfuse._export import formats
from stackfuse._export.formats import Format, named, register

if TYPE_CHECKING:
    from stackfuse._export.formats import Graph

__all__ = ["Format", "Graph", "named", "register"]


def __getattr__(name: str) -> Any:
    """Import ``Graph``, and TensorFlow with it, when it is first used."""
    if name in __all__:
        return getattr(formats, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
