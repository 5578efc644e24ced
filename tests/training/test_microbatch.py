"""Networks that see a few images at a time change memory, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_devices import SOURCE, draw, make, on_one_device, rows_of, source_of

from jaxvae.method import Context, Method, Nets, Network, Objective
from jaxvae.methods import METHODS, beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import in_microbatches, make_train_step

QUICK = ("factor-vae", "oi-vae")
"""A network of codes beside those of images, and one of several outputs; what cuts batches knows nothing of methods."""
EXAMPLES = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def bilinear(seen):
    """Two inputs and a tree of two outputs, of each example alone; `seen` gets the number of examples of every call."""

    def apply(params, x, y):
        seen.append(len(x))
        return {"product": jnp.tanh(x @ params) * y, "sum": (x + y).sum(axis=1)}

    return Network(lambda key: jax.random.normal(key, (3, 3)), apply)


def applied(network, size):
    """Outputs and gradient of the network as a method in microbatches of that size has it."""
    method = Method("m", {"a": network}, (), (Objective(lambda *_: (0.0, {}), ("a",)),))
    network = in_microbatches(method, size).networks["a"]
    params = network.init(jax.random.key(0))
    inputs = EXAMPLES, 1 + EXAMPLES[::-1]

    def loss(params):
        outputs = network.apply(params, *inputs)
        return (outputs["product"] ** 2).sum() + (outputs["sum"] ** 3).sum(), outputs

    gradient, outputs = jax.grad(loss, has_aux=True)(params)
    return outputs, gradient


@pytest.mark.parametrize(
    ("size", "calls"), [(8, {8}), (9, {8}), (4, {4}), (3, {3, 2}), (1, {1})], ids=lambda value: str(value)
)
def test_a_network_sees_so_many_examples_at_a_time(size, calls):
    seen = []
    (outputs, gradient), (whole, whole_gradient) = applied(bilinear(seen), size), applied(bilinear([]), 100)
    assert set(seen) == calls
    for name, output in whole.items():
        np.testing.assert_allclose(outputs[name], output, rtol=1e-6)
    np.testing.assert_allclose(gradient, whole_gradient, rtol=1e-5, atol=1e-6)


def test_a_network_without_inputs_is_left_alone():
    method = Method("m", {"a": Network(lambda key: jnp.ones(3), lambda params: 2 * params)}, (), ())
    np.testing.assert_array_equal(in_microbatches(method, 2).networks["a"].apply(jnp.ones(3)), 2)


def layer_of(name):
    return (
        name
        if name == QUICK[1]
        else pytest.param(name, marks=pytest.mark.process if name in QUICK else pytest.mark.slow)
    )


@pytest.mark.parametrize("name", [layer_of(name) for name in METHODS])
def test_every_method_has_the_same_gradient(name):
    method = make(name)
    init, _ = make_train_step(method, dataset_size=SOURCE.size)
    params = jax.jit(init)(jax.random.key(0)).params
    batch = draw(jax.random.key(1), 16)
    ctx = Context(jax.random.key(2), jax.tree.map(jnp.float32, method.hyperparameters), jnp.int32(3), SOURCE.size)
    for index in range(len(method.objectives)):
        found = []
        for each in (method, in_microbatches(method, 6)):  # with a rest

            def loss(params, each=each, index=index):
                return each.objectives[index].loss(Nets(each.networks, params), batch, ctx)[0]

            found.append(jax.jit(jax.value_and_grad(loss))(params))
        (value, gradient), (chunked, chunked_gradient) = found
        np.testing.assert_allclose(chunked, value, rtol=1e-5)
        for a, b in zip(jax.tree.leaves(chunked_gradient), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.process
def test_a_run_in_microbatches():
    rows = rows_of(make("beta-tc-vae", hp={"learning_rate": 1e-4}), source_of("beta-tc-vae"), microbatch=4)
    for row, want in zip(rows, on_one_device("beta-tc-vae"), strict=True):
        for name in want:
            np.testing.assert_allclose(row[name], want[name], rtol=1e-5, atol=1e-3)


@pytest.mark.process
def test_memory_grows_with_the_microbatch_and_not_with_the_batch():
    method = beta_tc_vae(autoencoder("mlp", SOURCE.event_shape, 4))

    def temporary_megabytes(method, batch_size):
        init, update = make_train_step(method, dataset_size=SOURCE.size)
        state = jax.eval_shape(init, jax.random.key(0))
        batch = {"x": jax.ShapeDtypeStruct((batch_size, *SOURCE.event_shape), jnp.float32)}
        return jax.jit(update).lower(state, batch).compile().memory_analysis().temp_size_in_bytes / 2**20

    whole, chunked = (temporary_megabytes(m, 4096) for m in (method, in_microbatches(method, 64)))
    smaller = temporary_megabytes(in_microbatches(method, 64), 2048)
    images = 4096 * 16 * 16 * 4 / 2**20
    assert whole > chunked + 50
    assert chunked - smaller < 8 * images  # of the whole batch, only what goes into and comes out of networks


def test_bad_sizes():
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        in_microbatches(make("vae"), 0)
