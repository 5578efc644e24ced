"""Library sizes for every method with a likelihood: expected counts that sum to those of the row."""

import json
import re
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxvae.cli.encode import DecodeArgs
from jaxvae.cli.export import ExportArgs
from jaxvae.data import Scene, Streamed, cells
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.method import Context, Nets
from jaxvae.methods import by_columns, drvi, given_library, log_library
from jaxvae.runs.build import build_method, build_parts, library_of, networks_of
from jaxvae.runs.config import Config, default_config
from jaxvae.runs.export import export
from jaxvae.runs.load import Run
from jaxvae.runs.options import LIKELIHOOD
from jaxvae.sklearn import DRVI, VAE, VAESNE
from jaxvae.training import make_train_step
from tests.losses.compiled import one_program

RNG = np.random.default_rng(0)
SMALL = cells(cells=40, genes=12, programs=2)


def mixed():
    """Two columns of counts, one with missing values, and a real one."""
    a = RNG.poisson(6, 30).astype(float)
    a[4] = np.nan
    columns = {"real": RNG.normal(size=30), "a": a, "b": RNG.poisson(2, 30)}
    return from_columns(columns, Columns(kinds=("a=count", "b=count")))


def built(method, source, *, raw=False, **flags):
    """A method, the programs of its loss, and some rows, with the settings of the command line."""
    config = default_config(method).with_flags(**{"data": "cells", "latents": 2, "hidden": (8,), **flags})
    source = config.batches.wrap(source, method)
    built = build_method(config, networks_of(config, source), source, raw=raw)
    batch = jax.device_get(jax.jit(source.at)(np.arange(16)))
    params = jax.jit(lambda: {name: net.init(jax.random.key(5)) for name, net in built.networks.items()})()
    return built, params, batch


def test_counts_have_shares_of_the_sum_of_their_row():
    """By hand, in float64; what is no count has the likelihood that it had."""
    source = mixed()
    likelihood = by_columns(source.schema, scale=1.0, counts="poisson")
    raw, x = RNG.normal(size=(30, 3)).astype(np.float32), np.asarray(source.pixels, np.float64)
    rates = raw[:, 1:] + np.log([column.mean + 1e-3 for column in source.schema.used if column.kind == "count"])
    shares = np.exp(rates - logsumexp(rates, axis=1, keepdims=True))
    expected = np.nansum(x[:, 1:], axis=1, keepdims=True) * shares
    wanted = -stats.norm.logpdf(x[:, 0], raw[:, 0]) - stats.poisson.logpmf(x[:, 1:], expected).sum(axis=1)
    complete = ~np.isnan(x).any(axis=1)
    found = one_program(given_library(likelihood).nll)(raw, jnp.asarray(source.pixels))
    np.testing.assert_allclose(found[complete], wanted[complete], rtol=1e-4)
    assert np.isfinite(found).all()
    assert np.abs(one_program(likelihood.nll)(raw, jnp.asarray(source.pixels)) - found).max() > 0.1


def test_without_a_row_it_is_that_of_a_mean_row():
    source = mixed()
    likelihood = by_columns(source.schema)
    raw = RNG.normal(size=(5, 3 + len(likelihood.start))).astype(np.float32)
    total = sum(column.mean + 1e-3 for column in source.schema.used if column.kind == "count")
    means = one_program(given_library(likelihood).mean)(raw)
    np.testing.assert_allclose(means[:, 1:].sum(axis=1), total, rtol=1e-5)
    np.testing.assert_array_equal(means[:, 0], raw[:, 0])


def test_a_row_without_observed_counts_has_the_size_of_a_mean_row():
    counts = by_columns(mixed().schema).counts
    x = np.array([[0.0, np.nan, np.nan], [0.0, 3.0, 5.0], [0.0, 0.0, 0.0], [0.0, 3.0, np.nan]], np.float32)
    a, b = np.exp(counts.log_means)
    found = np.exp(one_program(lambda x: log_library(counts, x))(jnp.asarray(x)))
    np.testing.assert_allclose(found, [a + b, 8, 1e-8, 3 * (a + b) / a], rtol=1e-5)


def test_one_column_of_counts_has_no_library():
    source = from_columns({"a": np.arange(20) % 7, "b": np.linspace(0, 1, 20)}, Columns(kinds=("a=count",)))
    likelihood = by_columns(source.schema)
    assert given_library(likelihood) is likelihood
    method, _, _ = built("vae", source, data="table:x", library="rows")
    assert method.decode_with is None


@pytest.mark.parametrize(("name", "likelihood"), [("vae", "zero-inflated"), ("vae-sne", "negative-binomial")])
def test_expected_counts_of_a_batch_sum_to_those_of_its_rows(name, likelihood):
    method, params, batch = built(name, SMALL, library="rows", likelihood=likelihood)
    without, _, _ = built(name, SMALL, likelihood=likelihood)
    assert without.decode_with is None

    @jax.jit
    def computed(params, batch, z):
        net = Nets(method.networks, params)
        return method.decode(net, z), method.expected(net, z, batch), without.decode(net, z)

    decoded, expected, free = jax.device_get(computed(params, batch, RNG.normal(size=(16, 2)).astype(np.float32)))
    sums = batch["x"].sum(axis=1)
    kept = jax.nn.sigmoid(-2.0) if likelihood == "zero-inflated" else 0.0  # the share of further zeros at the start
    np.testing.assert_allclose(expected.sum(axis=1), (1 - kept) * sums, rtol=1e-4)
    np.testing.assert_allclose(
        expected / sums[:, None], decoded / (decoded.sum(axis=1) / (1 - kept))[:, None], rtol=1e-4
    )
    assert np.ptp(free.sum(axis=1)) > 1


def test_raw_outputs_are_what_the_likelihood_takes():
    """The negative log-likelihood of raw outputs by the plain likelihood is the loss of the method."""
    raw, params, batch = built("vae", SMALL, library="rows", raw=True)
    method, _, _ = built("vae", SMALL, library="rows")
    likelihood = by_columns(SMALL.schema)

    @jax.jit
    def computed(params, batch):
        net, ctx = Nets(method.networks, params), Context(jax.random.key(3), method.hyperparameters, jnp.int32(0), 40)
        mean, logvar = net.encoder(batch["x"])
        noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(ctx.key, i), (2,)))(jnp.arange(16))
        z = mean + jnp.exp(0.5 * logvar) * noise
        nll = likelihood.nll(raw.expected(net, z, batch), batch["x"]).mean()
        return nll, method.objectives[0].loss(net, batch, ctx)[1]["reconstruction"]

    np.testing.assert_allclose(*jax.device_get(computed(params, batch)), rtol=1e-5)


def test_every_method_with_a_likelihood_of_tables_has_the_flag_and_older_runs_have_none():
    for name, usual in (("vae", "none"), ("ivae", "none"), ("vae-sne", "none"), ("drvi", "rows")):
        config = default_config(name)
        assert config.options.library == usual
        assert config.idle()["library"] == "tables of counts, such as anndata:PATH"
        assert "library" not in config.with_flags(data="cells").idle()
    assert default_config("oi-vae").with_flags(data="cells", noise="learned").idle()["library"] == "--noise likelihood"
    written = default_config("vae").with_flags(data="cells").to_json()
    del written["options"]["library"]
    assert Config.from_json(written).options.library == "none"
    with pytest.raises(ValueError, match="--library is for tables of counts, such as anndata:PATH: leave it out"):
        build_parts(default_config("vae").with_flags(library="rows"))


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (VAE(library="rows"), "none"),
        (VAESNE(library="rows", kinds={"x0": "count"}), "1"),
        (DRVI(library="none", kinds="real"), "none"),
    ],
)
def test_estimators_of_arrays_refuse_a_library_without_sums_of_counts(model, found):
    x = RNG.poisson(4.0, (12, 3)) + np.arange(12.0)[:, None]
    told = f"library='{model.library}' is for several columns of counts, and X has {found}: set kinds='count' if"
    with pytest.raises(ValueError, match=told):
        model.fit(x)


EMPTY = RNG.poisson(5.0, (12, 3)) + 1.0
EMPTY[[2, 7]] = 0
EMPTY[9, 1:] = np.nan  # its first count is known


@pytest.mark.parametrize("kind", [VAE, VAESNE])
def test_estimators_refuse_rows_without_counts(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} learns .* 2 rows have no counts at all: row 2, row 7"):
        kind(library="rows", kinds="count").fit(EMPTY)


@pytest.mark.parametrize("streamed", [False, True])
def test_runs_refuse_rows_without_counts(streamed):
    columns = {"a": EMPTY[:, 0], "b": EMPTY[:, 1], "real": RNG.normal(size=12)}
    table = from_columns(columns, Columns(kinds=("a=count", "b=count")))
    config = default_config("vae").with_flags(data="table:X", library="rows", validation=0.25)
    told = "vae with --library rows learns how .* 2 rows have no counts at all: row 2, row 7: remove them"
    with pytest.raises(ValueError, match=told):
        build_parts(config, opened=lambda schema: Streamed(table) if streamed else table)
    table.pixels[[2, 7], :2] = np.nan
    with pytest.raises(ValueError, match=told):
        build_parts(config, opened=lambda schema: Streamed(table) if streamed else table)


def test_an_exported_decoder_has_the_size_of_a_mean_row_and_says_so(tmp_path):
    pytest.importorskip("flatbuffers", reason="needs pip install jaxvae[export]")
    config = default_config("vae").with_flags(data="cells", latents=2, hidden=(8,), library="rows")
    method, _, _ = built("vae", SMALL, library="rows")
    init, _ = make_train_step(method, dataset_size=SMALL.size)
    run = Run(tmp_path / "run", config, SMALL, method, jax.jit(init)(jax.random.key(0)), [])
    export(run, "stablehlo", tmp_path)
    assert json.loads((tmp_path / "export.json").read_text())["library"] == "rows"
    decoder = jax.export.deserialize(bytearray((tmp_path / "decoder.stablehlo").read_bytes()))
    (expected,) = decoder.call(RNG.normal(size=(3, 2)).astype(np.float32))
    total = sum(column.mean + 1e-3 for column in SMALL.schema.used)
    np.testing.assert_allclose(expected.sum(axis=1), total, rtol=1e-4)
    assert library_of(config.with_flags(library="none"), SMALL) == "none"
    assert library_of(default_config("drvi").with_flags(data="scene"), Scene()) is None


def test_where_rows_are_unknown_the_help_says_which_size_examples_have():
    (library,) = (hint for name, hint, _ in LIKELIHOOD if name == "library")
    for told in (get_args(library)[1].help, drvi.__doc__, DecodeArgs.__doc__, ExportArgs.__doc__):
        assert re.search(r"(decoded to the size|sum to those) of a mean row", " ".join(told.split()))
    assert "those of a mean row" in " ".join(VAE.inverse_transform.__doc__.split())
    assert "decodes to the size of a mean row" in " ".join(VAE.__doc__.split())
