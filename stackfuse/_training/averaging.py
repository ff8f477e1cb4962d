"""Averages of the weights of a network over the last epochs of its training.

The weights swing around a minimum, by the chance of batches and dropout. Their average is nearer to
it, as with a learning rate that falls to zero, and takes hardly any time. The swinging matters most
to a network that learns answers without noise, such as those of a stack.

References
----------
Polyak, B. T. and Juditsky, A. B. "Acceleration of stochastic approximation by averaging." SIAM
Journal on Control and Optimization 30 (1992). Shamir, O. and Zhang, T. "Stochastic gradient descent
for non-smooth optimization." ICML (2013): the part of the newest weights falls with the number of
epochs. Izmailov, P. et al. "Averaging weights leads to wider optima and better generalization." UAI
(2018): one point of each epoch.
"""

import keras
import numpy as np

#: The average reaches back over this part of the epochs, and over no more epochs than that.
_PART, _MOST = 0.25, 8


class AveragedWeights(keras.callbacks.Callback):
    """Ends a training with averaged weights, and validates every second epoch with them.

    After epoch t the average moves towards the weights by ``1 / min(max(t / 4, 1), 8)`` of the way,
    so that of up to four epochs the last weights are kept. In even epochs the other callbacks see
    the average, and in odd ones the newest weights: early stopping keeps what is better on the rows
    held out. Dropout can make the average the worse one, in regressions with little noise. An
    optimizer with ``use_ema`` averages itself: then this does nothing.
    """

    def on_train_begin(self, logs=None):
        self._average: list[np.ndarray] = []
        self._newest: list[np.ndarray] = []
        self._epoch = self._n_epochs = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch += 1
        if self._newest:
            self._put(self._newest)
            self._newest = []

    def on_test_begin(self, logs=None):
        self._note_epoch()
        if self._average and self._n_epochs % 2 == 0:
            self._newest = self._values()
            self._put(self._average)

    def on_epoch_end(self, epoch, logs=None):
        self._note_epoch()  # without validation

    def on_train_end(self, logs=None):
        if self._average:
            self._put(self._average)  # early stopping restores its best weights after this
        self._average, self._newest = [], []

    def _note_epoch(self) -> None:
        """Move the average towards the newest weights, once in an epoch."""
        if self._n_epochs == self._epoch or self.model.optimizer.use_ema:
            return
        self._n_epochs = self._epoch
        part, newest = 1 / min(max(_PART * self._n_epochs, 1), _MOST), self._values()
        if part < 1:
            pairs = zip(self._average, newest, strict=True)
            newest = [(mean + part * (new - mean)).astype(new.dtype) for mean, new in pairs]
        self._average = newest

    def _values(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._variables()]

    def _put(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def _variables(self) -> list:
        """Return the weights, and the means of normalizations, but no counters."""
        return [v for v in self.model.weights if keras.backend.is_float_dtype(v.dtype)]
