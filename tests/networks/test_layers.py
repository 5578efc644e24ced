"""The CPU's forms of the convolutions, against the formula, against Flax, and under every transformation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from jaxvae.networks import autoencoder, layers
from jaxvae.networks.layers import Conv, ConvTranspose, double, halve, in_parts


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def halve_oracle(x, kernel):
    """y[o] = sum_t x[2 o + t - before] kernel[t], zero outside, in float64; before = (k - 2) / 2 for even sides."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, (batch, height, width, _) = kernel.shape[0], x.shape
    padded = np.pad(x, ((0, 0), ((size - 2) // 2,) * 2, ((size - 2) // 2,) * 2, (0, 0)))
    y = np.zeros((batch, height // 2, width // 2, kernel.shape[3]))
    for i, j in np.ndindex(height // 2, width // 2):
        y[:, i, j] = np.einsum("brsc,rscf->bf", padded[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size], kernel)
    return y


def double_oracle(x, kernel):
    """Every input adds its kernel's worth at 2 i - 1 + t; Flax and lax run the taps the other way round."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    batch, height, width, _ = x.shape
    y = np.zeros((batch, 2 * height + 2, 2 * width + 2, kernel.shape[3]))
    for i, j in np.ndindex(height, width):
        y[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("bc,rscf->brsf", x[:, i, j], kernel[::-1, ::-1])
    return y[:, 1:-1, 1:-1]


CASES = {
    "halve, 2x2": (halve, halve_oracle, (3, 6, 8, 5), (2, 2, 5, 4)),
    "halve, 4x4": (halve, halve_oracle, (3, 6, 8, 5), (4, 4, 5, 4)),
    "halve, 4x4, one channel": (halve, halve_oracle, (3, 6, 8, 1), (4, 4, 1, 4)),
    "halve, 4x4, one image": (halve, halve_oracle, (1, 2, 2, 6), (4, 4, 6, 1)),
    "double": (double, double_oracle, (3, 4, 6, 5), (4, 4, 5, 6)),
    "double, one channel": (double, double_oracle, (3, 4, 6, 5), (4, 4, 5, 1)),
}
every_case = pytest.mark.parametrize("name", CASES)


def close(a, b, tolerance=1e-5):
    for left, right in zip(*(map(np.asarray, jax.tree.leaves(each)) for each in (a, b)), strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * max(1.0, float(abs(right).max())))


def in_plain_lax(product, monkeypatch):
    """What an accelerator runs."""

    def plain(x, kernel):
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: "gpu")
            return product(x, kernel)

    return plain


@every_case
def test_against_the_formula(name):
    product, oracle, *shapes = CASES[name]
    x, kernel = map(jnp.asarray, arrays(*shapes))
    expected = oracle(x, kernel)
    close(product(x, kernel), expected)
    close(jax.jit(product)(x, kernel), expected)


@every_case
def test_every_derivative_is_that_of_plain_lax(name, monkeypatch):
    product, _, *shapes = CASES[name]
    plain = in_plain_lax(product, monkeypatch)
    operands = arrays(*shapes)
    directions = arrays(*shapes, seed=1)

    def derivatives(f):
        def loss(x, kernel):
            return jnp.sin(f(x, kernel)).sum()

        gradient = jax.grad(loss, (0, 1))
        return {
            "gradient": gradient(*operands),
            "of the kernel alone": jax.grad(loss, 1)(*operands),
            "forward": jax.jvp(f, operands, directions),
            "forward over reverse": jax.jvp(gradient, operands, directions)[1],
            "reverse over reverse": jax.grad(lambda *a: sum((g**2).sum() for g in gradient(*a)))(*operands),
            "Jacobian, forward": jax.jacfwd(f, 1)(*operands),
            "Jacobian, reverse": jax.jacrev(f, 1)(*operands),
            "many kernels": jax.vmap(gradient)(*[jnp.stack([a, 2 * a]) for a in operands]),
            "recomputed": jax.grad(jax.checkpoint(loss), (0, 1))(*operands),
        }

    ours, theirs = jax.jit(lambda: [derivatives(product), derivatives(plain)])()
    for kind, expected in theirs.items():
        close(ours[kind], expected, 1e-4)


@pytest.mark.parametrize("name", ["halve, 2x2", "halve, 4x4", "double, one channel"])
def test_a_gradient_compiled_or_not(name):
    product, _, *shapes = CASES[name]
    gradient = jax.grad(lambda x, kernel: jnp.sin(product(x, kernel)).sum(), (0, 1))
    operands = list(map(jnp.asarray, arrays(*shapes)))
    close(jax.jit(gradient)(*operands), gradient(*operands), 1e-4)


@every_case
def test_sharded_is_whole(name):
    """Whether or not shard_map checks what varies over its devices."""
    product, _, (_, *image), kernel_shape = CASES[name]
    x, kernel = arrays((4, *image), kernel_shape)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def loss(x, kernel):
        return jnp.sin(product(x, kernel)).sum()

    def sharded(check):
        def of_a_part(x, kernel):
            value, gradient = jax.value_and_grad(lambda k: jax.lax.psum(loss(x, k), "data"))(kernel)
            return value, gradient if check else jax.lax.psum(gradient, "data") / 4

        return jax.shard_map(of_a_part, mesh=mesh, in_specs=(P("data"), P()), out_specs=P(), check_vma=check)

    whole = jax.jit(jax.value_and_grad(loss, 1))(x, kernel)
    for parts in jax.jit(lambda x, kernel: [sharded(check)(x, kernel) for check in (True, False)])(x, kernel):
        close(parts, whole, 1e-4)


@jax.jit
def sides_of_the_adjoint(x, kernel, y):
    return jnp.vdot(halve(x, kernel), y), jnp.vdot(x, double(y, kernel[::-1, ::-1].swapaxes(2, 3)))


@settings(max_examples=8)
@given(
    shape=st.sampled_from([(1, 4, 1, 6), (3, 2, 5, 1), (4, 3, 4, 5)]),
    seed=st.integers(0, 2**31 - 1),
)
def test_doubling_is_the_adjoint_of_halving(shape, seed):
    height, width, few, many = shape
    x, kernel, y = arrays((2, 2 * height, 2 * width, few), (4, 4, few, many), (2, height, width, many), seed=seed)
    np.testing.assert_allclose(*sides_of_the_adjoint(x, kernel, y), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("ours", "flax", "shape"),
    [
        (Conv(7, 4), nn.Conv(7, (4, 4), (2, 2)), (2, 8, 6, 3)),
        (Conv(7, 2), nn.Conv(7, (2, 2), (2, 2)), (2, 8, 6, 3)),
        (Conv(7, 4), nn.Conv(7, (4, 4), (2, 2)), (2, 7, 5, 3)),
        (Conv(7, 3), nn.Conv(7, (3, 3), (2, 2)), (2, 8, 6, 3)),
        (ConvTranspose(7), nn.ConvTranspose(7, (4, 4), (2, 2)), (2, 4, 3, 5)),
    ],
    ids=["4x4", "2x2", "odd sides", "3x3", "transposed"],
)
def test_they_are_flax_layers(ours, flax, shape, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    (x,) = arrays(shape)
    key = jax.random.key(0)
    params = jax.eval_shape(ours.init, key, x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(flax.init, key, x))

    @jax.jit
    def outputs(x):
        params = ours.init(key, x)
        params["params"]["bias"] += 1.5
        with jax.numpy_rank_promotion("allow"):
            return ours.apply(params, x), flax.apply(params, x)

    close(*outputs(x))


@every_case
def test_bfloat16_stays_close_to_float32(name):
    product, oracle, *shapes = CASES[name]
    x, kernel = (a.astype(jnp.bfloat16) for a in arrays(*shapes))
    gradient = jax.grad(lambda *a: product(*a).astype(jnp.float32).sum(), (0, 1))
    y, *gradients = jax.jit(lambda *a: (product(*a), *gradient(*a)))(x, kernel)
    assert {g.dtype for g in (y, *gradients)} == {jnp.dtype(jnp.bfloat16)}
    close(np.asarray(y, np.float32), oracle(x, kernel), 0.02)


@pytest.mark.parametrize("batch", [1, 15, 16, 17, 33, 130])
def test_parts_are_the_whole(batch, monkeypatch):
    (x,) = arrays((batch, 3))
    sizes = []

    def double_of(part):
        sizes.append(len(part))
        return 2 * part

    np.testing.assert_array_equal(jax.jit(lambda x: in_parts(double_of, x))(x), 2 * x)
    assert sum(sizes) == batch
    assert len(sizes) <= layers.MOST_PARTS
    assert max(sizes) <= max(layers.IMAGES, -(-batch // layers.MOST_PARTS))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    sizes.clear()
    jax.eval_shape(lambda x: in_parts(double_of, x), x)
    assert sizes == [batch]


@pytest.mark.parametrize("architecture", ["conv", pytest.param("burgess", marks=pytest.mark.process)])
def test_networks_do_not_depend_on_the_parts(architecture, monkeypatch):
    networks = autoencoder(architecture, (16, 16, 3), 4)
    (image,) = arrays((5, 16, 16, 3))
    params = jax.jit(lambda key: {name: network.init(key) for name, network in networks.items()})(jax.random.key(0))

    def loss(params):
        code = networks["encoder"].apply(params["encoder"], image).mean
        return jnp.sin(networks["decoder"].apply(params["decoder"], code)).sum()

    whole = jax.jit(jax.value_and_grad(loss))(params)
    monkeypatch.setattr(layers, "IMAGES", 2)
    close(jax.jit(jax.value_and_grad(lambda params: loss(params)))(params), whole, 1e-4)


def test_the_mesh_says_the_platform(monkeypatch):
    encoder = autoencoder("conv", (16, 16, 3), 4)["encoder"]
    params = jax.eval_shape(encoder.init, jax.random.key(0))

    def program():
        jaxpr = jax.make_jaxpr(lambda *given: encoder.apply(*given))(  # traced anew
            params, jax.ShapeDtypeStruct((32, 16, 16, 3), jnp.float32)
        )
        return [(str(each.primitive), [out.aval.shape for out in each.outvars]) for each in jaxpr.eqns]

    here = program()
    meshes = [
        AbstractMesh((1,), ("data",), (AxisType.Auto,), abstract_device=AbstractDevice(kind, 1, kind))
        for kind in ("cpu", "tpu")
    ]
    with jax.sharding.use_abstract_mesh(meshes[1]):
        there = program()
    assert there != here
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert program() == there
    with jax.sharding.use_abstract_mesh(meshes[0]):
        assert program() == here
