"""Meta-learners beyond scikit-learn's: combinations of predictions, and Keras heads."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: only heads
# need Keras.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
