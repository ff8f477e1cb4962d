"""Preprocessing of a table's columns, which is fitted within the folds and exports with a stack."""

from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)

from stackfuse._models.columns import Columns
from stackfuse._steps import DateParts, TextVectorizer

#: The most columns of a text's words, for sums and for trees, and the least; the most topics.
_MAX_WORDS, _MAX_WORDS_OF_TREES, _MIN_WORDS, _MAX_TOPICS = 1000, 300, 100, 30

#: The most numbers of a table of words.
_MAX_NUMBERS = 50_000_000


def for_trees(columns: Columns, n_rows: int) -> ColumnTransformer:
    """Return the preprocessing of a table for trees: they need no scale, and split at NaN."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    )
    # No sums of words: trees split between the last digits of a sum, which differ in a graph.
    texts = _words(columns, n_rows, _MAX_WORDS_OF_TREES)
    return _transformer(columns, "passthrough", codes, TargetEncoder(), DateParts(), texts)


def for_sums(columns: Columns, n_rows: int) -> ColumnTransformer:
    """Return the preprocessing of a table for models that add up its columns, each scaled."""
    scaled = make_pipeline(_filled(columns), StandardScaler())
    means, dates, words = _scaled_means(), _scaled_dates(columns), _words(columns, n_rows)
    return _transformer(columns, scaled, _indicators(), means, dates, words)


def for_networks(columns: Columns, n_rows: int) -> ColumnTransformer:
    """Return the preprocessing of a table for networks: numbers as of a normal distribution.

    References
    ----------
    Gorishniy et al. (2021), see :func:`mlp`, prepare numbers so.
    """
    normal = QuantileTransformer(
        output_distribution="normal", n_quantiles=max(10, min(1000, n_rows // 30))
    )
    normal_numbers = make_pipeline(_filled(columns), normal)
    means, dates = _scaled_means(), _scaled_dates(columns)
    topics = _topics(columns, n_rows)
    return _transformer(columns, normal_numbers, _indicators(), means, dates, topics)


def _filled(columns: Columns) -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=bool(columns.with_missing))


def _indicators() -> OneHotEncoder:
    """Return one column of zeros and ones for each level that is not rare."""
    return OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False)


def _scaled_means():
    return make_pipeline(TargetEncoder(), StandardScaler())


def _scaled_dates(columns: Columns):
    return make_pipeline(DateParts(cyclic=True), _filled(columns), StandardScaler())


def _words(columns: Columns, n_rows: int, most: int = _MAX_WORDS) -> TextVectorizer:
    """Return the preprocessing of texts: with many rows fewer words, so that memory suffices."""
    room = _MAX_NUMBERS // (n_rows * max(len(columns.texts), 1))
    return TextVectorizer(max_tokens=max(_MIN_WORDS, min(most, room)))


def _topics(columns: Columns, n_rows: int):
    """Return sums of words that occur together, few enough for networks."""
    n_topics = max(1, min(_MAX_TOPICS, columns.n_words // 4))
    return make_pipeline(_words(columns, n_rows), TruncatedSVD(n_topics), StandardScaler())


def _transformer(columns: Columns, numbers, few, many, dates, texts) -> ColumnTransformer:
    parts = [("numbers", numbers, columns.numbers), ("few", few, columns.few)]
    parts += [("many", many, columns.many), ("dates", dates, columns.dates)]
    parts.append(("texts", texts, columns.texts))
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)
