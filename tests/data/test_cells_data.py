"""Simulated cells: what their counts are made of."""

import numpy as np
import pytest

from jaxvae.data import cells, open_data


def test_the_table():
    table = open_data("cells")
    assert (table.name, table.event_shape, table.size) == ("cells", (300,), 2000)
    assert (table.factor_names, table.factor_sizes) == (("type", "batch"), (8, 2))
    assert {column.kind for column in table.schema.used} == {"count"}
    x = np.asarray(table.pixels)
    assert (x == np.round(x)).all()
    assert x.sum(axis=1).min() > 100


def test_the_program_of_the_type_is_active():
    table = cells(cells=400, genes=50, programs=4, others=0.0)
    activity = np.asarray(table.extras["programs"])
    np.testing.assert_array_equal(activity > 0, np.eye(4, dtype=bool)[np.asarray(table.factors)[:, 0]])


def test_programs_add_up_in_rates():
    """The counts' shares are linear in the activities, over what the activities add in all."""
    table = cells(cells=20_000, genes=20, programs=2, others=0.5, batch_effect=0.0, theta=1e6, library=5000.0)
    x, activity = np.asarray(table.pixels, float), np.asarray(table.extras["programs"], float)
    share = x / x.sum(axis=1, keepdims=True)
    inputs = np.column_stack([np.ones(len(x)), activity])
    # rate_g = share_g * total, where the total is 1 + a * activities in units of the base's
    first = np.linalg.lstsq(np.column_stack([inputs, -share[:, :1] * activity]), share[:, 0], rcond=None)[0]
    total = 1 + activity @ first[3:]
    weights, residual, *_ = np.linalg.lstsq(inputs, share * total[:, None], rcond=None)
    variance = (share * total[:, None]).var(axis=0).sum() * len(x)
    assert residual.sum() / variance < 0.15
    assert weights[1:].min() > -0.02


def test_noise_is_negative_binomial():
    table = cells(cells=4000, genes=50, programs=1, others=0.0, strength=1e-6, batch_effect=0.0, theta=3.0)
    x = np.asarray(table.pixels, float)
    size = x.sum(axis=1, keepdims=True)
    gene = x.mean(axis=0) / x.mean(axis=0).sum()
    assert abs((x / size).mean(axis=0) - gene).max() < 0.02
    # Given the size of a cell, the variance is mean + mean^2 / theta: the excess over Poisson shows theta.
    mean = size * gene
    theta = (mean**2).sum(axis=0) / ((x - mean) ** 2 - mean).sum(axis=0)
    assert abs(np.median(theta) - 3) < 0.2


def test_seeds_and_bad_numbers():
    small = {"cells": 40, "genes": 12, "programs": 2}
    np.testing.assert_array_equal(cells(**small).pixels, cells(**small).pixels)
    assert cells(**small).pixels.sum() != cells(**small, seed=1).pixels.sum()
    with pytest.raises(ValueError, match="genes must be at least 1, got 0"):
        cells(genes=0)
    with pytest.raises(ValueError, match="others must be a probability"):
        cells(others=1.5)
    with pytest.raises(ValueError, match="cells are rows of counts, which are not resized"):
        open_data("cells", image_size=16)
