"""Images with a known relation in one factor."""

import jax
import numpy as np
import pytest

from jaxvae.data import Constraints, InConstraints, Scene, Shard, from_arrays, recombinations, split

SIZES = (5, 3, 4)
GRID = np.stack(np.unravel_index(np.arange(60), SIZES), axis=1)
SOURCE = from_arrays(np.broadcast_to((4 * np.arange(60, dtype=np.uint8))[:, None, None, None], (60, 16, 16, 1)), GRID)
"""The grey level of an image is its number in the grid."""


def factors_of(images):
    number = np.rint(np.asarray(images)[:, 0, 0, 0] * 255 / 4).astype(int)
    return GRID[number]


def drawn(constraint, n=400, source=SOURCE):
    constraints = Constraints(source, "factor0", constraint)
    return {name: np.asarray(value) for name, value in constraints.sample(jax.random.key(0), n).items()}


def test_groups_share_the_value_and_nothing_else():
    batch = drawn("groups")
    one, other = factors_of(batch["x"]), factors_of(batch["x2"])
    np.testing.assert_array_equal(one, batch["factors"])
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    np.testing.assert_allclose((one == other).mean(axis=0)[1:], [1 / 3, 1 / 4], atol=0.1)
    np.testing.assert_allclose(batch["values"][:, 0], one[:, 0] / 4, rtol=1e-6)


def test_ranks_are_signs():
    batch = drawn("ranks")
    difference = factors_of(batch["x"])[:, 0] - factors_of(batch["x2"])[:, 0]
    np.testing.assert_array_equal(batch["order"][:, 0], np.sign(difference))
    assert set(np.unique(batch["order"])) == {-1, 0, 1}


def test_distances_are_in_order():
    batch = drawn("distances")
    value, near, far = (factors_of(batch[name])[:, 0] for name in ("x", "x2", "x3"))
    assert (abs(value - near) <= abs(value - far)).all()
    np.testing.assert_array_equal(batch["known"], abs(value - near) != abs(value - far))
    assert 0.5 < batch["known"].mean() < 0.9


def test_analogies_change_the_same_value():
    batch = drawn("analogies")
    a, b, c, d = (factors_of(batch[name]) for name in ("x", "x2", "x3", "x4"))
    np.testing.assert_array_equal(a[:, 0], c[:, 0])
    np.testing.assert_array_equal(b[:, 0], d[:, 0])
    assert (a[:, 0] != b[:, 0]).all()
    np.testing.assert_array_equal(a[:, 1:], b[:, 1:])
    np.testing.assert_array_equal(c[:, 1:], d[:, 1:])
    np.testing.assert_allclose((a == c).mean(axis=0)[1:], [1 / 3, 1 / 4], atol=0.1)


@pytest.mark.parametrize("constraint", ["groups", "distances", "ranks", "analogies"])
def test_parts_of_a_batch_are_the_batch(constraint):
    source = Constraints(SOURCE, "factor1", constraint)
    draw = jax.jit(lambda number: source.batch(jax.random.key(1), 3, 8, Shard(number, 2)))
    whole = source.batch(jax.random.key(1), 3, 8)
    parts = [draw(np.int32(k)) for k in range(2)]
    for name in whole:
        np.testing.assert_array_equal(whole[name], np.concatenate([part[name] for part in parts]))


@pytest.mark.parametrize("constraint", ["groups", "ranks", "distances", "analogies"])
def test_parts_of_a_grid_are_not_left(constraint):
    part = split(SOURCE, 0.5, 0.0, seed=0).training
    seen = set(np.asarray(part.index).tolist())
    batch = drawn(constraint, 100, part)
    for name in {"x", "x2", "x3", "x4"} & set(batch):
        number = np.rint(batch[name][:, 0, 0, 0] * 255 / 4).astype(int)
        assert set(number.tolist()) <= seen


def test_analogies_inside_a_part_of_a_grid_are_analogies():
    batch = drawn("analogies", source=split(SOURCE, 0.3).training)
    a, b, c, d = (factors_of(batch[name]) for name in ("x", "x2", "x3", "x4"))
    np.testing.assert_array_equal(a[:, 0], c[:, 0])
    np.testing.assert_array_equal(b[:, 0], d[:, 0])
    np.testing.assert_array_equal(a[:, 1:], b[:, 1:])
    np.testing.assert_array_equal(c[:, 1:], d[:, 1:])
    assert (a[:, 0] != b[:, 0]).all()  # 70 % of the grid hold another value for each combination of the others
    assert (a != c).any(axis=1).mean() > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Constraints(Scene(), "moon", "groups"), "no factor 'moon'; there are sky"),
        (lambda: Constraints(Scene(), "sun", "twins"), "unknown constraint 'twins'; there are groups"),
    ],
)
def test_what_can_not_be_constrained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("constraint", ["groups", "ranks"])
def test_training_examples_with_one_value_of_the_factor_are_refused(constraint):
    """Each pair would be equal."""
    batches = InConstraints(constraint=constraint, constrained_factor="sun")
    parts = recombinations(Scene(), "sun=0:7")
    told = "all examples to train on have the value 7 of 'sun', and some-method learns from its differences: choose"
    with pytest.raises(ValueError, match=told):
        batches.wrap(parts.training, "some-method")
    batches.wrap_held_out(recombinations(Scene(), "sun=3").test, "some-method")
    batches.wrap(recombinations(Scene(), "sun=0:6").training, "some-method")
    InConstraints(constraint=constraint, constrained_factor="sky").wrap(parts.training, "some-method")
