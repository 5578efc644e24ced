"""Tables made up from a seed: each has the structure that it says."""

import jax
import numpy as np
import pytest
import scipy.linalg

from jaxvae.data import bars, clusters, digits, from_arrays, open_data, segments, time_series, waves
from jaxvae.metrics import mcc


def column(table, name):
    return np.asarray(table.columns()[name], np.float64)


def vectors(table):
    return np.asarray(table.pixels, np.float64).reshape(table.size, -1)


def test_digits_are_scikit_learns():
    table = digits()
    assert (table.size, table.event_shape, table.factor_names, table.factor_sizes) == (
        1797,
        (8, 8, 1),
        ("digit",),
        (10,),
    )
    batch = jax.tree.map(np.asarray, jax.jit(table.at)(np.arange(5)))
    np.testing.assert_array_equal(batch["factors"][:, 0], [0, 1, 2, 3, 4])
    assert batch["x"].max() == 1
    large = open_data("digits", image_size=32)
    assert large.event_shape == (32, 32, 1)
    np.testing.assert_array_equal(large.factors, table.factors)


def test_segments_differ_in_the_scale_of_their_sources():
    table = segments(segments=6, points=4000, sources=3)
    aux, true = column(table, "aux"), column(table, "sources")
    assert aux.shape == (24_000, 6)
    np.testing.assert_array_equal(aux.argmax(axis=1), np.asarray(table.factors)[:, 0])
    np.testing.assert_array_equal(aux.sum(axis=1), 1)
    scales = true.reshape(6, 4000, 3).std(axis=1)
    assert scales.min() > 0.45
    assert scales.max() < 3.1
    assert np.ptp(scales, axis=0).min() > 0.5
    assert np.abs(true.reshape(6, 4000, 3).mean(axis=1)).max() < 0.2
    moved = column(segments(segments=6, points=4000, sources=3, centres=True), "sources").reshape(6, 4000, 3)
    assert np.abs(moved.mean(axis=1)).max() > 2


def test_one_layer_mixes_linearly_and_three_do_not():
    def unexplained(layers):
        table = segments(segments=5, points=500, layers=layers)
        true, seen = column(table, "sources"), vectors(table)
        left = seen - true @ np.linalg.lstsq(true, seen, rcond=None)[0]
        return left.var() / seen.var()

    assert unexplained(1) < 1e-10
    assert unexplained(3) > 0.01


def test_the_mixing_can_be_undone():
    """f(h) = tanh(h) + h / 10 rises everywhere, and the matrix has an inverse."""
    one, two = segments(segments=2, points=300, layers=1), segments(segments=2, points=300, layers=2)
    true = column(one, "sources")
    matrix = np.linalg.lstsq(true, vectors(one), rcond=None)[0]
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=0), 1, atol=1e-5)
    hidden = vectors(one)
    np.testing.assert_allclose(vectors(two), (np.tanh(hidden) + 0.1 * hidden) @ matrix, atol=1e-4)


def test_bars_light_one_row():
    table = bars(images=500)
    pixels = vectors(table).reshape(500, 8, 8)
    np.testing.assert_array_equal(pixels.mean(axis=2).argmax(axis=1), np.asarray(table.factors)[:, 0])
    lit = pixels[np.arange(500), np.asarray(table.factors)[:, 0]]
    assert abs(lit.mean() - 0.5) < 0.01
    assert abs(lit.std() - 0.05) < 0.01
    assert pixels.min() < 0


def test_clusters_are_apart():
    table = clusters(clusters=4, points=100, dimensions=20, spread=20)
    x, label = vectors(table), np.asarray(table.factors)[:, 0]
    means = np.stack([x[label == c].mean(axis=0) for c in range(4)])
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, label)
    within = np.concatenate([x[label == c] - means[c] for c in range(4)])
    assert abs(within.std() - 1) < 0.05


def test_a_group_of_channels_follows_its_latents_alone():
    table = time_series(length=3000, noise=0.0)
    true, x = column(table, "sources"), vectors(table)
    mask = column(table, "mask")[0].reshape(6, 4)
    assert mask.any(axis=0).all()
    assert mask.any(axis=1).all()
    assert 0 < mask.mean() < 1
    loadings = np.linalg.lstsq(true, x, rcond=None)[0].reshape(4, 6, 5)
    strength = np.linalg.norm(loadings, axis=2).T
    np.testing.assert_array_equal(strength > 1e-4, mask == 1)
    assert np.abs(np.diff(true, axis=0)).max() < 0.13  # slow


def test_waves_are_sums_of_two_sines():
    table = waves(times=32, channels=2, noise=0.0)
    assert (table.size, table.event_shape) == (1024, (32, 2))
    assert (table.factor_names, table.factor_sizes) == (("frequency", "phase", "amplitude"), (8, 16, 8))
    spectra = np.fft.rfft(np.asarray(table.pixels, np.float64), axis=1) / 16
    factors = np.asarray(table.factors)
    low = np.take_along_axis(spectra, factors[:, :1, None] + 1, axis=1)[:, 0]
    amplitude, phase = (factors[:, 2] + 1) / 4, 2 * np.pi * factors[:, 1] / 16
    for channel in range(2):
        want = amplitude * np.exp(1j * (phase + channel - np.pi / 2))
        np.testing.assert_allclose(low[:, channel], want, atol=1e-5)
    rest = (np.abs(spectra) ** 2).sum(axis=1) - np.abs(low) ** 2  # twice the frequency, at half the amplitude
    at_most = factors[:, 0] < 7  # 16 waves in 32 times are at the end of the spectrum
    np.testing.assert_allclose(rest[at_most], np.tile((amplitude[at_most, None] / 2) ** 2, 2), rtol=1e-4)
    assert abs((np.asarray(waves().pixels) - np.asarray(waves(noise=0.0).pixels)).std() - 0.05) < 1e-3


@pytest.mark.parametrize(
    ("name", "shape", "size", "factors"),
    [
        ("clusters", (50,), 2000, ("cluster",)),
        ("time-series", (30,), 4000, ()),
        ("waves", (64, 3), 1024, ("frequency", "phase", "amplitude")),
    ],
)
def test_they_are_opened_by_name(name, shape, size, factors):
    table = open_data(name)
    assert (table.name, table.event_shape, table.size, table.factor_names) == (name, shape, size, factors)
    with pytest.raises(ValueError, match=f"{name} are .* which are not resized: leave out --image-size"):
        open_data(name, image_size=16)


@pytest.mark.parametrize("make", [segments, bars, clusters, time_series, waves])
def test_seeds_and_bad_numbers(make):
    first = next(iter(make.__kwdefaults__))
    small = {first: 40}
    np.testing.assert_array_equal(make(**small).pixels, make(**small).pixels)
    assert (np.asarray(make(**small).pixels) != np.asarray(make(**small, seed=1).pixels)).any()
    with pytest.raises(ValueError, match=f"{first} must be at least 1, got 0"):
        make(**{first: 0})


def test_more_columns_follow_the_order_of_the_grid():
    factors = np.array([[2], [0], [1]])
    table = from_arrays(np.zeros((3, 4, 4)), factors, extras={"aux": factors * 10.0})
    batch = jax.tree.map(np.asarray, jax.jit(table.batch, static_argnums=2)(jax.random.key(0), 0, 5))
    np.testing.assert_array_equal(batch["aux"], batch["factors"] * 10)
    with pytest.raises(ValueError, match="'aux' needs a name of its own and 3 rows"):
        from_arrays(np.zeros((3, 4, 4)), extras={"aux": np.zeros(2)})
    with pytest.raises(ValueError, match="'x' needs a name"):
        from_arrays(np.zeros((3, 4, 4)), extras={"x": np.zeros(3)})
    with pytest.raises(ValueError, match="not finite"):
        from_arrays(np.full((3, 4), np.inf), real=True)


def test_variances_of_segments_identify_the_mixing():
    """Linear mixing: whitening by one segment and turning by another finds the sources, up to order, sign and scale."""
    table = segments(segments=2, points=50_000, sources=4, layers=1)
    true, seen = (values.reshape(2, 50_000, 4) for values in (column(table, "sources"), vectors(table)))
    one, two = (np.cov(values.T) for values in seen)
    _, unmixing = scipy.linalg.eigh(two, one)
    assert mcc(seen.reshape(-1, 4) @ unmixing, true.reshape(-1, 4)).score > 0.99


def test_forty_segments_tell_enough():
    """1 / variance of every source, less that in the first segment: of full rank, as identifiability supposes."""
    table = segments(segments=40, points=200, sources=5)
    natural = -0.5 / column(table, "sources").reshape(40, 200, 5).var(axis=1)
    assert np.linalg.matrix_rank((natural[1:] - natural[:1]), tol=0.05) == 5
