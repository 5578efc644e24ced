"""Sets of combinations that are held out: their conditions and counts by brute force, and draws that stay outside."""

import itertools
import operator

import jax
import numpy as np
import pytest

from jaxvae.data import Constraints, DataOptions, Groups, Pairs, Rooms, Sprites, all_factors, recombinations
from jaxvae.data.grid import FactorGrid
from jaxvae.data.splits import RECOMBINATIONS, recombinations_in_words

GRIDS = {"dsprites": Sprites, "shapes3d": Rooms}
SMALL = {"dsprites": [(3, 6, 7, 4, 5), (2, 2, 5, 3, 3)], "shapes3d": [(5, 4, 3, 2, 4, 3), (3, 2, 2, 3, 4, 2)]}
LOW, HIGH = -1.0, 2.0
BOUNDS = {
    "dsprites-element": {
        "shape": (1, 1), "scale": (0.2, HIGH), "orientation": (1 / 3, 2 / 3), "x": (0.66, HIGH), "y": (0.66, HIGH),
    },
    "dsprites-range": {"shape": (0, 0), "x": (0.5, HIGH)},
    "dsprites-extrapolation": {"x": (0.5, HIGH)},
    "shapes3d-element": {
        "floor_hue": (0.8, HIGH), "wall_hue": (0.8, HIGH), "object_hue": (0.8, HIGH), "scale": (0.7, HIGH),
        "shape": (1, 1), "orientation": (5 / 6, HIGH),
    },
    "shapes3d-range": {"shape": (3, 3), "object_hue": (0.5, HIGH)},
    "shapes3d-extrapolation": {"floor_hue": (0.5, HIGH)},
}  # fmt: skip
"""Bounds of the share of each factor; indices of shapes. Bounds of hues and of the scale of Shapes3D are inclusive."""


def grid(data, sizes):
    """A small grid with the factors of published data."""
    fields = {"name": data, "factor_names": GRIDS[data].factor_names, "factor_sizes": sizes, "render": render}
    return type("Small", (FactorGrid,), fields)(16)


def render(self, factors):
    return np.zeros((len(factors), 16, 16, 1), np.float32)


def satisfies(name, names, sizes, row):
    for factor, (low, high) in BOUNDS[name].items():
        value, size = row[names.index(factor)], sizes[names.index(factor)]
        if factor == "shape":
            within = value == low
        elif name.startswith("shapes3d") and factor != "orientation":
            within = value >= low * (size - 1) - 1e-9
        else:
            within = low * (size - 1) + 1e-9 < value < high * (size - 1) - 1e-9
        if not within:
            return False
    return True


CASES = [(name, sizes) for name in RECOMBINATIONS for sizes in SMALL[name.partition("-")[0]]]


@pytest.mark.parametrize(("name", "sizes"), CASES)
def test_all_conditions_hold_for_the_held_out_and_not_for_the_others(name, sizes):
    source = grid(name.partition("-")[0], sizes)
    every = list(itertools.product(*map(range, sizes)))
    held = {row for row in every if satisfies(name, source.factor_names, sizes, row)}
    assert 0 < len(held) < len(every)
    parts = recombinations(source, name)
    assert {tuple(row) for row in all_factors(parts.test).tolist()} == held
    assert {tuple(row) for row in all_factors(parts.training).tolist()} == set(every) - held
    assert (parts.test.size, parts.training.size, parts.validation) == (len(held), len(every) - len(held), None)


VALUES = {
    "dsprites": {
        "shape": np.arange(3), "scale": np.linspace(0.5, 1, 6), "orientation": np.linspace(0, 360, 40),
        "x": np.linspace(0, 1, 32), "y": np.linspace(0, 1, 32),
    },
    "shapes3d": {
        **{f"{part}_hue": np.arange(10) / 10 for part in ("floor", "wall", "object")},
        "scale": np.linspace(0.75, 1.25, 8), "shape": np.arange(4), "orientation": np.linspace(-30, 30, 15),
    },
}  # fmt: skip
"""Of the published data, in its units."""
SAME = 1e-6


@pytest.mark.parametrize(
    ("name", "conditions", "count"),
    [
        (
            "dsprites-element",
            {
                "shape": lambda v: v == 1,
                "scale": lambda v: v > 0.6 + SAME,
                "orientation": lambda v: (v > 120 + SAME) & (v < 240 - SAME),
                "x": lambda v: v > 0.66,
                "y": lambda v: v > 0.66,
            },
            4 * 12 * 11 * 11,
        ),
        ("dsprites-range", {"shape": lambda v: v == 0, "x": lambda v: v > 0.5}, 737_280 // 6),
        ("dsprites-extrapolation", {"x": lambda v: v > 0.5}, 737_280 // 2),
        (
            "shapes3d-element",
            {
                **{f"{part}_hue": lambda v: v >= 0.8 for part in ("floor", "wall", "object")},
                "scale": lambda v: v >= 1.1,
                "shape": lambda v: v == 1,
                "orientation": lambda v: v > 20,
            },
            2 * 2 * 2 * 3 * 3,
        ),
        ("shapes3d-range", {"shape": lambda v: v == 3, "object_hue": lambda v: v >= 0.5}, 480_000 // 8),
        ("shapes3d-extrapolation", {"floor_hue": lambda v: v >= 0.5}, 480_000 // 2),
    ],
)
def test_the_published_grids_are_split_by_the_values_of_the_authors(name, conditions, count):
    data = name.partition("-")[0]
    source = GRIDS[data](16)
    masks = [conditions.get(factor, np.isfinite)(VALUES[data][factor]) for factor in source.factor_names]
    held = np.flatnonzero(outer(masks))
    assert len(held) == count
    parts = recombinations(source, name)
    np.testing.assert_array_equal(parts.test.index, held)
    assert parts.training.size == source.size - count
    assert not np.isin(parts.training.index, held).any()


def outer(masks):
    found = masks[0]
    for mask in masks[1:]:
        found = found[..., None] & mask
    return found.ravel()


@pytest.mark.parametrize("text", [">0.5", ">=0.5", "<0.5", "<=0.5", ">1/3", " >= 1/3", "<.4", ">0"])
def test_shares_are_compared_exactly(text):
    source = grid("dsprites", (3, 4, 5, 3, 7))
    sign = text.strip().rstrip("0123456789./ ")
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[sign]
    share = {"0.5": (1, 2), "1/3": (1, 3), ".4": (2, 5), "0": (0, 1)}[text.strip().removeprefix(sign).strip()]
    for factor, size in zip(source.factor_names, source.factor_sizes, strict=True):
        expected = [value for value in range(size) if compare(value * share[1], share[0] * (size - 1))]
        held = all_factors(recombinations(source, f"{factor}{text}").test)
        assert sorted(set(held[:, source.factor_names.index(factor)].tolist())) == expected


WRAPPED = {
    "single": lambda source: source,
    "pairs": lambda source: Pairs(source, 3),
    "groups": lambda source: Groups(source, ("x",), 2),
    **{kind: lambda source, kind=kind: Constraints(source, "x", kind) for kind in ("distances", "analogies")},
}


@pytest.mark.parametrize("name", ["dsprites-range", "dsprites-element", "dsprites-extrapolation"])
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_draws_do_not_leave_the_training_part(wrapped, name):
    sizes = (3, 2, 3, 4, 2)
    source = grid("dsprites", sizes)
    seen = []

    class Watched(type(source)):
        """Tells the combinations that are rendered."""

        def render(self, factors):
            seen.append(np.asarray(factors))
            return render(self, factors)

    parts = recombinations(Watched(16), name)
    batch = WRAPPED[wrapped](parts.training).batch(jax.random.key(0), 0, 300)
    drawn = np.concatenate(seen)
    assert len(drawn) == 300 * sum(key in batch for key in ("x", "x2", "x3", "x4"))
    names = source.factor_names
    assert not any(satisfies(name, names, sizes, row) for row in drawn.tolist())
    trained = {tuple(row) for row in all_factors(parts.training).tolist()}
    assert {tuple(row) for row in drawn.tolist()} <= trained


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("shapes3d-range", "sprites has no factor 'object_hue'; there are shape, scale"),
        ("dsprites-rang", "unknown combinations 'dsprites-rang': did you mean 'dsprites-range'?"),
        ("nothing", "takes FACTOR=VALUES .* or one of dsprites-element, .*; got 'nothing'"),
        ("x>1", "no value of 'x' is held out by 'x>1': a share of its range is from 0"),
        ("x>0.5,x<0.5", "no value of 'x' is held out by"),
        ("x>=0", "nothing of sprites would be left to train on"),
        ("x>1/0", "takes FACTOR=VALUES"),
        ("x>0.5,x=3", "takes FACTOR=VALUES"),
        ("x>1e9", "takes FACTOR=VALUES"),
        ("x>", "takes FACTOR=VALUES"),
        ("moon>0.5", "has no factor 'moon'"),
        ("x=0:99999999999999", "factor 'x' takes 0 to 31, not 32"),
    ],
)
def test_what_can_not_be_held_out(asked, message):
    with pytest.raises(ValueError, match=message) as caught:
        DataOptions(data="sprites", hold_out=asked).open_parts()
    assert "\n" not in str(caught.value)


def test_every_set_is_named_with_its_conditions():
    assert recombinations_in_words("dsprites-range") == "dsprites-range: shape=0,x>0.5"
    assert recombinations_in_words("x=3") == "x=3"
