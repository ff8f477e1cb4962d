"""Texts as numbers: the words that each holds, weighed by how rare they are."""

import string
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from stackfuse._core import fitting, sklearn_private, strings
from stackfuse._steps.one_column import refuse_one_column

#: The signs that Keras removes from texts.
_PUNCTUATION = frozenset(string.punctuation)

_MODES = ("tf_idf", "count", "multi_hot")


class TextVectorizer(TransformerMixin, BaseEstimator):
    """Columns of text as numbers, by Keras' ``TextVectorization``: one column per known word.

    No layer of Keras cuts texts as scikit-learn's vectorizers do. This estimator is the layer of
    Keras, fitted within the folds. An exported file holds the layer itself and agrees to the last
    bit. Only .keras files and SavedModels have text.

    Texts are lower-cased, punctuation is removed, and words are separated by spaces. Missing texts
    have no words.

    Parameters
    ----------
    max_tokens : int, default=1000
        The largest number of columns for each column of X. The first one counts unknown words; the
        others stand for the most frequent words of the training rows.
    output_mode : {"tf_idf", "count", "multi_hot"}, default="tf_idf"
        The numbers of a word: its count, weighted by its rarity ("tf_idf"); its count; or 1 if it
        occurs, else 0 ("multi_hot").
    ngrams : int, default=None
        Count sequences of up to this many words too. By default, single words alone.

    Attributes
    ----------
    vocabularies_ : list of ndarray of str
        The words of each column of X, the most frequent first.
    idf_ : list of ndarray of float32
        The weights of these words, with "tf_idf".
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of str
        The names of the columns of a data frame.

    Examples
    --------
    >>> import stackfuse as sf
    >>> vectorizer = sf.TextVectorizer(output_mode="count")
    >>> vectorizer.fit_transform([["good, very good"], ["bad"]])
    array([[0., 2., 1., 0.],
           [0., 0., 0., 1.]])
    >>> vectorizer.get_feature_names_out().tolist()
    ['x0_[UNK]', 'x0_good', 'x0_very', 'x0_bad']
    """

    vocabularies_: list[np.ndarray]
    idf_: list[np.ndarray]

    def __init__(
        self, *, max_tokens: int = 1000, output_mode: str = "tf_idf", ngrams: int | None = None
    ):
        self.max_tokens = max_tokens
        self.output_mode = output_mode
        self.ngrams = ngrams

    def fit(self, X: Any, y: Any = None) -> "TextVectorizer":
        """Find the words.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            The texts; None or NaN for a missing text.
        y : None, default=None
            Ignored.

        Returns
        -------
        self : TextVectorizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If a setting is wrong, a column of X holds no word, or X holds no strings.
        """
        fitting.check_count("max_tokens", self.max_tokens, least=2)
        if self.ngrams is not None:
            fitting.check_count("ngrams", self.ngrams)
        if self.output_mode not in _MODES:
            raise ValueError(f"output_mode must be one of {_MODES}, got {self.output_mode!r}.")
        texts = self._texts(X, reset=True)
        self.vocabularies_, self.idf_, self._layers = [], [], []
        for place, column in enumerate(texts.T):
            if not any(map(_holds_words, column)):
                raise ValueError(
                    f"TextVectorizer found no word in column {place} of X. Leave this column out."
                )
            layer = self._layer()
            layer.adapt(column)
            words = [str(word) for word in layer.get_vocabulary(include_special_tokens=False)]
            self.vocabularies_.append(np.array(words, dtype=object))
            if self.output_mode == "tf_idf":  # of a word alone, in its own column: its weight
                alone = np.asarray(layer(np.array(words)))
                self.idf_.append(np.array(np.diagonal(alone, offset=1)))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the numbers of the words.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            The texts, in the columns of ``fit``.

        Returns
        -------
        numbers : ndarray of shape (n_samples, n_words), float64
            The numbers for the words of the first column, then for those of the next ones.

        Raises
        ------
        ValueError
            If X has another number of columns than in ``fit``, or holds no strings.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self)
        columns = self._texts(X, reset=False).T
        if not self._layers:
            self._layers = self.layers()
        parts = [np.asarray(layer(column)) for layer, column in zip(self._layers, columns)]
        return np.hstack(parts).astype(np.float64)

    def layers(self) -> list[Any]:
        """Return new Keras layers that compute the same as this vectorizer.

        Returns
        -------
        layers : list of keras.layers.TextVectorization
            One for each column of X.
        """
        weights = self.idf_ or [None] * len(self.vocabularies_)
        return [
            self._layer(vocabulary=words.tolist(), idf_weights=idf)
            for words, idf in zip(self.vocabularies_, weights)
        ]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns and the words.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of the columns, if X is no data frame.

        Returns
        -------
        names : ndarray of str, shape (n_words,)
            The names of column and word: ``x0_good``.
        """
        check_is_fitted(self)
        names = sklearn_private.check_feature_names_in(self, input_features)
        pairs = zip(names, self.vocabularies_)
        return np.array([f"{n}_{word}" for n, words in pairs for word in ["[UNK]", *words]], object)

    def _layer(self, **learnt) -> Any:
        import keras

        return keras.layers.TextVectorization(
            max_tokens=self.max_tokens,
            output_mode=self.output_mode,
            ngrams=self.ngrams,
            **learnt,
        )

    def _texts(self, X, reset: bool) -> np.ndarray:
        """Return X as an array of strings, in which missing ones are empty."""
        refuse_one_column(self, X)
        if isinstance(X, pd.DataFrame) and len(X) and X.shape[1]:
            validate_data(self, X, reset=reset, skip_check_array=True)
            texts = X.to_numpy(object)
        else:
            texts = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        texts = strings.as_objects(texts)
        texts[pd.isna(texts)] = ""
        return strings.check_strings(texts, self)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_layers": []}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _holds_words(text: str) -> bool:
    return any(not (letter in _PUNCTUATION or letter.isspace()) for letter in text)
