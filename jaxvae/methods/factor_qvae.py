"""FactorQVAE (Baykal, Kandemir & Unal, 2024): one short list of values for all latents, and their total correlation.

Equation. With the code x of the encoder and one list of K values e for all latents,

    p_jk = softmax_k( -(x_j - e_k)^2 )                           a choice of values for latent j
    w_jk = softmax_k( (-(x_j - e_k)^2 + g_jk) / temperature )    g standard Gumbel noise, `relaxed_value`
    z_j  = sum_k w_jk e_k
    loss = -log p(x|z) / P + kl_weight mean_j KL( p_j || uniform ) + gamma TC(w)
    TC   = mean_b [ l_0(w_b) - l_1(w_b) ]                        logits of the discriminator, here constant

P is the number of values of an example: the authors' reconstruction is a mean over pixels. The discriminator sees the
weights of all latents, latents x K numbers, and is trained as that of the FactorVAE: on the weights of one batch, and
on those of a second, independent batch whose latents are permuted over the batch, each with all of its K weights. The
temperature falls as exp(-temperature_decay step), down to 0.1; step counts batches, and the authors' counter may count
each of them twice. What is encoded, and thus what metrics see, is the value that is nearest to x, without noise.

When to use. As the QLAE, if latents should also be independent, and share their values. Not where time counts: there is
a second network to train, with hundreds of inputs.

Presets. The defaults are the authors' weights and rates for Shapes3D, with a smaller discriminator. paper: these on
rooms of 64 x 64, with twice as many latents as factors, their discriminator, and their squared error, which is a
gaussian likelihood with a variance of 1/2; our `conv` networks take the place of their much larger residual ones.
mpi3d, isaac3d: the weights and numbers of latents that they have for these data sets, on rooms. Their batch of 512 is
two of 256 here. Their cosine schedule ends at 1.25e-6, ours at 0.

Measured here. After 1,000 steps with a Bernoulli likelihood, InfoM is 0.28 ± 0.09 on upright sprites and 0.48 ± 0.08
on small rooms (QLAE: 0.50 ± 0.07 and 0.53 ± 0.04), at a squared error of 0.0214 ± 0.0114 and 0.0042 ± 0.0009, where the
QLAE has 0.0088 ± 0.0002 and 0.0058 ± 0.0006. The paper's claim that it beats the QLAE does not show
(experiments/quantised_codes.py, 5 seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.losses import (
    density_ratio_loss,
    density_ratio_tc,
    kl_uniform,
    nearest_value,
    permute_dims,
    relaxed_value,
    value_logits,
)
from jaxvae.losses.quantise import Relaxed
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method, point
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks import discriminator, shared_values
from jaxvae.networks.options import Examples, WithDiscriminator


class FactorQVAE(NamedTuple):
    """Hyperparameters of the FactorQVAE."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    kl_weight: float = 1e-3
    """Weight of the KL to equally probable values, a mean over latents, >= 0."""
    gamma: float = 1e-4
    """Weight of the total correlation, >= 0."""
    temperature: float = 1.0
    """Temperature of the choice of values at the start, > 0."""
    temperature_decay: float = 1e-5
    """Rate at which the temperature falls, per step, >= 0."""
    discriminator_learning_rate: float = 1e-3
    """Learning rate of the discriminator."""


LEAST_TEMPERATURE = 0.1
_PAPER = {
    "data": "rooms",
    "image_size": 64,
    "network": "conv",
    "latents": 12,
    "batch_size": 256,
    "steps": 50_000,
    "schedule": "cosine",
    "likelihood": "gaussian",
    "scale": 0.5**0.5,
    "discriminator": (1000,) * 5,
}
PRESETS = {
    "paper": Preset(FactorQVAE(), _PAPER),
    "mpi3d": Preset(FactorQVAE(kl_weight=5e-5, gamma=1e-6), {**_PAPER, "latents": 14}),
    "isaac3d": Preset(FactorQVAE(kl_weight=5e-5, gamma=5e-5), {**_PAPER, "latents": 18}),
}


def factor_qvae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    batches: Literal["two", "one"] = "two",
    hyperparameters: FactorQVAE = FactorQVAE(),
) -> Method:
    """FactorQVAE: latents that share a list of values, and their total correlation (Baykal et al., 2024).

    Args:
      networks: Encoder, decoder, values of `jaxvae.networks.shared_values`, and a discriminator of latents x values
        inputs with two logits.
      likelihood: Likelihood of an image given its code.
      batches: Number of batches per step: with two, the permuted weights come from a second, independent batch
        ("fresh_x"); with one, from the same batch as the weights they are compared with.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight or decay, or a temperature that is not positive.
    """
    for name in ("kl_weight", "gamma", "temperature_decay"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} must be >= 0, got {getattr(hyperparameters, name)}")
    if hyperparameters.temperature <= 0:
        raise ValueError(f"the temperature must be > 0, got {hyperparameters.temperature}")

    def relaxed(net: Nets, x: jax.Array, key: jax.Array, ctx: Context) -> tuple[jax.Array, Relaxed]:
        """Logits of the values, and a random mixture of the values."""
        hp = ctx.hyperparameters
        falling = hp.temperature * jnp.exp(-hp.temperature_decay * ctx.step)
        least = jnp.minimum(hp.temperature, LEAST_TEMPERATURE)
        logits, values = value_logits(net.encoder(x).mean, net.values()), net.values()
        temperature = jnp.maximum(falling, least)
        return logits, relaxed_value(key, logits, values, temperature=temperature, axis_name=ctx.axis_name)

    def told(net: Nets, weights: jax.Array) -> jax.Array:
        return net.discriminator(weights.reshape(len(weights), -1))

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        logits, (z, weights) = relaxed(net, batch["x"], ctx.key, ctx)
        reconstruction = likelihood.nll(net.decoder(z), batch["x"]).mean()
        kl = kl_uniform(logits).mean()
        tc = density_ratio_tc(told(net, weights)).mean()
        total = reconstruction / batch["x"][0].size + hp.kl_weight * kl + hp.gamma * tc
        return total, {"reconstruction": reconstruction, "kl_per_latent": kl, "total_correlation": tc}

    def discriminator_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        noise, noise2, permutation = jax.random.split(ctx.key, 3)
        weights = jax.lax.stop_gradient(relaxed(net, batch["x"], noise, ctx)[1].weights)
        other = relaxed(net, batch["fresh_x"], noise2, ctx)[1].weights if batches == "two" else weights
        # One permutation for each latent, whatever the value.
        permute = jax.vmap(partial(permute_dims, permutation, axis_name=ctx.axis_name), in_axes=2, out_axes=2)
        logits, logits_permuted = told(net, weights), told(net, permute(other))
        right = (density_ratio_tc(logits) > 0).mean() + (density_ratio_tc(logits_permuted) < 0).mean()
        return density_ratio_loss(logits, logits_permuted).mean(), {"discriminator_accuracy": 0.5 * right}

    method = autoencoder_method(
        "factor-qvae",
        networks,
        likelihood,
        hyperparameters,
        Objective(loss, (*AUTOENCODER, "values")),
        Objective(discriminator_loss, ("discriminator",), learning_rate="discriminator_learning_rate"),
        needs=("x", "fresh_x") if batches == "two" else ("x",),
    )

    def encode(net: Nets, batch: Batch) -> jax.Array:
        return nearest_value(net.encoder(batch["x"]).mean, net.values()).value

    return method._replace(encode=lambda net, batch: point(encode(net, batch)), quantised=True)


@dataclass(frozen=True)
class Networks(WithDiscriminator):
    """Encoder, decoder, a list of values, and a discriminator of their weights."""

    num_values: int = 64
    """Number of values that the latents share."""

    def make(self, source: Examples) -> dict[str, Network]:
        """Builds an encoder, a decoder, a list of values and a discriminator."""
        inputs = self.latents * self.num_values
        critic = discriminator(inputs, self.logits, self.discriminator, self.jax_dtype, self.slope)
        return {**self.autoencoder(source), "values": shared_values(self.num_values), "discriminator": critic}


ENTRY = Entry("factor-qvae", factor_qvae, FactorQVAE, networks=Networks, presets=PRESETS)
