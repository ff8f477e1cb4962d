"""A fitted stack as one compiled call, how long it takes, and a stack that answers in time."""

from stackfuse._export.compiled_stack.compiling import CompiledStack, compiled
from stackfuse._export.compiled_stack.latency import Latency
from stackfuse._export.compiled_stack.selection import select

__all__ = ["CompiledStack", "Latency", "compiled", "select"]
