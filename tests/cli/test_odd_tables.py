"""Odd tables of text: each is read, or refused with one line, and none ends in a traceback."""

import gzip
import itertools

import numpy as np
import pytest

from jaxvae.cli import train
from jaxvae.cli.main import main

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
N = 40
A, B = RNG.normal(170, 10, N).round(3), RNG.normal(0, 1, N).round(4)
COUNT, WORD = RNG.poisson(3, N), RNG.choice(["red", "green", "blue"], N)


def text(columns, separator=",", end="\n", decimal=".", head=None):
    """A table of these columns [N] by name."""
    rows = [[str(value).replace(".", decimal) for value in row] for row in zip(*columns.values(), strict=True)]
    lines = [separator.join(head or columns), *(separator.join(row) for row in rows)]
    return end.join(lines) + end


PLAIN = {"a": A, "b": B, "n": COUNT, "word": WORD}


def with_cells(column, *cells, **more):
    """The plain table, in whose column the first cells are these."""
    changed = np.array(PLAIN.get(column, A), object)
    changed[: len(cells)] = cells
    return text({**PLAIN, **more, column: changed})


def encodings():
    yield from {
        "BOM": b"\xef\xbb\xbf" + text(PLAIN).encode(),
        "UTF-16": text(PLAIN).encode("utf-16"),
        "Latin-1": with_cells("word", "grün", "weiß").encode("latin-1"),
        "UTF-8 names": text({"größe": A, "名前": WORD, "b": B}).encode(),
        "control characters": with_cells("word", "\x1b[31mred", "\x07").encode(),
        "NUL bytes": with_cells("word", "r\0d").encode(),
        "NUL far behind": (text(PLAIN) + "1,2,3,r\0d\n" * 3).encode(),
        "a packed table": gzip.compress(text(PLAIN).encode()),
        "nothing": b"",
        "white space": b" \n\t\n  ",
        "a lone BOM": b"\xef\xbb\xbf",
        "only a header": b"a,b\n",
        "one row": text({name: values[:1] for name, values in PLAIN.items()}).encode(),
        "two rows": text({name: values[:2] for name, values in PLAIN.items()}).encode(),
        "one column": text({"a": A}).encode(),
        "one column of words": text({"word": WORD}).encode(),
        "old Mac line ends": text(PLAIN, end="\r").encode(),
        "Windows line ends": text(PLAIN, end="\r\n").encode(),
        "no line end": text(PLAIN).strip().encode(),
        "a web page": b"<!DOCTYPE html><html>" + text(PLAIN).encode(),
        "an npy file": b"\x93NUMPY\x01\0" + bytes(200),
    }.items()


def separators():
    for separator, decimal in itertools.product(",;\t|", ".,"):
        name = {"\t": "tab"}.get(separator, separator)
        if separator != decimal:
            yield f"{name} and decimals with {decimal}", text(PLAIN, separator, decimal=decimal)
    yield "commas in commas", text(PLAIN, decimal=",")
    yield "spaces", text(PLAIN, " ")
    yield "spaces after commas", text(PLAIN, ", ")
    yield "thousands", with_cells("a", '"1,234.5"', '"2,345.6"')
    yield "thousands with dots", text({**PLAIN, "a": ["1.234,5"] * N}, ";")
    yield "a separator in Excel's first line", "sep=;\n" + text(PLAIN, ";")


def shapes():
    yield "columns of the same name", text(PLAIN, head=["a", "a", "n", "word"])
    yield "names that differ by spaces", text(PLAIN, head=["a", " a ", "n", "word"])
    yield "names that differ by case", text(PLAIN, head=["a", "A", "n", "word"])
    yield "names as pandas would make them", text(PLAIN, head=["a", "a.1", "n", "word"])
    yield "a first column without a name", text({"": range(N), **PLAIN})
    yield "a later column without a name", text({**PLAIN, "": range(N)})
    yield "names that are numbers", text(PLAIN, head=["1", "2", "3", "4"])
    yield "names that are dates", text(PLAIN, head=["2020-01-01", "2020-01-02", "2020-01-03", "word"])
    yield "a very long name", text({"x" * 5000: A, "b": B})
    yield "names with quotes and commas", text(PLAIN, head=['"a, in cm"', "'b'", '"n ""all"""', "word"])
    yield "a name with a line end", text(PLAIN, head=['"a\ncm"', "b", "n", "word"])
    yield "rows that are too long", text(PLAIN) + "1,2,3,red,5\n"
    yield "rows that are too short", text(PLAIN) + "1,2\n"
    yield "separators at the ends", "".join(f"{line},\n" for line in text(PLAIN).splitlines())
    yield "separators at the ends of rows alone", "a,b,n,word\n" + text(PLAIN).partition("\n")[2].replace("\n", ",\n")
    yield "empty lines", text(PLAIN).replace("\n", "\n\n")
    yield "comments above", "# measured in 2020\n# by us\n" + text(PLAIN)
    yield "units below the header", text(PLAIN).replace("\n", "\ncm,kg,1,-\n", 1)
    yield "a sum at the end", text(PLAIN) + f"Total,{B.sum()},{COUNT.sum()},\n"
    yield "a quote that is not closed", with_cells("word", '"red')
    yield "line ends in quotes", with_cells("word", '"dark\nred"', '"dark\nred"', '"dark\nred"')
    yield "2,000 columns", text({f"x{d}": A for d in range(2000)})


def values():
    for word in ("", "NA", "nan", "NaN", "null", "None", "N/A", "-", "?", "#DIV/0!", "missing", " ", "."):
        yield f"{word!r} for missing", with_cells("a", word, word, word)
    yield "infinite", with_cells("a", "inf", "-inf")
    yield "Infinity in words", with_cells("a", "Infinity")
    yield "huge", with_cells("a", "1e308", "-1e308")
    yield "larger than huge", with_cells("a", "1e999")
    yield "tiny", text({**PLAIN, "a": [f"{value:.3f}e-300" for value in B]})
    yield "far from zero", text({**PLAIN, "a": [f"{1e15 + row}" for row in range(N)]})
    yield "large whole numbers", text({**PLAIN, "a": [2**63 + 7 * row**2 for row in range(N)]})
    yield "larger whole numbers", text({**PLAIN, "a": [10**30 + 10**29 * (row % 7) for row in range(N)]})
    yield "hexadecimal", with_cells("a", "0x1F", "0x2A")
    yield "percent", text({**PLAIN, "a": [f"{value:.0f}%" for value in A]})
    yield "currencies", text({**PLAIN, "a": [f"${value:.2f}" for value in A]})
    yield "digits in groups", text({**PLAIN, "a": [f"1_{row:03}" for row in range(N)]})
    yield "signs", text({**PLAIN, "a": [f"+{value}" for value in A]})
    yield "numbers and words", with_cells("a", "high", "low")
    yield "numbers in quotes", text({**PLAIN, "a": [f'"{value}"' for value in A]})
    yield "truths", text({**PLAIN, "yes": [["True", "False"][row % 2] for row in range(N)]})
    yield "truths with gaps", text({**PLAIN, "yes": [["True", "False", ""][row % 3] for row in range(N)]})
    yield "truths of many kinds", text({**PLAIN, "yes": [["yes", "No", "TRUE", "0"][row % 4] for row in range(N)]})
    yield "an empty column", text({**PLAIN, "empty": [""] * N})
    yield "empty columns alone", text({"a": [""] * N, "b": [""] * N})
    yield "missing everywhere but once", text({**PLAIN, "rare": ["1.5", *[""] * (N - 1)]})
    yield "missing in all rows", text({f"x{d}": np.where(np.arange(N) % 5 == d, "", A) for d in range(5)})
    yield "a constant", text({**PLAIN, "one": [1] * N})
    yield "constants alone", text({"one": [1] * N, "two": ["x"] * N})
    yield "a constant with gaps", text({**PLAIN, "one": ["1", ""] * (N // 2)})
    yield "whole numbers as floats", text({**PLAIN, "n": [f"{value}.0" for value in COUNT]})
    yield "negative zero", text({**PLAIN, "n": np.where(COUNT == 3, "-0", COUNT)})
    yield "dates", text({**PLAIN, "day": [f"2020-01-{row % 28 + 1:02}" for row in range(N)]})
    yield "times", text({**PLAIN, "time": [f"{row % 24}:30:00" for row in range(N)]})
    yield "dates with slashes", text({**PLAIN, "day": [f"{row % 12 + 1}/{row % 28 + 1}/2020" for row in range(N)]})
    yield "sentences", text({**PLAIN, "note": [f"patient {row % 27} came, again" for row in range(N)]}, ";")
    yield "names", text({**PLAIN, "who": [f"person {row}" for row in range(N)]})
    yield "formulas", with_cells("a", "=A2+B2", "=SUM(A:A)")
    yield "lists", text({**PLAIN, "list": [f'"[{row}, 2]"' for row in range(N)]})
    yield "complex numbers", text({**PLAIN, "z": [f"{value}+1j" for value in B]})
    yield "a cell of a megabyte", with_cells("word", "r" * 2**20)


TABLES = {**dict(encodings()), **dict(separators()), **dict(shapes()), **dict(values())}
READ = (
    "BOM", "UTF-8 names", "Windows line ends", "no line end", "one column", "line ends in quotes", "empty lines",
    "; and decimals with .", "; and decimals with ,", "tab and decimals with ,", "| and decimals with ,",
    "spaces after commas", "numbers in quotes", "truths", "an empty column", "whole numbers as floats",
    "'' for missing", "'NA' for missing", "missing in all rows", "names with quotes and commas",
)  # fmt: skip
"""Tables that must be read."""
REFUSED = (
    "UTF-16", "Latin-1", "NUL bytes", "nothing", "white space", "a lone BOM", "only a header", "one row",
    "columns of the same name", "names that differ by spaces", "names that are numbers", "a web page", "an npy file",
    "a later column without a name", "infinite", "Infinity in words", "percent", "dates", "times", "sentences",
    "empty columns alone", "constants alone", "rows that are too long", "a quote that is not closed", "comments above",
    "commas in commas", "separators at the ends of rows alone", "rows that are too short", "thousands",
    "thousands with dots", "hexadecimal", "numbers and words", "formulas", "units below the header",
    "a sum at the end", "huge", "larger than huge",
)  # fmt: skip
"""Tables that must be refused."""


def test_there_are_sixty_tables_and_more():
    assert len(TABLES) > 60
    assert {*READ, *REFUSED} <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_an_odd_table_is_read_or_refused_with_one_line(name, tmp_path, capsys, monkeypatch):
    content = TABLES[name]
    path = tmp_path / ("t.csv.gz" if name == "a packed table" else "t.csv")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    seen = []
    monkeypatch.setattr(train, "print_plan", lambda config, method, source, *more: seen.append(source))
    try:
        main(["train", "vae", "--data", f"table:{path}", "--dry-run", "--batch-size", "8"])
        code = 0
    except SystemExit as stop:
        code = stop.code
    out, error = capsys.readouterr()
    assert "Traceback" not in out + error
    if code == 0:
        assert name not in REFUSED
        (source,) = seen
        x = np.asarray(source.pixels)
        assert x.shape == (source.size, source.schema.width)
        assert not np.isinf(x).any()
        assert np.nanmax(np.abs(x)) < 1e6
        assert out.startswith("columns of t")
    else:
        assert name not in READ, error
        assert code == 2
        assert error.startswith(f"jaxvae: {path}: ")
        assert error.count("\n") == 1
        assert len(error) < 1000
        assert not seen
