"""How the jobs of one base estimator are run, and what an engine of one's own needs."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: most need
# no Keras, and processes that fit forests import none.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
