"""Splits of a data set into training, validation and test examples."""

import math
import operator
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from jaxvae.choose import near
from jaxvae.data.source import GroundTruth, Source
from jaxvae.data.subsets import GridSubset, Subset, hold_out
from jaxvae.files import printable

MOST = 2**28
"""Largest number of examples that can be split: their indices take a gigabyte."""
PARTS = ("training", "validation", "test")
WORDS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
"""Index in `PARTS` of the part that a word names, in small letters."""
COMPARISON = re.compile(r"(.+?)\s*([<>]=?)\s*([0-9./]+)")
SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
RECOMBINATIONS: dict[str, str] = {
    "dsprites-element": "shape=1,scale>0.2,orientation>1/3,orientation<2/3,x>0.66,y>0.66",
    "dsprites-range": "shape=0,x>0.5",
    "dsprites-extrapolation": "x>0.5",
    "shapes3d-element": "floor_hue>=0.8,wall_hue>=0.8,object_hue>=0.8,scale>=0.7,shape=1,orientation>5/6",
    "shapes3d-range": "shape=3,object_hue>=0.5",
    "shapes3d-extrapolation": "floor_hue>=0.5",
}
"""Sets of combinations of Montero et al. (2021) in the form of `recombinations`, for the factors of dSprites and
Shapes3D and any number of their values: recombination to element, recombination to range, and extrapolation.

The conditions are checked against those of the authors' code (mmrl/disent-and-gen, configs/datasplits.py at commit
9b34e90), whose values are turned into shares of the range: a scale above 0.6 of [0.5, 1], angles between 120 and 240
degrees, a scale from 1.1 of [0.75, 1.25], directions above 20 of [-30, 30] degrees. Hues are shares by their index over
the number of values there, and over that minus 1 here, which selects the same of 10 hues. The shapes are those of the
code: an ellipse and a square, a cylinder and a capsule. Where a condition is "above 0.5" and the number of values is
odd, the authors leave the middle value out of both parts; here it is trained on. The other ranges of Shapes3D in the
code, which its analysis does not use, and its sets of MPI3D are left out. The text of the paper was not at hand: that
its figures are of these sets is from memory.
"""


class HeldOut(NamedTuple):
    """Examples that a model was not trained on."""

    name: str
    """Name of the part: "validation" or "test"."""
    source: Source


class Parts(NamedTuple):
    """Parts of a data set. No example is in two of them."""

    training: Source
    validation: Source | None = None
    test: Source | None = None

    @property
    def held_out(self) -> HeldOut | None:
        """Examples to score a model on: the test set, or else the validation set; None without a split."""
        named = {"test": self.test, "validation": self.validation}
        return next((HeldOut(name, part) for name, part in named.items() if part is not None), None)

    @property
    def held_out_in_words(self) -> str:
        """Numbers of held-out examples as the end of a line, such as ", 180 for validation, 180 for testing"."""
        named = {"validation": self.validation, "testing": self.test}
        return "".join(f", {part.size:,} for {name}" for name, part in named.items() if part is not None)


def split(
    source: Source, validation: float = 0.0, test: float = 0.0, *, seed: int = 0, groups: np.ndarray | None = None
) -> Parts:
    """Splits a source at random.

    The parts depend on the examples' number, the seed and the groups only. The test examples do not depend on the
    share for validation. Of a grid of factors, each part is a random share of the combinations, and a part of it can
    still be drawn by factors, as `Pairs` and `Groups` do. An example always looks the same in a part, also where the
    source itself varies its look.

    Args:
      source: Source of single examples; wrap the parts, not the source, in pairs, groups, labels or epochs.
      validation: Share of the examples for validation, in [0, 1).
      test: Share of the examples for testing, in [0, 1).
      seed: Random seed of the split.
      groups: Group of each example, [size], any integers. Groups are kept together, and parts hold whole groups until
        their shares are reached as closely as the random order of the groups allows.

    Returns:
      The parts. Without shares, the training part is the source itself; a part without a share is None.

    Raises:
      ValueError: A share is not in [0, 1), they leave nothing to train on, a part would be empty, there are too many
        examples to be split, or there is not one group for each example.
    """
    shares = {"validation": validation, "test": test}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"the {name} share must be at least 0 and below 1, got {share}")
    if validation + test >= 1:
        raise ValueError(
            f"the shares for validation and test must leave examples for training, got {validation + test}"
        )
    if not validation and not test:
        return Parts(source)
    size = source.size
    if size > MOST:
        raise ValueError(f"{source.name} has {size:,} examples; at most {MOST:,} can be split")
    if groups is None:
        # The tolerance makes 0.29 of 100 examples 29, whatever the rounding.
        counts = [math.floor(share * size + 0.5 + 1e-9) for share in (test, validation)]
        part_of = np.zeros(size, np.int8)
        order = _shuffled(size, seed)
        part_of[order[: counts[0]]] = 2
        part_of[order[counts[0] : sum(counts)]] = 1
    else:
        part_of = _of_groups(source, np.asarray(groups), validation, test, seed)
    chosen = [np.flatnonzero(part_of == part).astype(np.int32) for part in range(3)]
    what = "examples" if groups is None else f"examples in {len(np.unique(groups)):,} groups"
    for name, index, share in zip(("training", *shares), chosen, (1.0, *shares.values()), strict=True):
        if share and not len(index):
            raise ValueError(
                f"no {name} examples would be left of the {size:,} {what} of {source.name} with shares of {validation} "
                f"for validation and {test} for test: choose other shares"
            )
    return _parts(source, chosen)


def split_as_told(source: Source, told: Sequence[str], *, groups: np.ndarray | None = None) -> Parts:
    """Splits a source by words that say for each example which part it is in.

    Args:
      source: Source of single examples, as for `split`.
      told: A word for each example, [size]: train or training; validation, valid, val or dev; test or testing. Capital
        letters are treated as small ones.
      groups: Group of each example, [size], any integers, to check that no group is in two parts.

    Returns:
      The parts. A part that no word names is None.

    Raises:
      ValueError: A word is another one, no example or only examples for training are told, there is not one word for
        each example, or a group is in two parts.
    """
    if len(told) != source.size:
        raise ValueError(f"{source.name} needs one word for each of its {source.size} examples, got {len(told)}")
    words, number = np.unique(np.array([str(word).strip().lower() for word in told]), return_inverse=True)
    if other := [str(word) for word in words if word not in WORDS]:
        places = np.flatnonzero(number == np.searchsorted(words, other[0]))
        raise ValueError(
            f"the split has the value {printable(other[0])!r} in {len(places):,} rows, the first of which is row "
            f"{places[0]}: it must be train, validation or test in each row"
        )
    part_of = np.array([WORDS[str(word)] for word in words], np.int8)[number]
    chosen = [np.flatnonzero(part_of == part).astype(np.int32) for part in range(3)]
    if not len(chosen[0]) or len(chosen[0]) == len(part_of):
        what = "all" if len(chosen[0]) else "none"
        raise ValueError(f"the split has {what} of the {len(part_of):,} rows for training: some must be held out")
    if groups is not None:
        pairs = np.unique(np.stack([np.asarray(groups), part_of], axis=1), axis=0)
        if len(apart := np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])):
            group, first = pairs[apart[0]]
            row = int(np.argmax(np.asarray(groups) == group))
            raise ValueError(
                f"{len(np.unique(pairs[apart, 0])):,} groups are in two parts of the split, such as that of row {row}, "
                f"in {PARTS[first]} and {PARTS[pairs[apart[0] + 1, 1]]}: a group must be in one part"
            )
    return _parts(source, chosen)


def _parts(source: Source, chosen: Sequence[np.ndarray]) -> Parts:
    """Returns the parts with these indices, of which those for training are not empty."""
    kind: Any = GridSubset if _is_grid(source) else Subset
    training, *held = (kind(source, index) if len(index) else None for index in chosen)
    assert training is not None
    return Parts(training, *held)


def recombinations(source: Source, asked: str) -> Parts:
    """Holds out combinations of factor values for testing, to measure recombination (Montero et al., 2021).

    One value or a narrow range of every factor holds out few combinations (recombination to element). Values of some
    factors, such as "shape=2,x=16:32" or "shape=2,x>0.5", hold out a range of combinations whose parts are all seen in
    others (recombination to range), and values of one factor, "x>0.5", what is never seen at all (extrapolation).

    Args:
      source: Source with known factors.
      asked: A key of `RECOMBINATIONS`, or conditions between commas, all of which hold for a combination that is held
        out: FACTOR=VALUES, where VALUES is an index, or first:last for all indices from first to last - 1; and
        FACTOR>SHARE, or with >=, < or <=, where SHARE is a number such as 0.66 or 1/3 that is compared with the index
        over the number of values minus 1, from 0 to 1. The comparison is exact.

    Returns:
      The parts for training and testing. Parts of a grid are still drawn by their factors, as in `split`. Of clips, the
      first frame is meant; runs of methods that learn from all frames refuse factors that change in a clip.

    Raises:
      ValueError: The text has another form, a factor or value does not exist, or a part would be empty.
    """
    training, test = hold_out(source, conditions(source, asked))
    kind: Any = GridSubset if _is_grid(source) else Subset
    return Parts(kind(source, training.index), None, kind(source, test.index))


def conditions(source: Source, asked: str) -> dict[str, Sequence[int]]:
    """Returns the values of each factor that `recombinations` holds out for these words.

    Raises:
      ValueError: As for `recombinations`, but for factors and values that do not exist, and parts that are empty.
    """
    if asked not in RECOMBINATIONS and not re.search("[=<>]", asked) and (nearest := near(asked, RECOMBINATIONS)):
        raise ValueError(f"unknown combinations {asked!r}: did you mean {nearest!r}?")
    combination: dict[str, Sequence[int]] = {}
    compared: set[str] = set()
    for word in RECOMBINATIONS.get(asked, asked).split(","):
        name, is_share, chosen = _condition(source, word.strip())
        if chosen is None or (name in combination and not (is_share and name in compared)):
            raise ValueError(
                "--hold-out takes FACTOR=VALUES between commas, such as shape=2,x=16:32, FACTOR>SHARE in quotes (the "
                f'shell takes > and < for files), such as "x>0.5", or one of {", ".join(RECOMBINATIONS)}; got {asked!r}'
            )
        combination[name] = [value for value in chosen if value in combination[name]] if name in combination else chosen
        if is_share:
            compared.add(name)
            if name in source.factor_names and not combination[name]:
                raise ValueError(
                    f"no value of {name!r} is held out by {asked!r}: a share of its range is from 0, the first value, "
                    "to 1, the last one"
                )
    return combination


def recombinations_in_words(asked: str) -> str:
    """Returns the conditions that `recombinations` is asked for, after their name if they have one."""
    return f"{asked}: {RECOMBINATIONS[asked]}" if asked in RECOMBINATIONS else asked


def _condition(source: Source, word: str) -> tuple[str, bool, Sequence[int] | None]:
    """Returns the factor of a condition, whether shares are compared, and the values, None for another form."""
    name, equals, values = map(str.strip, word.partition("="))
    compared = COMPARISON.fullmatch(word)
    try:
        if compared is None or name in source.factor_names:
            first, colon, last = values.partition(":")
            chosen = range(int(first), int(last) if colon else int(first) + 1)
            return name, False, chosen if equals and chosen else None
        name, sign, text = compared.groups()
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return name, False, None
    if name not in source.factor_names:
        return name, True, ()
    size = source.factor_sizes[source.factor_names.index(name)]
    return name, True, [value for value in range(size) if SIGNS[sign](Fraction(value, max(1, size - 1)), share)]


def _of_groups(source: Source, groups: np.ndarray, validation: float, test: float, seed: int) -> np.ndarray:
    """Returns the part of each example, 0 for training, 1 for validation and 2 for test, with groups kept together."""
    if groups.shape != (source.size,):
        raise ValueError(f"{source.name} needs one group for each of its {source.size} examples, got {groups.shape}")
    names, group_of = np.unique(groups, return_inverse=True)
    order = _shuffled(len(names), seed)
    counts = np.bincount(group_of, minlength=len(names))[order]
    middle = (np.cumsum(counts) - counts / 2) / source.size  # of the group in a row of all examples
    part_of_group = np.zeros(len(names), np.int8)
    part_of_group[order] = np.where(middle < test, 2, np.where(middle < test + validation, 1, 0))
    return part_of_group[group_of]


def _shuffled(size: int, seed: int) -> np.ndarray:
    """Returns a random order of 0 .. size-1. NumPy guarantees that raw bits stay the same in all of its versions."""
    return np.argsort(np.random.PCG64(seed).random_raw(size), kind="stable")


def _is_grid(source: Source) -> bool:
    """Whether example i is combination i of the factors, and examples can be rendered from factors."""
    return (
        isinstance(source, GroundTruth) and source.factor_names != () and source.size == math.prod(source.factor_sizes)
    )
