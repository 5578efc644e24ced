"""Networks of the GANs: sizes, published parameters, and layers that learn at one speed."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.networks import attribution_networks, latent_adversarial_networks, translation_networks
from jaxvae.networks.attribution import halved
from jaxvae.networks.equalized import SLOW, EqualizedConv, EqualizedDense, pixel_norm


def count(network):
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0))))


def zeros(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def outputs(networks, name, *inputs):
    params = jax.eval_shape(networks[name].init, jax.random.key(0))
    return jax.eval_shape(networks[name].apply, params, *inputs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("size", "shape"), [("small", (32, 32, 1)), ("small", (16, 24, 3)), ("paper", (112, 112, 1))])
def test_shapes_of_a_map_and_a_critic(size, shape, dtype):
    networks, image = attribution_networks(shape, size, dtype), zeros(2, *shape)
    change, logit = outputs(networks, "map", image), outputs(networks, "critic", image)
    assert (change.shape, change.dtype) == (image.shape, jnp.float32)
    assert (logit.shape, logit.dtype) == ((2,), jnp.float32)


def test_parameters_of_the_published_critic_and_map():
    """By hand: 9 inputs + 1 a filter, 1x1 at the end; the U-Net with 4x4 kernels on its way up, and group norms."""
    networks = attribution_networks((112, 112, 1), "paper")
    widths = [(1, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    assert count(networks["critic"]) == sum((9 * a + 1) * b for a, b in widths) + 257
    level = lambda a, b: 9 * a * b + 2 * b + 9 * b * b + 2 * b  # noqa: E731
    down = level(1, 16) + level(16, 32) + level(32, 64) + level(64, 128)
    up = sum(16 * below * 16 + 16 + level(16 + width, width) for below, width in ((128, 64), (64, 32), (32, 16)))
    assert count(networks["map"]) == down + up + 9 * 16 + 1


def test_the_map_starts_at_zero_and_the_critic_does_not():
    networks = attribution_networks((16, 16, 1))
    image = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)

    @jax.jit
    def changes_and_logits(image):
        change, critic = (networks[name].init(jax.random.key(1)) for name in ("map", "critic"))
        moved = jax.tree.map(lambda leaf: leaf + 0.1, change)
        changes = [networks["map"].apply(params, image) for params in (change, moved)]
        return *changes, networks["critic"].apply(critic, image), networks["critic"].apply(critic, image[:1])

    change, moved, logits, alone = map(np.asarray, changes_and_logits(image))
    np.testing.assert_array_equal(change, 0)
    assert np.ptp(moved) > 0
    assert logits[0] != logits[1]
    np.testing.assert_allclose(alone[0], logits[0], rtol=1e-5)


def test_maxima_of_two_by_two_pixels():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3), np.float32)
    blocks = x.reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 2, 3, 3, 4)
    np.testing.assert_array_equal(jax.jit(halved)(x), blocks.max(-1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("architecture", "shape"), [("mlp", (7, 9, 3)), ("conv", (16, 16, 1)), ("conv", (64, 48, 3)), ("conv", (8, 8, 1))]
)
def test_shapes_of_a_latent_autoencoder(architecture, shape, dtype):
    networks = latent_adversarial_networks(shape, 5, architecture=architecture, dtype=dtype)
    w, image = zeros(2, 5), zeros(2, *shape)
    for name, given, wanted in (
        ("mapping", w, (2, 5)),
        ("decoder", w, image.shape),
        ("encoder", image, (2, 5)),
        ("discriminator", w, (2,)),
    ):
        out = outputs(networks, name, given)
        assert (out.shape, out.dtype) == (wanted, jnp.float32)


def test_parameters_of_the_published_mlps():
    networks = latent_adversarial_networks((28, 28, 1), 50, size="paper")
    assert count(networks["mapping"]) == 6 * 51 * 50
    assert count(networks["decoder"]) == 51 * 1024 + 1025 * 1024 + 1025 * 784
    assert count(networks["encoder"]) == 785 * 1024 + 1025 * 1024 + 1025 * 50
    assert count(networks["discriminator"]) == 2 * 51 * 50 + 51


def test_the_discriminator_is_one_linear_map():
    networks = latent_adversarial_networks((8, 8, 1), 6)
    one, other = np.random.default_rng(1).standard_normal((2, 4, 6), np.float32)
    inputs = np.stack([one, other, 2 * one - 3 * other, 0 * one])

    @jax.jit
    def apply(inputs):
        params = networks["discriminator"].init(jax.random.key(0))
        return jax.vmap(lambda w: networks["discriminator"].apply(params, w))(inputs)

    one, other, mixed, zero = np.asarray(apply(inputs))
    np.testing.assert_allclose(mixed - zero, 2 * (one - zero) - 3 * (other - zero), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, SLOW])
@pytest.mark.parametrize("layer", ["dense", "conv", "larger"])
def test_layers_start_with_outputs_of_one_size(layer, rate):
    """Twice the variance of the inputs, which a leaky ReLU about halves, whatever the rate."""
    modules = {
        "dense": EqualizedDense(400, rate),
        "conv": EqualizedConv(64, rate=rate),
        "larger": EqualizedConv(64, larger=True, rate=rate),
    }
    shape = (200, 300) if layer == "dense" else (8, 16, 16, 32)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    out = np.asarray(jax.jit(lambda x: modules[layer].init_with_output(jax.random.key(1), x)[0])(x))
    inner = out if layer == "dense" else out[:, 2:-2, 2:-2]
    np.testing.assert_allclose(inner.std(), 2**0.5, rtol=0.03)


@pytest.mark.parametrize("rate", [1.0, SLOW])
def test_scaled_weights_under_adam_are_scaled_steps(rate):
    """The same function at every step as ALAE's own way: scaled weights, and Adam's steps times the scale."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((32, 6), np.float32), rng.standard_normal((32, 3), np.float32)
    layer = EqualizedDense(3, rate)
    adam = optax.scale_by_adam(b1=0.0, b2=0.99, eps=0.0)

    def train(params, predict, scales):
        def update(state, _):
            params, memory = state
            gradient = jax.grad(lambda p: ((predict(p) - target) ** 2).mean())(params)
            with jax.numpy_dtype_promotion("standard"):
                step, memory = adam.update(gradient, memory)
            params = jax.tree.map(lambda p, s, k: p - 0.01 * k * s, params, step, scales)
            return (params, memory), predict(params)

        return jax.lax.scan(update, (params, adam.init(params)), length=10)[1]

    @jax.jit
    def both(key):
        ours = layer.init(key, x)["params"]
        scale = rate * (2 / 6) ** 0.5
        theirs = {"kernel": scale * ours["kernel"], "bias": rate * ours["bias"]}
        scales = {"kernel": scale, "bias": rate}
        one = train(ours, lambda p: layer.apply({"params": p}, x), {"kernel": 1.0, "bias": 1.0})
        return one, train(theirs, lambda p: x @ p["kernel"] + p["bias"][None], scales)

    one, other = both(jax.random.key(2))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_pixel_norm():
    z = np.random.default_rng(0).standard_normal((5, 7), np.float32)
    square = (z.astype(np.float64) ** 2).mean(-1)
    normed, of_large, of_zero = map(np.asarray, jax.jit(jax.vmap(pixel_norm))(np.stack([z, 1000 * z, 0 * z])))
    np.testing.assert_allclose((normed**2).mean(-1), square / (square + 1e-8), rtol=1e-5)
    np.testing.assert_allclose(of_large, normed, rtol=1e-5)
    assert np.isfinite(of_zero).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: attribution_networks((30, 32, 1)), "divisible by 4, got 30x32"),
        (lambda: attribution_networks((32, 32, 1), "huge"), "small or paper, got 'huge'"),
        (lambda: latent_adversarial_networks((8, 8, 1), 0), "at least 1 latent"),
        (lambda: latent_adversarial_networks((8, 8, 1), architecture="rnn"), "mlp or conv"),
        (
            lambda: latent_adversarial_networks((9, 8, 1), architecture="conv"),
            "at least 8 pixels, got 9x8",
        ),
    ],
)
def test_impossible_networks_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("size", "shape", "content", "latents"),
    [("small", (32, 24, 3), (8, 6, 32), 12), ("paper", (128, 128, 1), (32, 32, 64), 64)],
)
def test_shapes_of_a_translation(size, shape, content, latents, dtype):
    networks = translation_networks(shape, size, dtype)
    image, parts, attribute = zeros(2, *shape), zeros(2, *content), zeros(2, latents)
    for name, given, wanted in (
        ("content", (image,), [parts.shape]),
        ("attribute", (image,), [attribute.shape] * 2),
        ("classifier", (attribute,), [(2, 2)]),
        ("decoder", (parts, attribute), [image.shape]),
        ("discriminator", (image,), [(2,), (2, 2)]),
        ("random_discriminator", (image,), [(2,), (2, 2)]),
        ("content_discriminator", (parts,), [(2, 2)]),
    ):
        out = jax.tree.leaves(outputs(networks, name, *given))
        assert [(leaf.shape, leaf.dtype) for leaf in out] == [(shape, jnp.float32) for shape in wanted]
    if size == "paper":
        # 3x3 (16), two of stride 2 (32, 64) and four residual blocks, with a scale and an offset per norm.
        encoder = 10 * 16 + (16 * 16 + 1) * 32 + 64 + (16 * 32 + 1) * 64 + 128 + 8 * ((9 * 64 + 1) * 64 + 128)
        assert count(networks["content"]) == encoder
        widths = (1, 16, 32, 64, 128, 256, 256)
        layers = sum((9 * a + 1) * b for a, b in pairwise(widths))
        assert count(networks["discriminator"]) == layers + 3 * 257
    with pytest.raises(ValueError, match="need image sides divisible by 8, got 30x32"):
        translation_networks((30, 32, 1))
    with pytest.raises(ValueError, match="small or paper"):
        translation_networks((32, 32, 1), "medium")
