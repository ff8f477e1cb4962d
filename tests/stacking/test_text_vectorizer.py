"""Texts as numbers: the words are those that scikit-learn counts, and files agree."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import stackfuse as sf

TEXTS = [
    "Good, very good!",
    "bad food... and BAD staff",
    "the food was good",
    "",
    "nothing of it was good or bad",
]


def words_of(text):
    return re.sub(r"[^\w\s]", "", text.lower()).split()


@pytest.mark.parametrize("ngrams", [None, 2])
def test_words_are_counted_as_scikit_learn_counts_them(ngrams):
    X = np.array(TEXTS, object)[:, None]
    ours = sf.TextVectorizer(output_mode="count", ngrams=ngrams).fit(X)
    theirs = CountVectorizer(analyzer="word", tokenizer=words_of, token_pattern=None)
    theirs.set_params(ngram_range=(1, ngrams or 1))
    wanted = pd.DataFrame(
        theirs.fit_transform(TEXTS).toarray(), columns=theirs.get_feature_names_out()
    )
    assert sorted(ours.vocabularies_[0]) == sorted(wanted)
    counts = ours.transform(X)
    assert_array_equal(counts[:, 1:], wanted[ours.vocabularies_[0]])
    assert not counts[:, 0].any()
    assert ours.transform([["good unknown things"]])[0, 0] == (2 if ngrams is None else 4)
    present = sf.TextVectorizer(output_mode="multi_hot", ngrams=ngrams).fit_transform(X)
    assert_array_equal(present, counts > 0)


@pytest.mark.parametrize("ngrams", [None, 2])
def test_rare_words_weigh_more(ngrams):
    """By the formula of Keras' TextVectorization: log(1 + n / (1 + rows with the word))."""
    X = np.array([*TEXTS, "good good"], object)[:, None]  # one pair of words that holds two
    vectorizer = sf.TextVectorizer(ngrams=ngrams).fit(X)
    counts = sf.TextVectorizer(output_mode="count", ngrams=ngrams).fit_transform(X)[:, 1:]
    weights = np.log(1 + len(X) / (1 + (counts > 0).sum(axis=0)))
    assert_allclose(vectorizer.idf_[0], weights, rtol=1e-6)
    assert_allclose(vectorizer.transform(X)[:, 1:], counts * weights, rtol=1e-6)


def test_several_columns_some_missing():
    X = pd.DataFrame({"title": ["a b", None, "b"], "text": ["c", "d d", np.nan]})
    vectorizer = sf.TextVectorizer(output_mode="count", max_tokens=3).fit(X)
    names = ["title_[UNK]", "title_b", "title_a", "text_[UNK]", "text_d", "text_c"]
    assert vectorizer.get_feature_names_out().tolist() == names
    wanted = [[0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 2, 0], [0, 1, 0, 0, 0, 0]]
    assert_array_equal(vectorizer.transform(X), wanted)
    again = pickle.loads(pickle.dumps(vectorizer))
    assert_array_equal(again.transform(X), wanted)
    assert again.get_params() == clone(again).get_params()


@pytest.mark.parametrize(
    ("X", "settings", "message"),
    [
        ([[1.0], [2.0]], {}, "TextVectorizer takes strings, but X holds 1.0"),
        ([[""], ["..."]], {}, "found no word in column 0"),
        (["one", "two"], {}, "TextVectorizer takes a table, got one column"),
        ([["one"]], {"max_tokens": 1}, "max_tokens must be an integer of at least 2, got 1"),
        ([["one"]], {"output_mode": "int"}, "output_mode must be one of .* got 'int'"),
        ([["one"]], {"ngrams": 0}, "ngrams must be an integer of at least 1, got 0"),
    ],
)
def test_what_is_no_text(X, settings, message):
    with pytest.raises(ValueError, match=message):
        sf.TextVectorizer(**settings).fit(np.array(X, object))


@pytest.fixture(scope="module")
def reviews():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    ends = {0: ["poor", "Dreadful!"], 1: ["fine", "Lovely."]}
    texts = [f"the room {k % 7} was {rng.choice(ends[label])}" for k, label in enumerate(y)]
    X = pd.DataFrame({"review": texts, "stars": rng.normal(size=200)})
    X.loc[::9, "review"] = None
    return X, y


def stack_of(**settings):
    columns = ColumnTransformer(
        [("words", sf.TextVectorizer(**settings), ["review"])], remainder="passthrough"
    )
    base = make_pipeline(columns, LogisticRegression())
    return sf.StackingClassifier([("words", base)], cv=3, random_state=0)


@pytest.mark.parametrize("path", ["stack.keras", "stack"])
@pytest.mark.parametrize("mode", ["tf_idf", "count", "multi_hot"])
def test_files_read_texts(reviews, path, mode, tmp_path):
    X, y = reviews
    stack = stack_of(output_mode=mode, ngrams=2, max_tokens=20).fit(X, y)
    new = X.head(40).copy()
    new["review"] = [
        None if k % 5 == 0 else f"Été\u00a0{k},  WAS\tlovely... fine-ish unknown{k}"
        for k in range(40)
    ]
    report = sf.export(stack, tmp_path / path, verify=pd.concat([X, new]))
    assert report.max_difference < 1e-12
    assert stack.score(X, y) > 0.85


@pytest.mark.parametrize("path", ["stack.onnx", "stack.tflite", "stack.xml"])
def test_other_files_have_no_text(reviews, path, tmp_path):
    with pytest.raises(sf.NotConvertible, match=r"Export to \.keras or a SavedModel, or"):
        sf.export(stack_of().fit(*reviews), tmp_path / path)


def test_it_is_searched(reviews):
    name = "words__columntransformer__words__max_tokens"
    search = GridSearchCV(stack_of(), {name: [2, 50]}, cv=2).fit(*reviews)
    assert search.best_params_ == {name: 50}


def test_arrays_before_networks_that_train_side_by_side_and_are_kept(reviews, tmp_path):
    frame, y = reviews
    X = frame[["review"]].to_numpy(object)
    network = sf.models.classifier(sf.models.mlp, width=16, epochs=30)
    base = make_pipeline(sf.TextVectorizer(), network)
    settings = {"cv": 3, "random_state": 0, "memory": tmp_path / "kept"}
    stack = sf.StackingClassifier([("net", base)], **settings).fit(X, y)
    assert stack.engine_ == {"net": "side by side"}
    assert stack.score(X, y) > 0.85
    assert sf.export(stack, tmp_path / "stack.keras", verify=X).max_difference < 1e-6
    again = sf.StackingClassifier([("net", base)], **settings).fit(X, y)
    assert again.engine_ == {"net": "from memory"}
    assert_array_equal(again.oof_.predictions, stack.oof_.predictions)


@pytest.mark.parametrize("step", [sf.TextVectorizer(), sf.DateParts()])
def test_a_bare_name_of_a_column_is_told(step):
    """As scikit-learn's own vectorizers of texts take it."""
    frame = pd.DataFrame({"note": ["good", "bad"]})
    with pytest.raises(ValueError, match=r"one column of shape \(2,\).*: \['note'\]"):
        make_column_transformer((step, "note")).fit(frame)
