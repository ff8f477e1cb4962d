"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: files are read, and run in
# processes of their own, without TensorFlow here.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
