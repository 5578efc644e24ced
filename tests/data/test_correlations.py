"""Correlated pairs of factors: the joint distribution against its definition, draws, and what is refused."""

import itertools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import CorrelatedPairs, Rooms, Scene, Sprites, Tie, correlated_pairs, correlations, from_arrays
from jaxvae.data.correlations import NAMED

SIZES = (3, 4, 2, 5)
NAMES = ("a", "b", "c", "d")


def grid():
    factors = np.array(list(itertools.product(*map(range, SIZES))))
    images = np.zeros((len(factors), 16, 16, 1), np.uint8)
    return from_arrays(images, factors, name="grid", factor_names=NAMES)


def joint(ties, sigma):
    """Of all combinations, from the definition: [3, 4, 2, 5]."""
    found = np.zeros(SIZES)
    for values in itertools.product(*map(range, SIZES)):
        share = {name: value / (size - 1) for name, value, size in zip(NAMES, values, SIZES, strict=True)}
        found[values] = np.prod(
            [
                np.exp(-((share[one] - (1 - share[other] if inverse else share[other])) ** 2) / (2 * sigma**2))
                for one, other, inverse in ties
            ]
        )
    return found / found.sum()


def of_conditionals(source):
    """The same as the source draws it: a product over factors of their distributions given another one."""
    found, tied = np.ones(SIZES), set()
    for child, parent, table in source._conditionals():
        p = np.exp(np.float64(table))
        p /= p.sum(axis=-1, keepdims=True)
        axes = [NAMES.index(name) for name in (parent, child) if name is not None]
        if len(axes) == 2 and axes[0] > axes[1]:
            p, axes = p.T, axes[::-1]
        shape = [SIZES[k] if k in axes else 1 for k in range(len(SIZES))]
        found *= p.reshape(shape)
        tied.add(child)
    for k, name in enumerate(NAMES):
        if name not in tied:
            found /= SIZES[k]
    return found


@pytest.mark.parametrize("sigma", [0.04, 0.3, 10.0])
@pytest.mark.parametrize("asked", ["a~b", "b~!a", "a~b,c~d", "a~b,b~!c", "b~*", "d~a,d~b", "b~a,b~c,a~d"])
def test_the_joint_distribution_is_the_definition(asked, sigma):
    source = correlated_pairs(grid(), f"{asked}:{sigma}")
    np.testing.assert_allclose(of_conditionals(source), joint(source.ties, sigma), rtol=1e-4, atol=1e-7)


def test_draws_have_the_joint_distribution():
    source = correlated_pairs(grid(), "a~b,b~!c:0.3")
    draws = 20_000
    factors = np.asarray(jax.jit(lambda key: source.sample_factors(key, draws))(jax.random.key(0)))
    counts = np.zeros(SIZES)
    np.add.at(counts, tuple(factors.T), 1)
    expected = draws * joint(source.ties, 0.3)
    assert ((counts - expected) ** 2 / expected).sum() < 120 + 5 * np.sqrt(2 * 120)  # chi squared with 119 degrees
    batch = source.sample(jax.random.key(1), 8)
    np.testing.assert_array_equal(batch["factors"], source.sample_factors(jax.random.key(1), 8))
    assert batch["x"].shape == (8, 16, 16, 1)


def test_examples_by_index_are_the_full_grid():
    source = correlated_pairs(grid(), "a~b:0.1")
    np.testing.assert_array_equal(source.at(jnp.arange(120))["factors"], grid().factors)


def test_named_sets_are_of_the_factors_that_we_have():
    pairs = correlated_pairs(Rooms(16), "shapes3d-double-1:0.1")
    assert pairs.ties == (Tie("scale", "floor_hue"), Tie("shape", "wall_hue"))
    factors = np.asarray(jax.jit(lambda key: pairs.sample_factors(key, 2000))(jax.random.key(0)))
    correlation = np.corrcoef(factors.T)
    names = list(pairs.factor_names)
    assert correlation[names.index("scale"), names.index("floor_hue")] > 0.8
    assert abs(correlation[names.index("scale"), names.index("wall_hue")]) < 0.1


class Named(NamedTuple):
    """Data of which only the factors are known."""

    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    name: str = "named"
    is_grid: bool = True


FACTORS = {
    "shapes3d": Rooms.factor_names,
    "dsprites": Sprites.factor_names,
    "mpi3d": (
        "object_color", "object_shape", "object_size", "camera_height", "background", "horizontal", "vertical",
    ),
    "cars3d": ("elevation", "azimuth", "object"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_every_named_set_is_of_factors_of_its_data(name):
    data, kind, _ = name.split("-")
    source = cast("Any", Named(FACTORS[data], (2,) * len(FACTORS[data])))
    words = NAMED[name].split(",")
    ties = [tie for word in words for tie in correlations._ties(word, source.factor_names)]
    assert CorrelatedPairs(source, tuple(ties), 0.1).ties == tuple(ties)
    numbers = {"single": 1, "double": 2, "triple": 3, "conf": len(FACTORS[data]) - 1}
    assert len(ties) == numbers[kind]


@pytest.mark.parametrize(
    ("source", "asked", "message"),
    [
        (Scene(), "sun~sky", "takes PAIRS:SIGMA, such as"),
        (Scene(), "sun~sky:x", "takes PAIRS:SIGMA, such as .*; got 'sun~sky:x'"),
        (Scene(), "sun~sky:0", "sigma of a correlation must be a positive number, got 0"),
        (Scene(), "sun~moon:0.1", "has no factor 'moon'; there are"),
        (Scene(), "sun~sun:0.1", "form a circle at sun and sun"),
        (Scene(), "sun~sky,sky~sun:0.1", "form a circle at sky and sun"),
        (Scene(), "shapes3d-double:0.1", "unknown correlation 'shapes3d-double': did you mean 'shapes3d-double-"),
        (Scene(), "nothing:0.1", "unknown correlation 'nothing'; there are shapes3d-single-1"),
        (from_arrays(np.zeros((3, 16, 16, 1), np.uint8)), "a~b:0.1", "and .* cannot: choose other data"),
        (
            from_arrays(np.zeros((3, 16, 16, 1), np.uint8), np.array([[0, 0], [1, 1], [0, 1]])),
            "factor0~factor1:0.1",
            "and .* cannot: choose other data",
        ),
    ],
)
def test_what_can_not_be_correlated(source, asked, message):
    with pytest.raises(ValueError, match=message):
        correlated_pairs(source, asked)


def test_pairs_of_another_source_keep_their_shape():
    source = CorrelatedPairs(Scene(), (Tie("sun", "sky"),), 0.2)
    assert source.event_shape == Scene().event_shape
    assert source.size == Scene().size
