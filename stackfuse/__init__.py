"""Stack Keras models and scikit-learn estimators, and bake the whole stack into one Keras graph."""

import lazy_loader

__version__ = "0.1.0"

# The names of __init__.pyi, each imported when it is first used: TensorFlow takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
