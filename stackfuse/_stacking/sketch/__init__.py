"""Facts that a stack keeps in place of training rows, and rows made up from them."""

from stackfuse._stacking.sketch.held import Held, held_by
from stackfuse._stacking.sketch.parts import parts_of
from stackfuse._stacking.sketch.sketch import Sketch, sketch_of

__all__ = ["Held", "Sketch", "held_by", "parts_of", "sketch_of"]
