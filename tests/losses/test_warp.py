import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    affine_warp,
    compose_affine,
    float32,
    grad,
    invert_affine,
    normal,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st

from jaxvae import losses

MAPS = normal(jax.random.key(0), (3, 6, 9, 2))
SOME = np.array(
    [[[0.9, 0.2, 0.1], [-0.3, 1.1, -0.2]], [[1, 0, 0.3], [0, 1, 0.7]], [[0.5, 0, 0], [0, 2, 0]]], np.float32
)
STILL = np.array([[[1, 0, 0], [0, 1, 0]]] * 3, np.float32)
small = st.floats(-0.3, 0.3)


def oracle(maps, motions):
    """Every target pixel by itself: four neighbours of where its values come from, in float64."""
    maps, motions = np.asarray(maps, np.float64), np.asarray(motions, np.float64)
    out = np.zeros_like(maps)
    _, height, width, _ = maps.shape
    for b, i, j in np.ndindex(*maps.shape[:3]):
        x, y = motions[b] @ [2 * j / (width - 1) - 1, 2 * i / (height - 1) - 1, 1]
        column, row = (x + 1) * (width - 1) / 2, (y + 1) * (height - 1) / 2
        for k, m in np.ndindex(height, width):
            out[b, i, j] += max(0, 1 - abs(row - k)) * max(0, 1 - abs(column - m)) * maps[b, k, m]
    return out


def smooth(side=32, count=1):
    """Maps that bilinear steps between pixels describe well, 0 at the border."""
    grid = np.linspace(-1, 1, side)
    x, y = np.meshgrid(grid, grid)
    bump = np.exp(-8 * ((x - 0.1) ** 2 + (y + 0.15) ** 2)) * (1 + 0.3 * np.sin(3 * x + y))
    return np.asarray(np.broadcast_to(bump[None, ..., None], (count, side, side, 1)), np.float32)


def turn(angle, x=0.0, y=0.0, scale=1.0):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[[c, -s, x], [s, c, y]]], np.float32)


@given(st.lists(small, min_size=6, max_size=6))
def test_any_motion_near_none_against_the_oracle(change):
    motion = STILL[:1] + np.asarray(change, np.float32).reshape(1, 2, 3)
    np.testing.assert_allclose(affine_warp(MAPS[:1], motion), oracle(MAPS[:1], motion), atol=2e-5)


def test_large_motions_against_the_oracle():
    np.testing.assert_allclose(affine_warp(MAPS, SOME), oracle(MAPS, SOME), atol=2e-5)


def test_no_motion_changes_nothing():
    np.testing.assert_array_equal(affine_warp(MAPS, STILL), MAPS)


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, -1), (-3, 2), (20, 0)])
def test_whole_pixels_are_a_shift_with_zeros_from_outside(right, down):
    motion = STILL.copy()
    motion[:, :, 2] = -right * 2 / 8, -down * 2 / 5
    wanted = np.zeros(MAPS.shape)
    for i, j in np.ndindex(6, 9):
        if 0 <= i - down < 6 and 0 <= j - right < 9:
            wanted[:, i, j] = MAPS[:, i - down, j - right]
    np.testing.assert_allclose(affine_warp(MAPS, motion), wanted, atol=1e-5)


def test_two_motions_are_one_and_an_inverse_undoes():
    first, second = turn(0.3, 0.1, -0.05), turn(-0.5, -0.1, 0.2, 1.2)
    twice = affine_warp(affine_warp(smooth(64), first), second)
    once = affine_warp(smooth(64), compose_affine(first, second))
    np.testing.assert_allclose(twice, once, atol=0.01)
    other = affine_warp(smooth(64), compose_affine(second, first))
    assert np.abs(twice - other).max() > 0.05
    back = affine_warp(affine_warp(smooth(64), first), invert_affine(first))
    np.testing.assert_allclose(back, smooth(64), atol=0.01)
    np.testing.assert_allclose(compose_affine(first, invert_affine(first)), STILL[:1], atol=1e-6)
    np.testing.assert_allclose(compose_affine(invert_affine(second), second), STILL[:1], atol=1e-6)


def test_the_slope_in_a_motion_is_that_of_finite_differences():
    weight = normal(jax.random.key(1), (1, 32, 32, 1))
    value_and_slope = value_and_grad(lambda motion: (weight * affine_warp(smooth(), motion)).sum())
    motion, step = turn(0.2, 0.083, -0.057), np.float32(1e-3)
    _, slope = value_and_slope(motion)
    for place in np.ndindex(2, 3):
        change = np.zeros_like(motion)
        change[(0, *place)] = step
        moved = [value_and_slope(motion + sign * change)[0] for sign in (1, -1)]
        np.testing.assert_allclose(slope[(0, *place)], (moved[0] - moved[1]) / (2 * step), rtol=0.1, atol=0.15)


def test_the_slope_where_nothing_moves_is_that_to_the_right_and_down():
    weight = normal(jax.random.key(1), MAPS.shape)
    slope = grad(lambda motion: (weight * affine_warp(MAPS, motion)).sum())(STILL)[:, :, 2]
    maps, sides = np.pad(np.asarray(MAPS, np.float64), ((0, 0), (0, 1), (0, 1), (0, 0))), (6, 9)
    right = (maps[:, :-1, 1:] - maps[:, :-1, :-1]) * (sides[1] - 1) / 2
    down = (maps[:, 1:, :-1] - maps[:, :-1, :-1]) * (sides[0] - 1) / 2
    for column, wanted in enumerate((right, down)):
        np.testing.assert_allclose(slope[:, column], (wanted * np.asarray(weight)).sum((1, 2, 3)), rtol=1e-3, atol=1e-3)


def test_the_slope_in_a_map_is_the_warp_transposed():
    other = normal(jax.random.key(1), MAPS.shape)
    slope = grad(lambda maps: (other * affine_warp(maps, SOME)).sum())(MAPS)
    np.testing.assert_allclose((slope * MAPS).sum(), (other * affine_warp(MAPS, SOME)).sum(), rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1e4, 1e30])
def test_wild_motions_are_finite(size):
    motion = np.full((3, 2, 3), size, np.float32) * np.array([[1], [-1]], np.float32)
    value, slopes = value_and_grad(lambda *a: (affine_warp(*a) ** 2).sum(), (0, 1))(MAPS, motion)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_compiled_and_mapped_warps_are_the_same():
    plain = losses.affine_warp(*float32(MAPS, SOME))
    np.testing.assert_allclose(affine_warp(MAPS, SOME), plain, atol=1e-6)
    mapped = vmap(affine_warp)(MAPS[None], SOME[None])
    np.testing.assert_allclose(mapped[0], plain, atol=1e-6)


def test_half_precision_is_worked_on_in_full():
    half = affine_warp(MAPS.astype(jnp.bfloat16), SOME.astype(jnp.bfloat16))
    assert half.dtype == np.float32
    full = affine_warp(MAPS.astype(jnp.bfloat16).astype(np.float32), SOME.astype(jnp.bfloat16).astype(np.float32))
    np.testing.assert_array_equal(half, full)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("maps", "motion", "message"),
    [
        (MAPS[0], SOME[:1], r"maps must be \[B, h, w, C\]"),
        (MAPS, SOME[:2], r"motions \[B, 2, 3\]"),
        (MAPS[:, :1], SOME, "sides of at least 2"),
        (MAPS.astype(np.int32), SOME, "feature_map must be floating"),
    ],
)
def test_bad_input_is_refused(maps, motion, message):
    with pytest.raises(ValueError, match=message):
        losses.affine_warp(maps, motion)
