"""Transformers that lead from dates, texts, images or several inputs to estimators of tables."""

from stackfuse._steps import dates
from stackfuse._steps.dates import DateParts
from stackfuse._steps.inputs import Flatten, Pick
from stackfuse._steps.texts import TextVectorizer

__all__ = ["DateParts", "Flatten", "Pick", "TextVectorizer", "dates"]
