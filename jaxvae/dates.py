"""Texts that are dates."""

import re
from collections.abc import Sequence

SHARE = 0.8
"""Smallest share of texts that are dates, for a column to hold dates."""
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_NUMBERS = (
    rf"{_YEAR}([-/.]){_MONTH}\1{_DAY}",
    rf"{_YEAR}-{_MONTH}",
    rf"{_DAY}([-/.]){_MONTH}\2(?:{_YEAR}|\d\d)",
    rf"{_MONTH}/{_DAY}/(?:{_YEAR}|\d\d)",
)
_WORDS = (rf"{_DAY}[-. ]*{_NAME}[-, ]*{_YEAR}", rf"{_NAME} {_DAY},? {_YEAR}", rf"{_NAME} {_YEAR}")
DATE = re.compile(rf"(?:{'|'.join((*_NUMBERS, *_WORDS))})(?:$|[T ,].*)", re.IGNORECASE)
"""A day or a month of a year, as numbers in any common order or with the English name of the month, and a time after it
or not. A version such as 2024.1.0 is none, as it has no day 0."""


def holds_dates(texts: Sequence[str]) -> bool:
    """Whether at least two texts, and most of all, are dates."""
    found = sum(DATE.fullmatch(text.strip()) is not None for text in texts)
    return found > 1 and found >= SHARE * len(texts)
