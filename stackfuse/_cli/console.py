"""A console that shows text of strangers, and nothing that a terminal takes for a command."""

from rich.console import Console
from rich.text import Text

from stackfuse._core import messages


class SafeConsole(Console):
    """A console that spells control characters out, which names in a file may hold."""

    def render_str(self, text: str, **settings) -> Text:
        """Return a string as text with styles; tables and trees ask for it too."""
        return super().render_str(messages.printable(text), **settings)
