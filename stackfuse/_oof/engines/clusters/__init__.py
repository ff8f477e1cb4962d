"""Engines whose jobs run on the workers of a cluster."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: most people have no cluster.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
