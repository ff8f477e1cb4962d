"""A callback that waits in the process that trains."""

import time
from pathlib import Path

import keras


class Pause(keras.callbacks.Callback):
    """Says that training has begun, and waits until it may end.

    Parameters
    ----------
    folder : str
        Gets the file ``begun``; the file ``go`` there ends the wait.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self, logs=None):
        Path(self.folder, "begun").touch()
        while not Path(self.folder, "go").exists():
            time.sleep(0.05)
