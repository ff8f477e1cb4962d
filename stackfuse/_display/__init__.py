"""Pictures (matplotlib) and the HTML page of a report, from tables and arrays alone."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: only pictures need matplotlib.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
