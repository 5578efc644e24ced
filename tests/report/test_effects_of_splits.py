"""The splits of an additive decoder, from a run to their section of the report."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import Representation, SplitEffects
from jaxvae.data import cells
from jaxvae.report import splits as module
from jaxvae.report.splits import OfSplits, of_splits, splits_section
from jaxvae.runs import parts_of
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.runs.load import Run
from jaxvae.runs.score import examples_of, properties, rebuilt_of, represent
from jaxvae.training import make_train_step

HEAT_MAP = module.heat_map


@pytest.fixture(scope="module")
def run():
    """A model that is not trained."""
    table = cells(cells=50, genes=12, programs=2)
    config = default_config("drvi").with_flags(data="cells", latents=3, hidden=(8,), covariates=("batch",), steps=5)
    source = config.batches.wrap(table, "drvi")
    method = build_method(config, networks_of(config, source), source)
    state = make_train_step(method, dataset_size=50)[0](jax.random.key(0))
    return Run(Path(), config, source, method, state, [])


def codes_of(run):
    posterior = run.encode_batch(run.source.at(jnp.arange(50)))
    return Representation(np.asarray(posterior.mean), np.asarray(posterior.logvar), None)


def test_the_parts_of_a_run_are_log_rates(run):
    """Their sum over the splits has the shares of the expected counts."""
    codes = codes_of(run).mean
    parts = parts_of(run)(codes)
    assert parts.shape == (50, 3, 12)
    rates = np.exp(parts).sum(axis=1)
    expected = run.decoder(codes)
    np.testing.assert_allclose(
        rates / rates.sum(axis=1, keepdims=True), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4
    )


def test_effects_of_a_run(run):
    found = of_splits(run, codes_of(run))
    assert found.effects.in_data.shape == (3, 12)
    assert list(found.columns) == list(run.source.schema.entry_names)
    assert of_splits(run._replace(config=default_config("vae")), codes_of(run)) is None


def test_reconstructions_have_the_rows_own_library(run):
    """They are of the same rows, in the order of the scores, a batch of them at a time."""
    codes = represent(run, 50)
    rebuilt, x = rebuilt_of(run, codes.mean), examples_of(run, 50)
    np.testing.assert_allclose(rebuilt.sum(axis=1), x.sum(axis=1), rtol=1e-4)
    assert properties(run, codes)["reconstruction_error"] == pytest.approx(((rebuilt - x) ** 2).mean())


def effects(combined, vanished):
    size = np.asarray(combined, float).sum(axis=(0, 2))
    return SplitEffects(
        size[:, None],
        np.argsort(-size),
        np.asarray(vanished),
        np.asarray(combined, float),
        np.ones_like(combined, float),
    )


def test_the_section(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "heat_map", lambda *given: drawn.append(given[:3]) or HEAT_MAP(*given))
    combined = [[[0, 4, 2], [0, 0, 1]], [[0, 0, 0], [8, 0, 0]]]
    section = splits_section(OfSplits(effects(combined, [[False, False], [True, False]]), ["a", "b", "c"]))
    values, rows, columns = drawn[0]
    assert rows == ["z1+", "z1-", "z0+"]
    assert columns == ["c", "a", "b"]
    np.testing.assert_allclose(values, [[1, 0, 0], [0, 1, 0], [0.5, 0, 1]])
    assert "z0+: b, c" in section.caption
    assert "0 of 2 latents have vanished" in section.caption


def test_without_an_additive_decoder_or_a_live_latent():
    assert splits_section(None) is None
    section = splits_section(OfSplits(effects(np.ones((2, 2, 3)), np.ones((2, 2), bool)), ["a", "b", "c"]))
    assert "2 of 2 latents have vanished" in section.caption
    assert not section.cards
