"""Keras networks as scikit-learn estimators: KerasClassifier, KerasRegressor and their base."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: to tell
# a network from others takes no Keras.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
