"""DRVI: what it reduces to, its library sizes and covariates, and its command."""

import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import build_and_trace, loss_of, make, own
from scipy.special import logsumexp

from jaxvae.data import cells, open_data
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS, by_columns, log_library, with_library
from jaxvae.methods.drvi import DRVI, Networks
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.training import make_train_step

KEY = jax.random.key(1)
SMALL = cells(cells=60, genes=20, programs=2)


def configured(source=SMALL, **flags):
    """A method for a source with the settings of the command line."""
    config = default_config("drvi").with_flags(**{"data": "cells", "latents": 4, "hidden": (8,), "steps": 10, **flags})
    source = config.batches.wrap(source, "drvi")
    return config, source, build_method(config, networks_of(config, source), source)


def loss_at(method, params, batch, step=10):
    ctx = Context(jax.random.key(3), jax.tree.map(jnp.float32, method.hyperparameters), jnp.int32(step), 60)
    return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)


def initial(method):
    return jax.jit(lambda: {name: network.init(jax.random.key(5)) for name, network in method.networks.items()})()


def rows(source, count):
    return jax.device_get(jax.jit(source.at)(np.arange(count)))


def test_one_split_is_the_vae(params, batch):
    """With an identity in place of W, for either pooling: value and gradient."""
    vae = make("vae")
    drvi = make("drvi")
    shape = batch["x"].shape[1:]

    def as_split(params, pooling):
        kind = Networks(network="mlp-small", hidden=(64,), dropout=0.0, latents=5, splits=1)
        source = type("Source", (), {"event_shape": shape, "schema": None})()
        split = Networks(**{**vars(kind), "pooling": pooling}).split_decoder(source)
        networks = {"encoder": vae.networks["encoder"], "decoder": split.network}
        method = METHODS["drvi"].build(networks, hyperparameters=drvi.hyperparameters)
        decoder = {"network": params["decoder"], "maps": jnp.eye(5)[None]}
        without = {name: values for name, values in batch.items() if name != "aux"}
        return loss_of(method, {**params, "decoder": decoder}, without, KEY)[0]

    @jax.jit
    def values(params):
        kinds = (lambda p: as_split(p, "mean"), lambda p: as_split(p, "logsumexp"))
        return [jax.value_and_grad(f)(params) for f in (lambda p: loss_of(vae, p, batch, KEY)[0], *kinds)]

    (want, slope), *others = values(own(vae, {name: params[name] for name in ("encoder", "decoder")}))
    for value, gradient in others:
        np.testing.assert_allclose(value, want, rtol=1e-6)
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1e-6, float(np.abs(b).max())))


def test_the_kl_is_annealed_over_the_run():
    _config, source, method = configured(steps=40)
    assert method.hyperparameters == DRVI(warmup=40.0)
    batch, params = rows(source, 8), initial(method)
    at = jax.jit(lambda step, batch=jax.tree.map(jnp.asarray, batch): loss_at(method, params, batch, step))
    for step, weight in [(0, 0.0), (10, 0.25), (40, 1.0), (99, 1.0)]:
        value, terms = at(step)
        assert terms["kl_weight"] == weight
        np.testing.assert_allclose(value, terms["reconstruction"] + weight * terms["kl"], rtol=1e-6)
    assert configured(steps=40, warmup=7.0)[2].hyperparameters.warmup == 7
    assert METHODS["drvi"].build(method.networks).hyperparameters.warmup == 0
    with pytest.raises(ValueError, match="warmup must be a number of steps >= 0, got -1"):
        METHODS["drvi"].build(method.networks, hyperparameters=DRVI(warmup=-1))


def test_the_loss_by_hand():
    """Reconstruction of counts from the splits, in float64."""
    config, source, method = configured(likelihood="poisson", dropout=0.0)
    batch, params = rows(source, 8), initial(method)
    split = config.networks.split_decoder(source)

    @jax.jit
    def computed(params, batch):
        mean, logvar = Nets(method.networks, params).encoder(batch["x"])
        noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(jax.random.key(3), i), (4,)))(jnp.arange(8))
        parts = split.parts(params["decoder"], mean + jnp.exp(0.5 * logvar) * noise)
        return loss_at(method, params, batch)[1], parts

    terms, parts = jax.device_get(computed(params, batch))
    parts = parts.astype(np.float64)
    x = np.asarray(batch["x"], np.float64)
    log_rate = logsumexp(parts, axis=1) + np.log([column.mean + 1e-3 for column in source.schema.used])
    log_rate += np.log(x.sum(axis=1, keepdims=True)) - logsumexp(log_rate, axis=1, keepdims=True)
    from scipy import stats

    want = -stats.poisson.logpmf(x, np.exp(log_rate)).sum(axis=1).mean()
    np.testing.assert_allclose(terms["reconstruction"], want, rtol=2e-5)


def test_expected_counts_sum_to_the_library():
    _config, source, method = configured()
    batch, params = rows(source, 8), initial(method)
    sized = {**batch, "log_size": np.log(np.arange(1, 9, dtype=np.float32))}
    free = configured(library="none")[2]

    @jax.jit
    def computed(params):
        net = Nets(method.networks, params)
        code = method.encode(net, batch).mean
        own = method.expected(net, code, batch), method.expected(net, code, sized), method.decode(net, code)
        return own, (free.expected(net, code, batch), free.decode(net, code))

    (observed, of_size, decoded), (free_expected, free_decoded) = jax.device_get(computed(params))
    np.testing.assert_allclose(observed.sum(axis=1), batch["x"].sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(of_size.sum(axis=1), np.arange(1, 9), rtol=1e-4)
    mean = sum(column.mean + 1e-3 for column in source.schema.used)
    np.testing.assert_allclose(decoded.sum(axis=1), mean, rtol=1e-4)
    assert np.ptp(free_expected.sum(axis=1)) > 1
    np.testing.assert_array_equal(free_expected, free_decoded)


def test_a_missing_count_is_in_proportion():
    table = from_columns(
        {"a": np.array([2.0, 4, np.nan, 6]), "b": np.array([1.0, 3, 5, 7])}, Columns(kinds=("a=count", "b=count"))
    )
    counts = by_columns(table.schema).counts
    sizes = np.exp(log_library(counts, jnp.asarray(table.pixels)))
    np.testing.assert_allclose(sizes, [3, 7, 5 * (4 + 4) / 4, 13], rtol=1e-3)
    raw = with_library(counts, jnp.zeros((4, 3)), jnp.log(sizes))
    np.testing.assert_allclose(np.exp(np.asarray(raw)[:, :2] + counts.log_means).sum(axis=1), sizes, rtol=1e-5)
    np.testing.assert_array_equal(raw[:, 2], 0)


def test_one_column_of_counts_has_no_library():
    """It would be its own sum."""
    table = from_columns({"a": np.arange(20) % 7, "b": np.linspace(0, 1, 20)}, Columns(kinds=("a=count",)))
    _, source, method = configured(table, data="table:x")
    batch = rows(source, 8)

    @jax.jit
    def computed(params):
        net = Nets(method.networks, params)
        code = method.encode(net, batch).mean
        return method.expected(net, code, batch), method.decode(net, code)

    np.testing.assert_array_equal(*computed(initial(method)))


def test_covariates_are_seen_by_the_decoder_only():
    _config, source, method = configured(covariates=("batch",))
    batch, params = rows(source, 16), initial(method)
    assert batch["aux"].shape == (16, 2)

    @jax.jit
    def computed(batch):
        net = Nets(method.networks, params)
        code = method.encode(net, batch).mean
        return code, method.expected(net, code, batch)

    (one, expected), (other, changed) = computed(batch), computed({**batch, "aux": batch["aux"][:, ::-1]})
    np.testing.assert_array_equal(one, other)
    assert np.abs(expected - changed).max() > 1e-4
    with pytest.raises(ValueError, match="cells has no factor 'donor'; there are type, batch"):
        configured(covariates=("donor",))


def test_rows_without_counts_are_named():
    counts = np.ones((6, 3), int) + np.arange(6)[:, None]
    counts[[1, 4]] = 0
    columns = {f"g{k}": counts[:, k] + (counts[:, k] > 0) * k for k in range(3)}
    table = from_columns(columns, Columns(kinds=tuple(f"g{k}=count" for k in range(3))))
    mixed = from_columns(columns | {"size": np.arange(6) + 0.5}, Columns(kinds=tuple(f"g{k}=count" for k in range(3))))
    for each in (table, mixed):
        with pytest.raises(ValueError, match="drvi learns how .* 2 rows have no counts at all: row 1, row 4: remove"):
            configured(each, data="table:x")


def test_the_l2_penalty_and_eps_are_those_of_scvi_tools():
    from jaxvae.methods.drvi import adam

    optimizer = adam(1e-3)
    params, gradient = {"w": jnp.array([2.0, -3.0])}, {"w": jnp.array([0.1, 0.002])}
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    penalized = np.array([0.1, 0.002]) + 1e-6 * np.array([2.0, -3.0])
    np.testing.assert_allclose(updates["w"], -1e-3 * penalized / (np.abs(penalized) + 0.01), rtol=1e-5)


@pytest.mark.process
def test_any_network_and_mixed_tables():
    """Pictures with mean pooling and convolutions; a table with columns of every kind."""
    words = "drvi --data sprites --image-size 16 --network conv --pooling mean --sharing nowhere --latents 4"
    build_and_trace(shlex.split(words))
    rng = np.random.default_rng(0)
    mixed = {
        "a": rng.poisson(3, 40),
        "b": rng.poisson(2, 40),
        "size": np.where(np.arange(40) % 9 == 0, np.nan, rng.normal(size=40)),
        "colour": rng.choice(["red", "green", "blue"], 40),
        "on": rng.integers(0, 2, 40),
    }
    _, source, method = configured(from_columns(mixed), data="table:x", pooling="mean")
    init, update = make_train_step(method, dataset_size=40)
    _, terms = jax.jit(update)(init(jax.random.key(0)), rows(source, 16))
    assert np.isfinite(float(terms["loss"]))


def test_flags_that_do_not_act_are_idle():
    assert "library" in default_config("drvi").with_flags(data="sprites").idle()
    assert "library" not in default_config("drvi").with_flags(data="cells").idle()
    assert open_data("cells").schema is not None
