"""Additive decoders: what they are made of, one split at a time, and what they reduce to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from jaxvae.method import Network, Posterior
from jaxvae.networks import DenseLayers, SplitDecoder, autoencoder, with_least_variance

B, K, U, SHAPE = 5, 6, 2, (7,)
Z = jax.random.normal(jax.random.key(0), (B, K))
COVARIATES = jnp.eye(U)[jnp.array([0, 1, 1, 0, 1])]


def plain(covariates=0, shape=SHAPE, network="elu"):
    return autoencoder(network, shape, K + covariates, layers=DenseLayers((8,) if network == "elu" else ()))["decoder"]


def decoder(splits=3, covariates=0, **options):
    return SplitDecoder(plain(covariates), K, splits, covariates=covariates, **options)


@pytest.mark.parametrize("covariates", [0, U])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("splitting", ["map", "mask"])
@pytest.mark.parametrize("pooling", ["logsumexp", "mean"])
def test_one_split_after_another(pooling, splitting, shared, covariates):
    split = decoder(covariates=covariates, pooling=pooling, splitting=splitting, shared=shared)
    params = split.init(jax.random.key(1))
    beside = COVARIATES if covariates else None
    got, parts = jax.jit(lambda p: (split.apply(p, Z, beside), split.parts(p, Z, beside)))(params)
    outputs = []
    for s in range(3):
        own = slice(2 * s, 2 * s + 2)
        if splitting == "map":
            seen = np.asarray(Z)[:, own] @ np.asarray(params["maps"][s])
        else:
            seen = np.zeros((B, K), np.float32)
            seen[:, own] = np.asarray(Z)[:, own]
        seen = np.concatenate([seen, COVARIATES], axis=1) if covariates else seen
        of_split = params["network"] if shared else jax.tree.map(lambda leaf, s=s: leaf[s], params["network"])
        outputs.append(np.asarray(split.decoder.apply(of_split, jnp.asarray(seen))))
    outputs = np.stack(outputs, axis=1).astype(np.float64)
    np.testing.assert_allclose(parts, outputs, rtol=1e-4, atol=1e-5)
    want = outputs.mean(axis=1) if pooling == "mean" else logsumexp(outputs, axis=1) - np.log(3)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_rates_of_the_splits_add_up():
    """exp of the output is the mean of the exps, even where they overflow: nothing leaves log space."""
    linear = Network(lambda key: {}, lambda params, h: 200 * h[:, :3])
    split = SplitDecoder(linear, 3, 3, splitting="mask")
    z = jnp.array([[1.0, -1.0, 1.0]])
    value, slope = jax.value_and_grad(lambda z: split.apply({"network": {}}, z).sum())(z)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    parts = np.asarray(split.parts({"network": {}}, z), np.float64)
    np.testing.assert_allclose(value, (logsumexp(parts, axis=1) - np.log(3)).sum(), rtol=1e-6)


@pytest.mark.parametrize("pooling", ["logsumexp", "mean"])
def test_one_split_with_an_identity_is_the_decoder(pooling):
    split = decoder(splits=1, pooling=pooling)
    params = split.init(jax.random.key(1)) | {"maps": jnp.eye(K)[None]}
    np.testing.assert_allclose(split.apply(params, Z), split.decoder.apply(params["network"], Z), rtol=1e-6)
    masked = decoder(splits=1, pooling=pooling, splitting="mask")
    np.testing.assert_allclose(masked.apply(params, Z), split.apply(params, Z), rtol=1e-6)


def test_the_additive_identity():
    """With mean pooling, a change of one split changes the output by what it changes alone."""
    split = decoder(pooling="mean")
    params = split.init(jax.random.key(1))
    other = Z[::-1]
    both = jnp.concatenate([other[:, :2], Z[:, 2:4], other[:, 4:]], axis=1)
    one, two = (jnp.concatenate([part, Z[:, 2:]], axis=1) for part in (other[:, :2], Z[:, :2]))
    three = jnp.concatenate([Z[:, :4], other[:, 4:]], axis=1)
    f = lambda z: split.apply(params, z)  # noqa: E731
    np.testing.assert_allclose(f(both) - f(two), f(one) - f(two) + f(three) - f(two), atol=1e-5)


def test_splits_start_apart():
    params = decoder(splits=6).init(jax.random.key(1))
    assert len(np.unique(np.asarray(params["maps"]).round(6))) == 36
    assert np.abs(params["maps"]).max() <= 1


def test_pictures():
    split = SplitDecoder(plain(shape=(16, 16, 1), network="conv"), K, 2, "mean", splitting="mask", shared=False)
    params = jax.eval_shape(split.init, jax.random.key(0))
    shapes = jax.eval_shape(lambda p: (split.apply(p, Z), split.parts(p, Z)), params)
    assert [each.shape for each in shapes] == [(B, 16, 16, 1), (B, 2, 16, 16, 1)]


def test_the_centre_of_covariates_is_the_default():
    split = decoder(covariates=U)
    params = split.init(jax.random.key(1))
    np.testing.assert_allclose(split.apply(params, Z), split.apply(params, Z, jnp.full((B, U), 0.5)), rtol=1e-6)
    assert np.abs(split.apply(params, Z) - split.apply(params, Z, COVARIATES)).max() > 1e-3


def test_least_variance():
    encoder = Network(lambda key: {}, lambda params, x: Posterior(x, x))
    x = jnp.array([[-50.0, 0.0, 3.0]])
    mean, logvar = with_least_variance(encoder, 1e-4).apply({}, x)
    np.testing.assert_array_equal(mean, x)
    np.testing.assert_allclose(np.exp(logvar), np.exp(x) + 1e-4, rtol=1e-5)


@pytest.mark.parametrize("splits", [0, 4, 7])
def test_splits_divide_the_latents(splits):
    with pytest.raises(ValueError, match=f"the number of splits must divide 6 latents, got {splits}"):
        decoder(splits=splits)
    with pytest.raises(ValueError, match="max"):
        decoder(pooling="max")


def test_layer_norms_without_parameters():
    """Those of "elu" normalize the features of an example alone, as torch.nn.LayerNorm(elementwise_affine=False)."""
    network = autoencoder("elu", SHAPE, K, layers=DenseLayers((8,)))["decoder"]
    params = network.init(jax.random.key(0))
    assert set(params) == {"Dense_0", "Dense_1"}
    params = jax.tree.map(np.float64, params)
    hidden = np.float64(Z) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    want = hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
    got = network.apply(jax.tree.map(jnp.float32, params), Z)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
