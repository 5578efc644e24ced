"""Networks that see a few images at a time change memory, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_devices import LONG, SOURCE, draw, make, on_one_device, rows_of

from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS, beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import compile_method, in_microbatches


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in METHODS])
def test_every_method_has_the_same_gradient(name):
    method = make(name)
    init, _ = compile_method(method, dataset_size=SOURCE.size)
    params = init(jax.random.key(0)).params
    batch = draw(jax.random.key(1), 16)
    ctx = Context(jax.random.key(2), jax.tree.map(jnp.float32, method.hyperparameters), jnp.int32(3), SOURCE.size)
    for index in range(len(method.objectives)):
        found = []
        for each in (method, in_microbatches(method, 4), in_microbatches(method, 6)):  # 6: with a rest

            def loss(params, each=each, index=index):
                return each.objectives[index].loss(Nets(each.networks, params), batch, ctx)[0]

            found.append(jax.jit(jax.value_and_grad(loss))(params))
        for value, gradient in found[1:]:
            np.testing.assert_allclose(value, found[0][0], rtol=1e-5)
            for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(found[0][1]), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * max(1.0, float(jnp.abs(b).max())))


def test_a_run_in_microbatches():
    rows = rows_of(make("beta-tc-vae", hp={"learning_rate": 1e-4}), microbatch=4)
    for row, want in zip(rows, on_one_device("beta-tc-vae"), strict=True):
        for name in want:
            np.testing.assert_allclose(row[name], want[name], rtol=1e-5, atol=1e-3)


def test_memory_grows_with_the_microbatch_and_not_with_the_batch():
    method = beta_tc_vae(autoencoder("mlp", SOURCE.image_shape, 4))

    def temporary_megabytes(method, batch_size):
        init, update = compile_method(method, dataset_size=SOURCE.size)
        state = jax.eval_shape(init, jax.random.key(0))
        batch = {"image": jax.ShapeDtypeStruct((batch_size, *SOURCE.image_shape), jnp.float32)}
        return jax.jit(update).lower(state, batch).compile().memory_analysis().temp_size_in_bytes / 2**20

    whole, chunked = (temporary_megabytes(m, 4096) for m in (method, in_microbatches(method, 64)))
    smaller = temporary_megabytes(in_microbatches(method, 64), 2048)
    images = 4096 * 16 * 16 * 4 / 2**20
    assert whole > chunked + 50
    assert chunked - smaller < 8 * images  # of the whole batch, only what goes into and comes out of networks


def test_bad_sizes():
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        in_microbatches(make("vae"), 0)
