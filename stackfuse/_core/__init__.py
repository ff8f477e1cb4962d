"""Words that all rooms share: errors, messages, targets, MultiInput, files, progress."""

import lazy_loader

# The names of __init__.pyi, each imported when it is first used: files are read without
# scikit-learn.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
