"""Values of columns as texts: which are missing, which texts are numbers, and which stand for a missing value."""

import math
from collections import Counter
from typing import Any

import numpy as np

MISSING_TEXTS = frozenset(
    {
        *(
            "",
            "#N/A",
            "#N/A N/A",
            "#NA",
            "-1.#IND",
            "-1.#QNAN",
            "-NaN",
            "-nan",
            "1.#IND",
            "1.#QNAN",
            "<NA>",
            "N/A",
            "NA",
        ),
        *("NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""Texts of a missing value in files of text, which are those that pandas reads as missing."""


def is_number(text: str) -> bool:
    """Whether `float` reads the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_plain_number(text: str) -> bool:
    """Whether a cell of text is a number as programs write it: neither 1_000, nor 1e999, which is beyond float64, nor a
    text for a missing value.
    """
    return is_number(text) and "_" not in text and text.strip() not in MISSING_TEXTS and math.isfinite(float(text))


def is_missing(values: np.ndarray) -> np.ndarray:
    """Tells which values are missing: NaN, None or NaT."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        return np.array([value is None or (isinstance(value, float) and value != value) for value in values], bool)
    return np.zeros(len(values), bool)


def texts_or_numbers(values: np.ndarray) -> np.ndarray:
    """Returns numbers unchanged and all other values as text, so that values can be sorted."""
    if values.dtype.kind in "biuf":
        return values
    return np.array([text_of(value) for value in values], str) if len(values) else values.astype(str)


def text_of(value: Any) -> str:
    """Converts a value to text. 1 and 1.0 give the same text."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


class Cells:
    """How many cells of a column, after some blocks of them, are numbers, and which is the first that is none."""

    def __init__(self) -> None:
        self._rows, self._observed, self._numbers = 0, 0, 0
        self.word = ""
        """The first cell that is no number, and its row; empty if all are numbers."""

    def add(self, values: np.ndarray, missing: np.ndarray) -> None:
        """Adds a block of values [n], of which some are missing, bool [n]."""
        self._rows += len(values)
        self._observed += len(values) - int(missing.sum())
        if values.dtype.kind not in "OUS":  # truths are no numbers, as they may be words in another block
            self._numbers += len(values) - int(missing.sum()) if values.dtype.kind in "iuf" else 0
            return
        texts = [None if gone else text_of(value) for value, gone in zip(values, missing, strict=True)]
        counts = Counter(text for text in texts if text is not None)
        words = {text for text in counts if not is_plain_number(text)}
        self._numbers += sum(count for text, count in counts.items() if text not in words)
        if words and not self.word:
            place, text = next((place, text) for place, text in enumerate(texts) if text in words)
            self.word = f"{str(text)[:40]!r} in row {self._rows - len(values) + place + 1} (the first is row 1)"

    @property
    def are_mostly_numbers(self) -> bool:
        """Whether more than half of the cells are numbers, and some are not."""
        return self._observed < 2 * self._numbers < 2 * self._observed


def first_word(values: np.ndarray) -> str:
    """Returns the first cell of a column that is no number, and its row; empty if all are numbers or missing."""
    cells = Cells()
    cells.add(values, is_missing(values))
    return cells.word
