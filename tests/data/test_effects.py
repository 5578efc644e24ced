"""Squares are where their masks say, and batches hold cases beside controls."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import Scene, Shard, case_control, from_arrays, open_data, squares

KEY = jax.random.key(0)
TABLE = squares(images=400)


@partial(jax.jit, static_argnums=(2, 3))
def drawn(source, step, n, of=1, number=0):
    return source.batch(KEY, jnp.int32(step), n, Shard(number, of))


def batch_of(*arguments):
    return jax.tree.map(np.asarray, drawn(*arguments))


def columns(table):
    masks = [np.asarray(table.extras[name]) for name in ("mask", "second_mask")]
    return np.asarray(table.pixels), np.asarray(table.factors), *masks


def test_squares_are_as_in_the_paper_at_its_size():
    images, factors, mask, second = columns(squares(image_size=112, images=200))
    assert images.shape == (200, 112, 112, 1)
    effect, kind = factors.T
    np.testing.assert_array_equal(np.bincount(effect), [100, 100])
    np.testing.assert_array_equal(np.bincount(kind), [100, 50, 50])
    np.testing.assert_array_equal(mask.sum((1, 2, 3)), 800 * effect)
    np.testing.assert_array_equal(second.sum((1, 2, 3)), 400 * effect)
    middle = mask & ~second
    np.testing.assert_array_equal(middle[effect == 1], np.broadcast_to(middle[1], (100, 112, 112, 1)))
    assert middle[1, 46:66, 46:66].all()
    corners = np.array([np.argwhere(each[..., 0]).min(axis=0) for each in second[effect == 1]]) - 46
    wanted = np.where(kind[effect == 1] == 1, 32, -32)[:, None]
    assert set(np.unique(corners - wanted)) == set(range(-5, 5))


def test_squares_of_other_sizes_keep_their_proportions():
    images, _, mask, second = columns(TABLE)
    assert images.shape == (400, 32, 32, 1)
    assert set(mask.sum((1, 2, 3))) == {0, 72}
    corners = np.array([np.argwhere(each[..., 0]).min(axis=0) for each in second[1::2]]) - 13
    assert set(np.abs(corners).ravel()) == {8, 9, 10}


def test_the_effect_is_two_standard_deviations_of_smooth_noise():
    """Undone: in an image from 0 to 1, 50 stands for the deviation of the pixels outside the squares."""
    images, factors, mask, _ = columns(TABLE)
    np.testing.assert_array_equal(images.min((1, 2, 3)), 0)
    np.testing.assert_array_equal(images.max((1, 2, 3)), 1)
    case = factors[:, 0] == 1
    outside = np.array([image[~part].mean() for image, part in zip(images, mask, strict=True)])
    inside = np.array([image[part].mean() for image, part in zip(images[case], mask[case], strict=True)])
    spread = np.array([image[~part].std() for image, part in zip(images, mask, strict=True)])
    assert abs(((inside - outside[case]) / spread[case]).mean() - 2) < 0.1
    clean = images[~case, ..., 0] - images[~case, ..., 0].mean((1, 2), keepdims=True)
    neighbours = (clean[:, 1:] * clean[:, :-1]).mean() / (clean**2).mean()
    assert 0.7 < neighbours < 0.85  # exp(-1/4) for a blur of one pixel
    assert outside[case].mean() < outside[~case].mean()


def test_squares_are_made_from_a_seed():
    np.testing.assert_array_equal(squares(images=20).pixels, squares(images=20).pixels)
    assert (squares(images=20, seed=1).pixels != squares(images=20).pixels).any()
    assert open_data("squares", image_size=48).event_shape == (48, 48, 1)
    with pytest.raises(ValueError, match="at least 16 pixels a side and 2 images, got 8 and 4000"):
        squares(image_size=8)


def test_batches_hold_as_many_cases_as_controls():
    source = case_control(TABLE, "effect")
    batch = batch_of(source, 3, 64)
    assert (batch["factors"][:, 0] == 1).all()
    images, *_ = columns(TABLE)
    assert batch["control"].shape == batch["x"].shape == (64, 32, 32, 1)
    controls = images[::2].reshape(200, -1)
    for image in batch["control"].reshape(64, -1):
        assert (controls == image[None]).all(axis=1).any()
    assert (batch["mask"].sum((1, 2, 3)) == 72).all()
    again, later = (batch_of(source, step, 64) for step in (3, 4))
    np.testing.assert_array_equal(again["control"], batch["control"])
    assert (later["control"] != batch["control"]).any()
    both = np.asarray(jax.jit(source.sample, static_argnums=1)(KEY, 400)["factors"])
    assert 150 < both[:, 0].sum() < 250
    assert source.size == 400


def test_a_part_of_a_batch_is_the_rows_of_the_whole():
    source = case_control(TABLE, "effect")
    whole = batch_of(source, 0, 8)
    parts = [batch_of(source, 0, 8, 4, number) for number in range(4)]
    for name, rows in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), rows)


def test_any_two_values_of_any_source_can_be_cases_and_controls():
    batch = batch_of(case_control(Scene(16), "sun", cases=5, controls=2), 0, 16)
    assert (batch["factors"][:, 2] == 5).all()
    control = batch_of(case_control(Scene(16), "sun", cases=2, controls=5), 0, 16)["control"]
    assert control.shape == (16, 16, 16, Scene(16).event_shape[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hue",), "differ in a factor of scene: sky, ground, sun, tower; got 'hue'"),
        (("sky", 8), r"no example of scene has sky 8; there are \[0, 1, 2, 3, 4, 5, 6, 7\]"),
        (("sky", 3, 3), "cases and controls must differ, both are those with sky 3"),
    ],
)
def test_what_can_not_be_told_apart(arguments, message):
    factor, *values = arguments
    with pytest.raises(ValueError, match=message):
        case_control(Scene(16), factor, **dict(zip(("cases", "controls"), values, strict=False)))
    with pytest.raises(ValueError, match="a factor of arrays: none"):
        case_control(from_arrays(np.zeros((4, 8, 8))), "effect")
