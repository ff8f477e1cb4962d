"""Texts: why vectorizers are refused, and what the refusal says to do instead."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import stackfuse as sf

#: Each defeats some way of cutting: punctuation, letters beyond ASCII, other spaces, short words.
TEXTS = ["It's a fine-day", "ÉTÉ au café", "one\u00a0two three", "a  b\tc", "x_y 42"]
Y = np.array([0, 1, 0, 1, 1])

STANDARDIZE = [None, "lower", "strip_punctuation", "lower_and_strip_punctuation"]
#: How scikit-learn can be told to cut, down to the simplest way.
ANALYZERS = [
    CountVectorizer(),
    CountVectorizer(lowercase=False),
    CountVectorizer(token_pattern=r"(?u)\S+"),
    CountVectorizer(token_pattern=None, tokenizer=str.split, lowercase=False),
    CountVectorizer(analyzer="char", lowercase=False),
]


def words_of_keras(standardize, split):
    import keras

    layer = keras.layers.TextVectorization(standardize=standardize, split=split)
    layer.adapt(TEXTS)
    vocabulary = layer.get_vocabulary()
    numbers = np.asarray(layer(np.array(TEXTS)[:, None]))
    return [[str(vocabulary[number]) for number in row if number] for row in numbers]


def test_no_setting_of_the_stock_layer_cuts_as_scikit_learn_does():
    """If this fails, there is a way now, and the vectorizer with this setting can be converted."""
    settings = itertools.product(STANDARDIZE, ["whitespace", "character"])
    ways = {setting: words_of_keras(*setting) for setting in settings}
    for vectorizer in ANALYZERS:
        cut = vectorizer.build_analyzer()
        wanted = [cut(text) for text in TEXTS]
        assert [setting for setting, words in ways.items() if words == wanted] == []


@pytest.mark.parametrize("vectorizer", [CountVectorizer, TfidfVectorizer, HashingVectorizer])
@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_vectorizers_are_refused_with_a_way_out(tmp_path, vectorizer, ending):
    frame = pd.DataFrame({"text": TEXTS, "size": np.arange(5.0)})
    columns = ColumnTransformer([("words", vectorizer(), "text")], remainder="passthrough")
    stack = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    alone = make_pipeline(vectorizer(), LogisticRegression()).fit(TEXTS, Y)
    for model, rows in [(stack, frame), (alone, np.array(TEXTS))]:
        with pytest.raises(
            sf.NotConvertible, match=r"Use sf\.TextVectorizer, which can be exported to"
        ):
            sf.export(model, tmp_path / f"model{ending}", verify=rows)
