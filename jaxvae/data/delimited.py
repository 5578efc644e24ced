"""Text files of rows of cells: their separator, their header, the lengths of their rows, and decimal commas."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from jaxvae.files import printable
from jaxvae.texts import MISSING_TEXTS

SEPARATORS = (",", ";", "\t", "|")
SEEN = 30
"""Number of lines, the first ones, that decide which character separates cells."""
LONGEST = 1 << 30
"""Largest number of characters of a cell."""
BLOCK = 4096
"""Number of rows whose cells are looked at together."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+\Z")
_SAID = re.compile(r'"?sep=(.)"?(?:\r\n?|\n|\Z)', re.IGNORECASE)
_QUOTED = re.compile(r'"\s*[+-]?\d[\d.]*,\d')
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:\.\d{3})+,\d*|(?:,\d{3}){2,})")


class _Lines:
    """Lines of a text with their ends, one after another."""

    def __init__(self, text: str, start: int, separator: str = ""):
        self._found, self.end, self.last = _LINE.finditer(text, start), start, ""
        self._blank = " \t\r\n".replace(separator, "") if separator else " \r\n"

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        found = next(self._found)
        self.end, self.last = found.end(), found.group()
        return self.last

    @property
    def is_blank(self) -> bool:
        """Whether the last line was blank. Separators are cells, tabs as well."""
        return not self.last.strip(self._blank)


@dataclass(frozen=True)
class Delimited:
    """A text of rows of cells below a header."""

    text: str
    separator: str
    names: tuple[str, ...]
    """Cells of the header, without space around them."""
    start: int
    """Place of the first character below the header."""
    line: int
    """Number of lines down to the header."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the number of the first line and the cells of each row, without blank lines.

        Raises:
          ValueError: The text cannot be read.
        """
        lines, last = _Lines(self.text, self.start, self.separator), 0
        reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True)
        try:
            for row in reader:
                first, last = last + 1, reader.line_num
                if last > first or not lines.is_blank:
                    yield self.line + first, row
        except csv.Error as error:
            raise ValueError(f"can't be read ({error})") from error

    def wrong_length(self, line: int, cells: int) -> ValueError:
        """Returns the error for a row that is longer or shorter than the header."""
        return ValueError(
            f"line {line} has {cells} cells, and the first line names {len(self.names)} columns: write one cell per "
            "column, an empty one where a value is missing, and no separator at the end"
        )

    @property
    def may_have_commas(self) -> bool:
        """Whether a comma may be inside of a number."""
        return ("," in self.text) if self.separator != "," else _QUOTED.search(self.text) is not None


def delimited(text: str, separator: str | None = None) -> Delimited:
    """Finds the separator and the header of a text.

    Args:
      text: Content of a file without a byte-order mark. Its first line may be Excel's "sep=;".
      separator: Separator of the cells. By default, the one that gives the header the most cells.

    Raises:
      ValueError: The text is empty or cannot be read.
    """
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    start, line = 0, 0
    if said := _SAID.match(text):
        separator, start, line = said[1], said.end(), 1
    separator = separator or _separator(text, start)
    lines = _Lines(text, start, separator)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        header = next((row for row in reader if not lines.is_blank), None)
    except csv.Error as error:
        raise ValueError(f"can't be read ({error})") from error
    if header is None:
        raise ValueError("it is empty")
    return Delimited(text, separator, tuple(name.strip() for name in header), lines.end, line + reader.line_num)


def decimal_mark(
    cells: Delimited,
    rows: Iterable[Sequence[str]],
    names: Sequence[str],
    is_text: Callable[[str], bool] = lambda name: False,
    advice: str = "",
) -> str:
    """Returns the decimal mark of the numbers in a text, a point or a comma, by all of its cells.

    Only columns of numbers tell: most of their cells are numbers with a point, a comma, or none.

    Args:
      cells: The text.
      rows: Its rows.
      names: Names of the columns of the rows.
      is_text: Function that tells of the name of a column whether it is one of text, which tells nothing.
      advice: What else to do than to change numbers, for messages.

    Raises:
      ValueError: Numbers have decimal points and commas, or may have commas between thousands. The message names cells.
    """
    if not cells.may_have_commas:
        return "."
    counts: list[Counter[str]] = [Counter() for _ in names]
    shown: list[dict[str, str]] = [{} for _ in names]
    remaining = iter(rows)
    while block := list(islice(remaining, BLOCK)):
        for place, column in enumerate(zip(*block, strict=True)):
            forms = Counter(map(_form, column))
            counts[place].update(forms)
            for form in forms.keys() - shown[place].keys():
                shown[place][form] = next(cell.strip() for cell in column if _form(cell) == form)
    found: dict[str, str] = {}
    for name, forms, examples in zip(names, counts, shown, strict=True):
        numbers = forms.total() - forms["missing"] - forms["word"]
        if numbers > forms["word"] and not is_text(name):
            for form, example in examples.items():
                found.setdefault(form, f"{printable(example)[:40]!r} of column {printable(name)!r}")
    advice = f"write all numbers with one decimal mark and without separators of thousands{advice}"
    if grouped := found.get("grouped"):
        raise ValueError(f"the cell {grouped} has separators of thousands: {advice}")
    comma = found.get("comma") or found.get("thousands")
    if comma and (point := found.get("point")):
        raise ValueError(f"the cell {comma} has a comma between digits, and {point} a decimal point: {advice}")
    if comma and "comma" not in found:
        raise ValueError(f"the comma in the cell {comma} may be a decimal mark or separate thousands: {advice}")
    return "," if comma else "."


def _form(cell: str) -> str:
    """Tells what a cell may be: "missing", "point", "whole", "comma", "thousands", "grouped" or "word"."""
    if cell in MISSING_TEXTS:
        return "missing"
    try:
        if "," not in cell:
            float(cell)
            return "point" if "." in cell else "whole"
        float(cell.replace(",", ".", 1))
    except ValueError:
        cell = cell.strip()
        return "missing" if cell in MISSING_TEXTS else "grouped" if _GROUPED.fullmatch(cell) else "word"
    return "thousands" if cell[-4:-3] == "," and _THOUSANDS.fullmatch(cell.strip()) else "comma"


def _separator(text: str, start: int) -> str:
    """Returns the separator that gives the header the most cells.

    A separator is preferred that leaves no quotes inside of cells, and whose rows are as long as the header.
    """
    lines = [line for line in islice(_Lines(text, start), SEEN) if line.strip(" \r\n")]

    def fit(separator: str) -> tuple[bool, bool, bool, int]:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        try:
            width = len(next(reader, []))
        except csv.Error:
            return False, False, False, 0
        return True, width > 1, width > 1 and _are_long(reader, width), width

    return max(SEPARATORS, key=fit)


def _are_long(rows: Iterator[list[str]], width: int) -> bool:
    """Whether the first rows have as many cells as the header."""
    try:
        return all(len(row) == width for row in rows)
    except csv.Error:  # within a cell that goes on below the first lines
        return True
