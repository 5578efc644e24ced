"""Held-out combinations, tied factors, pairs, and the study's variants: each is what it says."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae.data import (
    Correlated,
    Epochs,
    Groups,
    Pairs,
    Rooms,
    Scene,
    Sprites,
    few_labels,
    from_arrays,
    grid_index,
    hold_out,
    moving_sprites,
    open_data,
    variant,
)
from jaxvae.data.videos import reflected

KEY = jax.random.key(0)


@partial(jax.jit, static_argnums=1)
def drawn(source, n):
    return source.sample(KEY, n)


@partial(jax.jit, static_argnums=2)
def batch_of(source, step, n):
    return source.batch(KEY, step, n)


@jax.jit
def numbered(source, index):
    return source.at(index)


@jax.jit
def observed(source, factors):
    return source.render(factors)


def sampled(source, n):
    return jax.tree.map(np.asarray, drawn(source, n))


def test_a_held_out_combination_is_never_trained_on():
    source = Sprites(16)
    train, held = hold_out(source, {"shape": [2], "x": range(16, 32)})
    assert train.size + held.size == source.size
    assert held.size == source.size // 6
    for part, inside in ((train, False), (held, True)):
        factors = sampled(part, 2000)["factors"]
        np.testing.assert_array_equal((factors[:, 0] == 2) & (factors[:, 3] >= 16), inside)
    seen = sampled(train, 2000)["factors"]
    assert ((seen[:, 0] == 2) & (seen[:, 3] < 16)).any()
    assert ((seen[:, 0] != 2) & (seen[:, 3] >= 16)).any()
    small = from_arrays(np.random.default_rng(0).random((6, 2, 2)), np.arange(6)[:, None])
    once = sampled(Epochs(hold_out(small, {"factor0": [1, 4]})[0]), 4)["factors"][:, 0]
    np.testing.assert_array_equal(np.sort(once), [0, 2, 3, 5])


@pytest.mark.parametrize(
    ("combination", "message"),
    [
        ({}, "at least one factor"),
        ({"hue": [1]}, "no factor 'hue'; there are sky, ground, sun, tower"),
        ({"sky": [8]}, "takes 0 to 7, not 8"),
        ({"sky": range(8)}, "nothing of scene would be left"),
        ({"sky": []}, "everything of scene would be left"),
    ],
)
def test_combinations_that_can_not_be_held_out(combination, message):
    with pytest.raises(ValueError, match=message):
        hold_out(Scene(), combination)


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_correlated_factors(strength):
    n = 20_000
    source = Correlated(Sprites(16), "y", "x", strength)
    factors = np.asarray(jax.jit(source.sample_factors, static_argnums=1)(KEY, n), float)
    correlation = np.corrcoef(factors.T)
    assert abs(correlation[3, 4] - strength) < 0.02
    others = correlation - np.eye(5)
    others[[3, 4], [4, 3]] = 0
    assert np.abs(others).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(np.bincount(factors[:, 4].astype(int), minlength=32) / n, 1 / 32, atol=0.01)


def test_what_can_not_be_tied():
    with pytest.raises(ValueError, match="strength is a probability, got 1.5"):
        Correlated(Scene(), "sky", "sun", 1.5)
    with pytest.raises(ValueError, match="two different factors of sky, ground, sun, tower"):
        Correlated(Scene(), "sky", "sky", 0.5)


@pytest.mark.parametrize("shared", [0, 2, 4])
def test_pairs_share_what_they_say(shared):
    batch = sampled(Pairs(Sprites(16), shared), 3000)
    np.testing.assert_array_equal(batch["shared"].sum(axis=1), shared)
    same = batch["factors"] == batch["factors2"]
    assert same[batch["shared"]].all()
    np.testing.assert_allclose(batch["shared"].mean(axis=0), shared / 5, atol=0.05)
    free = np.where(batch["shared"], np.nan, same)
    if shared < 5:
        np.testing.assert_allclose(np.nanmean(free, axis=0), 1 / np.array([3, 6, 40, 32, 32]), atol=0.05)
    np.testing.assert_array_equal(observed(Sprites(16), batch["factors2"]), batch["x2"])
    with pytest.raises(ValueError, match="can share 0 to 4 of the 5 factors, got 5"):
        Pairs(Sprites(16), 5)


@pytest.mark.parametrize("members", [2, 5])
def test_groups_share_what_they_say(members):
    batch = sampled(Groups(Sprites(16), ("shape", "x"), members), 1500 * members)
    np.testing.assert_array_equal(batch["group"], np.repeat(np.arange(1500), members))
    factors = batch["factors"].reshape(1500, members, 5)
    same = (factors[:, :1] == factors[:, 1:]).mean(axis=(0, 1))
    np.testing.assert_array_equal(same[[0, 3]], 1)
    np.testing.assert_allclose(same[[1, 2, 4]], 1 / np.array([6, 40, 32]), atol=0.05)
    first = factors[:, 0]
    for k, size in enumerate(Sprites.factor_sizes):
        np.testing.assert_allclose(np.bincount(first[:, k], minlength=size) / 1500, 1 / size, atol=0.05)
    np.testing.assert_array_equal(observed(Sprites(16), batch["factors"][:9]), batch["x"][:9])


def test_what_is_no_group():
    with pytest.raises(ValueError, match="scene has no factor 'hue'; there are sky"):
        Groups(Scene(), ("hue",), 2)
    for shared, members in (((), 2), (("sky",), 1)):
        with pytest.raises(ValueError, match="at least one factor and has at least 2 members"):
            Groups(Scene(), shared, members)


def labels_and_targets(quality, seed):
    """Of 200 labelled examples, in two batches."""

    def columns():
        source = few_labels(Sprites(16), 200, quality=quality, seed=seed)
        batches = jax.lax.map(lambda step: source.batch(jax.random.key(0), step, 100), jnp.arange(2, dtype=jnp.int32))
        return [batches[name].reshape(200, 5) for name in ("label", "target")]

    return tuple(map(np.asarray, jax.jit(columns)()))


truth_of = cache(lambda seed: labels_and_targets("perfect", seed)[0])


def labels_of(quality, seed=0):
    """True factors, labels and targets of the labelled examples."""
    return truth_of(seed), *labels_and_targets(quality, seed)


def test_binned_labels_have_five_values():
    truth, label, target = labels_of("binned")
    sizes = np.array(Sprites(16).factor_sizes)
    np.testing.assert_array_equal(label, np.where(sizes > 5, truth * 5 // sizes, truth))
    np.testing.assert_allclose(target.max(0), 1)
    assert target.min() == 0


def test_noisy_labels_stay_as_they_are():
    truth, label, _ = labels_of("noisy")
    # A label that is drawn anew may be the old one.
    assert 0.03 < (truth != label).mean() < 0.12
    assert (label >= 0).all()
    assert (label < np.array(Sprites(16).factor_sizes)).all()
    np.testing.assert_array_equal(labels_and_targets("noisy", 0)[0], label)


def test_permuted_labels_tell_as_much():
    truth, label, _ = labels_of("permuted")
    for true, given in zip(truth.T, label.T, strict=True):
        assert len(set(zip(true, given, strict=True))) == len(set(true)) == len(set(given))
    assert (truth != label).mean() > 0.5


def test_partial_labels_are_of_two_factors():
    truth, label, target = labels_of("partial")
    np.testing.assert_array_equal(label, truth)
    known = ~np.isnan(target)
    assert known.all(0).sum() == 2
    assert known.any(0).sum() == 2
    _, other = labels_and_targets("partial", 1)
    assert not np.array_equal(known.all(0), ~np.isnan(other).all(0))
    with pytest.raises(ValueError, match="one of perfect, binned, noisy, permuted, partial, got 'bad'"):
        few_labels(Sprites(16), 5, quality="bad")


def test_few_labels_come_round_and_are_right():
    source, other = jax.jit(lambda: [few_labels(Sprites(16), 6, seed=seed) for seed in (0, 1)])()
    batches = [jax.tree.map(np.asarray, batch_of(source, step, 4)) for step in range(6)]
    numbers = np.concatenate([grid_index(batch["label"], Sprites.factor_sizes) for batch in batches])
    assert all(len(set(epoch)) == 6 for epoch in numbers.reshape(4, 6))
    assert len(set(numbers)) == 6
    np.testing.assert_array_equal(observed(Sprites(16), batches[0]["label"]), batches[0]["labelled_x"])
    np.testing.assert_array_equal(batches[0]["x"], batch_of(Sprites(16), 0, 4)["x"])
    assert set(np.asarray(other.few.source.index).tolist()) != set(numbers)
    with pytest.raises(ValueError, match="737280 examples to label, got count=0"):
        few_labels(Sprites(16), 0)
    with pytest.raises(ValueError, match="nothing to label with"):
        few_labels(from_arrays(np.zeros((3, 4, 4))), 1)


def test_clips_move_the_sprite_and_nothing_else():
    clips = sampled(moving_sprites(32, frames=6, speed=3), 20)
    mask, video = clips["mask"], clips["video"]
    assert video.shape == (20, 6, 32, 32, 3)
    np.testing.assert_array_equal(clips["x"], video[:, 0])
    np.testing.assert_array_equal(mask[:, 0], observed(Sprites(32), clips["factors"]))
    behind = np.broadcast_to(clips["background"][:, None], video.shape)
    still = np.broadcast_to(mask == 0, video.shape)
    np.testing.assert_array_equal(video[still], behind[still])
    for clip, where in zip(video, mask[..., 0] == 1, strict=True):
        assert np.ptp(clip[where], axis=0).max() < 1e-6  # one colour
    areas = mask.sum(axis=(2, 3, 4))
    assert (np.ptp(areas, axis=1) <= 0.2 * areas.max(axis=1) + 6).all()
    assert (np.abs(mask[:, 0] - mask[:, -1]).sum(axis=(1, 2, 3)) > 0).mean() > 0.7
    stay = sampled(moving_sprites(32, frames=3, speed=0), 5)["video"]
    np.testing.assert_array_equal(stay[:, 0], stay[:, 2])


def test_places_are_folded_at_the_borders():
    places = np.array([-2, -1, 0, 3, 4, 5, 6, 7, 8], np.int32)
    folded = jax.jit(reflected, static_argnums=1)(places, 4)
    np.testing.assert_array_equal(folded, [2, 1, 0, 3, 2, 1, 0, 1, 2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 1}, "at least 2 frames"),
        ({"speed": 32}, "a speed of 0 to 31"),
        ({"resolution": 30}, "multiple of 16"),
        ({"resolution": 288}, "texture must be larger"),
    ],
)
def test_clips_that_can_not_be(settings, message):
    with pytest.raises(ValueError, match=message):
        moving_sprites(**settings)


def test_colour():
    plain = sampled(Sprites(32), 20)["x"]
    image = sampled(variant(Sprites(32), "color"), 20)["x"]
    np.testing.assert_array_equal(image[np.broadcast_to(plain == 0, image.shape)], 0)
    colours = image.max(axis=(1, 2))
    assert ((colours >= 0.5) & (colours <= 1)).all()
    np.testing.assert_allclose(image, plain * colours[:, None, None, :], atol=1e-6)
    assert colours.std() > 0.1


def test_noise():
    plain = np.broadcast_to(sampled(Sprites(32), 20)["x"] == 1, (20, 32, 32, 3))
    image = sampled(variant(Sprites(32), "noisy"), 20)["x"]
    np.testing.assert_array_equal(image[plain], 1)
    assert abs(image[~plain].mean() - 0.5) < 0.01
    assert abs(image[~plain].std() - 1 / np.sqrt(12)) < 0.01


def test_a_texture_behind_and_inverted(tmp_path):
    path = tmp_path / "texture.png"
    Image.fromarray(np.full((100, 80, 3), 51, np.uint8)).save(path)
    plain = sampled(Sprites(32), 20)["x"]
    image = sampled(variant(Sprites(32), "scream", path), 20)["x"]
    behind = np.where(plain == 1, 1 - image, image)
    assert (behind.max(axis=(1, 2)) - behind.min(axis=(1, 2)) < 1e-5).all()  # one colour, as the texture has
    colours = 2 * behind[:, 0, 0] - 0.2
    assert ((colours > -1e-5) & (colours < 1 + 1e-5)).all()
    assert colours.std() > 0.2
    with pytest.raises(ValueError, match="texture is 80 x 100 pixels; it must be larger than the images, which are 96"):
        variant(Sprites(96), "scream", path)
    with pytest.raises(ValueError, match="nowhere.png can't be read"):
        variant(Sprites(32), "scream", tmp_path / "nowhere.png")


def test_looks_are_drawn_anew_with_samples_and_stay_with_examples():
    source = open_data("noisy-sprites", image_size=16)
    assert (source.name, source.event_shape) == ("noisy-sprites", (16, 16, 3))
    one, other = sampled(source, 2)["x"]
    assert (one != other).any()
    both, alone = (np.asarray(numbered(source, np.array(index))["x"]) for index in ([7, 3], [3]))
    np.testing.assert_array_equal(both[1], alone[0])
    with pytest.raises(ValueError, match="scene has examples of 32x32x3"):
        open_data("color-scene")


def test_rooms_are_mirrored_where_one_looks_from_the_other_side():
    factors = np.array([[0, 3, 6, 7, shape, side] for shape in range(4) for side in (2, 12)], np.int32)
    images = np.asarray(observed(Rooms(32), factors))
    for left, right in images.reshape(4, 2, 32, 32, 3):
        assert (np.abs(left - right[:, ::-1]) > 0.02).mean() < 0.02
        assert np.abs(left - right).max() > 0.2


def test_a_hue_of_a_room_colours_its_own_part():
    base = np.array([0, 3, 6, 7, 0, 7], np.int32)
    parts = []
    for k in range(3):
        other = base.copy()
        other[k] = (base[k] + 5) % 10
        pair = np.asarray(observed(Rooms(32), np.stack([base, other])))
        parts.append((np.abs(pair[0] - pair[1]) > 0.05).any(axis=-1))
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    assert all(part.mean() > 0.04 for part in parts)


def test_the_object_of_a_room_grows_with_its_scale():
    sizes = []
    for scale in range(8):
        factors = np.array([[0, 3, 6, scale, 2, 7], [0, 3, 1, scale, 2, 7]], np.int32)
        one, other = np.asarray(observed(Rooms(64), factors))
        sizes.append(int((np.abs(one - other).max(axis=-1) > 0.05).sum()))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.8 * sizes[0]
