"""Classes of examples, wrong labels among them, and copies of images as classes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.cli.flags import field_help
from jaxvae.data import (
    Epochs,
    InClasses,
    Shard,
    Source,
    Sprites,
    all_factors,
    augmented,
    classified,
    digits,
    from_arrays,
    hold_out,
)
from jaxvae.data.classes import SHIFT

KEY = jax.random.key(3)
IMAGES = np.random.default_rng(0).random((24, 16, 8, 3))
NUMBERED = from_arrays(IMAGES, np.arange(24)[:, None])
SOURCES = {
    "sprites": lambda: classified(Sprites(16), "shape"),
    "digits": lambda: classified(digits(), "digit"),
    "corrupted digits": lambda: classified(digits(), "digit", corruption=0.5),
    "epochs of corrupted digits": lambda: Epochs(classified(digits(), "digit", corruption=0.5)),
    "copies of sprites": lambda: augmented(Sprites(16), 3),
    "copies of digits": lambda: augmented(digits(), 4),
    "copies in epochs": lambda: augmented(Epochs(NUMBERED), 6),
}
VECTORS = from_arrays(np.zeros((9, 4)), real=True)
ALIKE = ("corrupted digits", "copies of digits")
"""What runs the code of others, in epochs or of sprites."""


@partial(jax.jit, static_argnums=1)
def drawn(source, n, first=0, key=KEY):
    return source.sample(key, n, first)


@partial(jax.jit, static_argnums=2)
def batch_of(source, step, n):
    return source.batch(KEY, step, n)


@jax.jit
def thirds(source, number, step):
    """A third of a sample of 12, and of a batch of 12."""
    return source.sample(KEY, 4, 4 * number), source.batch(KEY, step, 12, Shard(number, 3))


@jax.jit
def numbered(source, index):
    return source.at(index)


def joined(source, which, step=2):
    """All thirds of a sample (0) or of a batch (1), each drawn alone."""
    parts = [thirds(source, number, step)[which] for number in range(3)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in SOURCES])
def source(request):
    return SOURCES[request.param]()


def test_shapes_types_and_range(source):
    assert isinstance(source, Source)
    for batch in (drawn(source, 12), joined(source, 1)):
        n = len(batch["class"])
        assert batch["x"].shape == (n, *source.event_shape)
        assert batch["x"].dtype == jnp.float32
        image = np.asarray(batch["x"])
        assert 0 <= image.min() < image.max() <= 1
        assert (batch["class"].shape, batch["class"].dtype) == ((n,), jnp.int32)
        assert batch["factors"].shape == (n, len(source.factor_names))


def test_rows_are_named_by_key_and_place(source):
    whole, together = drawn(source, 12), joined(source, 0)
    for name in whole:
        np.testing.assert_allclose(together[name], whole[name], atol=1e-5)
    other = drawn(source, 12, key=jax.random.key(4))
    assert (np.asarray(other["x"]) != np.asarray(whole["x"])).any()
    assert (joined(source, 1, 2)["x"] != joined(source, 1, 3)["x"]).any()


def test_parts_of_a_batch_make_it_up(source):
    whole, together = jax.jit(lambda source: source.batch(KEY, 2, 12))(source), joined(source, 1)
    for name in whole:
        np.testing.assert_allclose(together[name], whole[name], atol=1e-5)
    assert jax.tree.structure(source) == jax.tree.structure(jax.device_put(source))
    with pytest.raises(ValueError, match="batch of 12 images can't be split over 5 devices"):
        source.batch(KEY, jnp.int32(2), 12, Shard(0, 5))


def test_classes_are_the_values_of_the_factor():
    source = classified(Sprites(16), "shape")
    assert source.classes == 3
    for batch in (drawn(source, 200), batch_of(source, 0, 200), numbered(source, np.arange(0, 700_000, 9999))):
        batch = jax.tree.map(np.asarray, batch)
        np.testing.assert_array_equal(batch["class"], batch["factors"][:, 0])
        assert set(batch["class"]) == {0, 1, 2}
    assert classified(hold_out(Sprites(16), {"shape": [2], "x": [3]})[0], "x").classes == 32
    with_own = from_arrays(IMAGES, np.arange(24)[:, None] // 6, extras={"class": np.full(24, 7)})
    np.testing.assert_array_equal(numbered(classified(with_own, "factor0"), np.arange(24))["class"], np.arange(24) // 6)


@pytest.mark.parametrize("ratio", [0.1, 0.29, 0.5, 1.0])
def test_so_many_labels_are_wrong(ratio):
    """floor(ratio N) are drawn anew, and one in ten of those is right by chance."""
    source = classified(digits(), "digit", corruption=ratio)
    batch = numbered(source, np.arange(source.size))
    truth, label = np.asarray(batch["factors"])[:, 0], np.asarray(batch["class"])
    np.testing.assert_array_equal(truth, np.asarray(digits().factors)[:, 0])
    touched, wrong = int(ratio * source.size), int((truth != label).sum())
    assert wrong <= touched
    assert abs(wrong - 0.9 * touched) < 4 * np.sqrt(0.09 * touched)
    new = label[truth != label]
    assert (np.bincount(new, minlength=10) > 0.25 * len(new) / 10).all()
    assert source.classes == 10


def test_exactly_so_many_labels_are_drawn_anew():
    """Of classes so many that one drawn anew is hardly ever its own."""
    zero = from_arrays(np.zeros((100, 2, 2)), np.arange(100)[:, None])
    changed = [
        sum(classified(zero, "factor0", corruption=0.29, seed=seed).source.extras["class"] != np.arange(100))
        for seed in range(30)
    ]
    assert max(changed) == 29
    assert min(changed) >= 26


def test_wrong_labels_follow_the_seed_and_stay_with_their_examples():
    def labels(**settings):
        return classified(digits(), "digit", corruption=0.5, **settings)

    np.testing.assert_array_equal(labels().source.extras["class"], labels(seed=10).source.extras["class"])
    assert (labels().source.extras["class"] != labels(seed=11).source.extras["class"]).mean() > 0.3
    column = labels().source.extras["class"]
    index = jax.jit(labels().source.draw, static_argnums=1)(KEY, 64)
    np.testing.assert_array_equal(drawn(labels(), 64)["class"], column[np.asarray(index)])
    assert "class" not in digits().extras


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classified(Sprites(16), "hue"), "factor of sprites: shape, scale, .*; got 'hue'"),
        (lambda: classified(from_arrays(IMAGES), "factor0"), "factor of arrays: none; got 'factor0'"),
        (lambda: classified(digits(), "digit", corruption=1.5), "from 0 to 1, got 1.5"),
        (lambda: classified(Sprites(16), "shape", corruption=0.1), "sprites is not a table but Sprites"),
        (lambda: classified(Epochs(Sprites(16)), "shape", corruption=0.1), "sprites is not a table but Sprites"),
        (lambda: augmented(VECTORS, 2), r"copies are of images, and examples of arrays have the shape \(4,\)"),
        (lambda: InClasses().wrap(VECTORS, "mcr2"), "factors of arrays are not known: name a column with --label-col"),
        (lambda: InClasses().wrap(from_arrays(IMAGES), "mcr2"), "factors of arrays are not known: add --copies 2"),
        (lambda: augmented(Sprites(16), 1), "at least 2 copies of an image, got copies=1"),
        (lambda: augmented(Sprites(16), 3).batch(KEY, 0, 10), "a batch of 10 does not hold 3 copies"),
    ],
)
def test_what_can_not_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_copies_are_of_the_images_that_their_classes_number():
    source = augmented(Epochs(NUMBERED), 4)
    batch = batch_of(source, 2, 32)
    np.testing.assert_array_equal(batch["class"], np.repeat(np.arange(8), 4))
    plain = batch_of(Epochs(NUMBERED), 2, 8)
    np.testing.assert_array_equal(batch["factors"], np.repeat(np.asarray(plain["factors"]), 4, axis=0))
    # In epochs: three batches of eight images are all of them.
    seen = np.concatenate([np.asarray(batch_of(source, step, 32)["factors"])[::4, 0] for step in range(3)])
    np.testing.assert_array_equal(np.sort(seen), np.arange(24))
    sampled = drawn(source, 10, 2)
    np.testing.assert_array_equal(sampled["class"], np.arange(2, 12) // 4)
    five = np.array([5])
    np.testing.assert_array_equal(numbered(source, five)["x"], numbered(NUMBERED, five)["x"])


def test_copies_are_moved_brightened_and_noisy():
    """A white square in the middle of 32 x 16 pixels, grey at first."""
    image = np.zeros((1, 32, 16, 1))
    image[:, 12:20, 6:10] = 0.5
    copies = np.asarray(drawn(augmented(from_arrays(image), 2), 2000)["x"], np.float64)[..., 0]
    inside = copies > 0.22
    rows = np.array([np.flatnonzero(copy.any(1))[0] - 12 for copy in inside])
    columns = np.array([np.flatnonzero(copy.any(0))[0] - 6 for copy in inside])
    # One noisy pixel in hundreds of thousands may be taken for the square's.
    assert set(np.unique(rows)) >= set(range(-4, 5))
    assert np.mean(np.abs(rows) > 4) < 0.01
    assert set(np.unique(columns)) >= {-2, -1, 0, 1, 2}
    np.testing.assert_allclose(np.bincount(rows[np.abs(rows) <= 4] + 4) / 2000, 1 / 9, atol=0.04)
    placed = list(zip(copies, rows, columns, strict=True))
    level = np.array([copy[12 + r : 20 + r, 6 + c : 10 + c].mean() for copy, r, c in placed])
    assert level.min() < 0.34
    assert level.max() > 0.66
    np.testing.assert_allclose(level.mean(), 0.5, atol=0.02)
    squares = [copy[13 + r : 19 + r, 7 + c : 9 + c].std() for copy, r, c in placed]
    np.testing.assert_allclose(np.mean(squares), 0.05, atol=0.01)


def test_what_is_moved_out_is_gone():
    """White pictures: zeros come in at the sides, at most an eighth of them."""
    copies = np.asarray(drawn(augmented(from_arrays(np.ones((1, 16, 16, 1))), 2), 200)["x"])[..., 0]
    dark = copies < 0.35
    assert dark[:, 0].any()
    assert not dark[:, 2:14, 2:14].any()


def test_all_factors_of_a_classified_table_are_the_truth():
    np.testing.assert_array_equal(
        all_factors(classified(digits(), "digit", corruption=0.5).source), np.asarray(digits().factors)
    )


def test_the_help_says_that_copies_leave_the_places_that_are_trained_on():
    """Sprites in the left half reach the right half by their shift, an eighth of the sides."""
    told = field_help(InClasses)["copies"]
    assert "shifted by up to an eighth of the sides, so that beside --hold-out of a place they show places held" in told
    assert SHIFT == 1 / 8
