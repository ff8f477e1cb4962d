"""The two kinds of networks as estimators: classifiers and regressors."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags

from stackfuse._core import fitting, sampling
from stackfuse._keras import losses, several_outputs
from stackfuse._networks.base import NetworkEstimator
from stackfuse._networks.target import LabelTarget, NumberTarget
from stackfuse._training import Training, prediction


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Base of the classifiers that train one Keras network.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The labels in sorted order; for a multilabel target the column numbers. A network with
        several outputs has a list, one array per output.
    """

    _target_kind = LabelTarget

    @fitting.of_one_fit
    def decision_function(self, X: Any, **for_this_call: Any) -> Any:
        """Return the scores of the classes: logits, or logarithms of probabilities.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        **for_this_call : dict
            ``batch_size`` for this call alone.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, the log-odds of the second; for a multilabel target, the log-odds of
            each label; otherwise one score per class: the logits of a network that ends in logits,
            else the logarithms of its probabilities. A network with several outputs has a list,
            one array per output.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        ValueError
            If X is not like the X of ``fit``.
        """
        decision: Any = self._answer(X, "decide", for_this_call)
        if isinstance(decision, list):
            return [part[:, 0] if part.shape[1] == 1 else part for part in decision]
        return decision[:, 0] if self.outputs_.task == "binary" else decision

    @fitting.of_one_fit
    def predict_proba(self, X: Any, **for_this_call: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        **for_this_call : dict
            ``batch_size`` for this call alone.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The probabilities in float64, in the order of ``classes_``. A network with several
            outputs has a list, one array per output.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        ValueError
            If X is not like the X of ``fit``.
        """
        return self._answer(X, for_this_call=for_this_call)

    @fitting.of_one_fit
    def predict(self, X: Any, **for_this_call: Any) -> np.ndarray:
        """Return the most probable class; the first of equals.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        **for_this_call : dict
            ``batch_size`` for this call alone.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The labels; for a multilabel target 0 or 1, in one column per label.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        ValueError
            If X is not like the X of ``fit``.
        """
        probabilities = self.predict_proba(X, **for_this_call)
        if isinstance(probabilities, list):
            best = [part.argmax(axis=1) for part in probabilities]
            return _table([labels[which] for labels, which in zip(self.classes_, best)])
        if self.outputs_.task == "multilabel":
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the part of the rows whose labels are all right.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target of these rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the score.

        Returns
        -------
        accuracy : float
            The accuracy, between 0 and 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        ValueError
            If X is not like the X of ``fit``.
        """
        if not isinstance(getattr(self, "outputs_", None), several_outputs.SeveralOutputs):
            return super().score(X, y, sample_weight)
        right = (self.predict(X) == np.asarray(y)).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _table(columns: list[np.ndarray]) -> np.ndarray:
    """Return columns of labels as one array: of objects where text and numbers meet."""
    kinds = {"text" if column.dtype.kind in "US" else "number" for column in columns}
    if len(kinds) > 1 or any(column.dtype.kind == "O" for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


#: From which size on a target is told to be far from unit scale, if it is not learned.
_FAR = 1000.0

#: Training rows that are predicted to find out.
_LOOKED_AT = 500


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Base of the regressors that train one Keras network."""

    _target_kind = NumberTarget

    @fitting.of_one_fit
    def predict(self, X: Any, **for_this_call: Any) -> np.ndarray:
        """Return the predicted numbers.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        **for_this_call : dict
            ``batch_size`` for this call alone.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The numbers in float64, in the shape of y. If ``predict__output`` chooses another
            number of columns than y has, a single column has one axis, and several have two.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        ValueError
            If X is not like the X of ``fit``.
        """
        numbers: Any = self._answer(X, for_this_call=for_this_call)
        return numbers[:, 0] if self._is_column(numbers.shape[1]) else numbers

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2, the coefficient of determination of the predictions.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows, with the shape of those of ``fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target of these rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the score.

        Returns
        -------
        r2 : float
            R2, at most 1.

        Raises
        ------
        ValueError
            If the prediction has another number of columns than y.
        sklearn.exceptions.NotFittedError
            If the network is not fitted.
        """
        predictions = self.predict(X)
        widths = [np.atleast_2d(np.asarray(table).T).shape[0] for table in (y, predictions)]
        if widths[0] != widths[1]:
            raise ValueError(
                "score compares the columns of y with those of the prediction, but y has "
                f"{widths[0]} and the prediction {widths[1]}. Choose as many columns with "
                "predict__output=, or pass your own scorer, scoring=."
            )
        return float(r2_score(y, predictions, sample_weight=sample_weight))

    def _tell_of_training(self, training: Training) -> None:
        """Warn if y is out of the network's reach, or predicted no better than by its mean.

        The mean is looked at if y is far from unit scale.

        Steps of an optimizer are of the size of its learning rate, whatever the scale of y.
        """
        if not isinstance(training.y, np.ndarray) or "output" in self._routed_to_predict():
            return
        y = training.y.astype(np.float64).reshape(len(training.y), -1)
        sentence = losses.numbers_out_of_reach(self.model_, y)
        if sentence is not None:
            warnings.warn(sentence, stacklevel=2)
        size = np.maximum(np.abs(y.mean(axis=0)), y.std(axis=0))
        if size.max() < _FAR:
            return
        places, outputs = sampling.spread(len(y), _LOOKED_AT), self._meaning()
        question = prediction.Question(
            self.model_, training.x.part(places), outputs.predict, f"predict {outputs}"
        )
        predicted: Any = prediction.predict(question)
        if np.shape(predicted) != y[places].shape:
            return
        weight = training.sample_weight
        weight = np.ones(len(y)) if weight is None else weight.astype(np.float64).reshape(-1)
        if len(weight) != len(y) or not weight[places].sum() > 0:
            return
        mean = np.average(y, axis=0, weights=weight)
        error, of_mean = (
            np.average((table - y[places]) ** 2, axis=0, weights=weight[places])
            for table in (predicted, mean)
        )
        # Another loss than the squared error may be least far from the mean, by one deviation.
        bound = 0.99 if losses.stock_name(self.model_.loss) == "meansquarederror" else 2.0
        if ((size >= _FAR) & (of_mean > 0) & (error > bound * of_mean)).any():
            name, order = type(self).__name__, 10 ** int(np.log10(size.max()))
            warnings.warn(
                f"{name} predicts its own training rows no better than their mean. y has numbers "
                f"around {order:,}, and a network starts near 0. Scale y: "
                f"TransformedTargetRegressor({name}(...), transformer=StandardScaler()).",
                stacklevel=2,
            )

    def _is_column(self, n_columns: int) -> bool:
        """Whether predictions of so many columns are returned in one axis."""
        several = self._fitted.target.task == "multioutput"
        return n_columns == 1 and (several or self._y_is_column)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
