"""Texts as numbers: the words that each holds, weighed by how rare they are."""

import string
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from stackfuse._core import fitting, sklearn_private, strings

#: What Keras removes from texts.
_PUNCTUATION = frozenset(string.punctuation)

_MODES = ("tf_idf", "count", "multi_hot")


class TextVectorizer(TransformerMixin, BaseEstimator):
    """Columns of text as numbers, by Keras' ``TextVectorization``: a column for each known word.

    scikit-learn's vectorizers cut texts as no layer of Keras does. This one is the layer, as an
    estimator that is fitted within the folds; a file holds the layer itself, and agrees to the last
    bit. Texts are lower-cased, punctuation is removed, and words are what lies between spaces.
    Missing texts have no words. Files are of Keras or SavedModel; the others have no text.

    Parameters
    ----------
    max_tokens : int, default=1000
        The most columns for each column of X. The first of them counts the words that are not
        known, the others are the commonest words of the training rows.
    output_mode : {"tf_idf", "count", "multi_hot"}, default="tf_idf"
        How often each word occurs times the logarithm of how rare it is; how often; or whether.
    ngrams : int, default=None
        Also count what stands side by side, up to this many words.

    Attributes
    ----------
    vocabularies_ : list of ndarray of str
        The words of each column of X, the most frequent first.
    idf_ : list of ndarray of float32
        With "tf_idf" the weights of these words.
    n_features_in_ : int
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

    def __init__(self, *, max_tokens: int = 1000, output_mode: str = "tf_idf", ngrams: Any = None):
        self.max_tokens = max_tokens
        self.output_mode = output_mode
        self.ngrams = ngrams

    def fit(self, X: Any, y: Any = None) -> "TextVectorizer":
        """Find the words.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Strings; None or NaN where a text is missing.
        y : None
            Ignored.

        Returns
        -------
        self : TextVectorizer
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
                raise ValueError(f"TextVectorizer found no word in column {place} of X.")
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

        Returns
        -------
        numbers : ndarray of shape (n_samples, n_words), float64
            The words of the first column, then those of the next ones.
        """
        check_is_fitted(self)
        columns = self._texts(X, reset=False).T
        if not self._layers:
            self._layers = self.layers()
        parts = [np.asarray(layer(column)) for layer, column in zip(self._layers, columns)]
        return np.hstack(parts).astype(np.float64)

    def layers(self) -> list:
        """Return new Keras layers that do what this fitted vectorizer does, one for each column."""
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
            Names of the columns where X is no data frame.

        Returns
        -------
        names : ndarray of str, shape (n_words,)
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
        if isinstance(X, pd.DataFrame) and len(X) and X.shape[1]:
            validate_data(self, X, reset=reset, skip_check_array=True)
            texts = X.to_numpy(object)
        else:
            texts = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        texts = strings.as_objects(texts)
        texts[pd.isna(texts)] = ""
        return strings.check_strings(texts, self)

    def __getstate__(self):
        return {**super().__getstate__(), "_layers": []}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _holds_words(text: str) -> bool:
    return any(not (letter in _PUNCTUATION or letter.isspace()) for letter in text)
