"""Wasserstein autoencoders (Tolstikhin, Bousquet, Gelly & Schoelkopf, 2018): only the aggregate code matches the prior.

Equation.

    loss = c(x, decoder(z)) + lambda * D( q(z), N(0, I) )

    WAE-MMD:  D = MMD^2, unbiased; kernel inverse multiquadric at seven scales, summed, or Gaussian
    WAE-GAN:  D = mean softplus(-f(z)), f a discriminator with one logit, which is constant here
              d_loss = lambda * [ mean softplus(-f(p)) + mean softplus(f(z)) ],  p ~ N(0, I), z constant

A posterior may shrink to a point: there is no term that keeps code and image apart (no mutual information). The
encoder is deterministic unless encoder="gaussian", which takes a sample as the VAE does. The cost c is a negative
log-likelihood, constants included: with lambda and cost both scaled nothing changes, so lambda belongs to a cost. The
paper's costs are 0.05 |x - G|^2, here Gaussian of scale sqrt(10), and 0.02 |x - G|_1, here Laplace of scale 50.

MMD is that of the (global) batch against as many fresh draws of the prior, and may be negative. In the authors' code
the encoder's first steps match moments only, noise may be added to the images, rates decay, the adversary moves after
the autoencoder, and its input may get log p(z) added; none of this is done here. output="sigmoid" brings the decoder's
output to (0, 1) before the cost, as there.

When to use. For codes that keep all of the image and, together, look like the prior. Not for disentanglement, which
nothing here asks for, nor for a likelihood.

Presets. The defaults are rates and lambda of the authors' configurations. paper: that for dSprites in their code, for
both: 12 latents, lambda 10, rates 1e-3 and 5e-4, 100 epochs of 737,280 images in batches of 100, a sigmoid output, and
an adversary of four layers of 256 with ReLU. Not so the nets: ours are `conv`, theirs DCGAN's with up to 256 channels
and batch normalisation, which no method here has, as it would tie an example's code to its batch.

Measured here. Mutual information 7.28 ± 0.00 of log N = 7.45 nats (VAE 6.85 ± 0.04); squared error 1.95 ± 0.18
(Gaussian kernel), 2.80 ± 0.05 (inverse multiquadric), 3.03 ± 0.22 (GAN), VAE 2.37 ± 0.09
(experiments/wae_information.py, 5 seeds). MIG 0.02 ± 0.04 and 0.02 ± 0.02 (experiments/compare_everything.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import optax

import jaxvae.losses as losses
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method, point
from jaxvae.methods.entry import DSPRITES, Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, Output, gaussian, with_output
from jaxvae.networks.options import WithDiscriminator

Encoder = Literal["deterministic", "gaussian"]


class WAEMMD(NamedTuple):
    """Hyperparameters of the WAE-MMD."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    prior_weight: float = 10.0
    """Weight of the distance between the aggregate posterior and the prior, lambda in the paper."""


class WAEGAN(NamedTuple):
    """Hyperparameters of the WAE-GAN."""

    learning_rate: float = 3e-4
    """Learning rate of Adam."""
    prior_weight: float = 10.0
    """Weight of the distance between the aggregate posterior and the prior, lambda in the paper."""
    discriminator_learning_rate: float = 1e-3
    """Learning rate of the discriminator."""


WAE_COST = {"likelihood": "gaussian", "scale": 10**0.5}
_SETTINGS = {**DSPRITES, **WAE_COST, "network": "conv", "latents": 12, "batch_size": 100, "steps": 737_280}
_SETTINGS |= {"output": "sigmoid"}
_ADVERSARY = {"discriminator": (256,) * 4, "discriminator_activation": "relu"}
PRESETS_MMD = {"paper": Preset(WAEMMD(learning_rate=1e-3), _SETTINGS)}
PRESETS_GAN = {"paper": Preset(WAEGAN(1e-3, discriminator_learning_rate=5e-4), {**_SETTINGS, **_ADVERSARY})}
ADAM = partial(optax.adam, b1=0.5)


def wae_mmd(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = gaussian(10**0.5),
    kernel: Literal["imq", "rbf"] = "imq",
    encoder: Encoder = "deterministic",
    output: Output = "linear",
    hyperparameters: WAEMMD = WAEMMD(),
) -> Method:
    """WAE-MMD: the aggregate code matched to the prior by a kernel distance (Tolstikhin et al., 2018).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood whose negative logarithm is the cost of a reconstruction.
      kernel: Kernel of the distance: inverse multiquadric (imq), or Gaussian with a squared bandwidth equal to the
        number of latents (rbf).
      encoder: Kind of encoder: deterministic (the code is the mean) or gaussian (the code is a sample).
      output: What the cost sees of the decoder's output: the output itself, or its logistic function.
      hyperparameters: Default values; a sweep replaces some of them.
    """
    likelihood = with_output(likelihood, output)

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        z, prior = _codes(net, batch, ctx, encoder)
        latents = z.shape[-1]
        similarity = losses.inverse_multiquadric(latents) if kernel == "imq" else losses.radial_basis(float(latents))
        mmd = losses.mmd_unbiased(z, prior, kernel=similarity, axis_name=ctx.axis_name)
        cost = likelihood.nll(net.decoder(z), batch["x"]).mean()
        return cost + ctx.hyperparameters.prior_weight * mmd, {"reconstruction": cost, "mmd": mmd}

    autoencoder = Objective(loss, AUTOENCODER, ADAM)
    return _encoding(encoder, autoencoder_method("wae-mmd", networks, likelihood, hyperparameters, autoencoder))


def wae_gan(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = gaussian(10**0.5),
    encoder: Encoder = "deterministic",
    output: Output = "linear",
    hyperparameters: WAEGAN = WAEGAN(),
) -> Method:
    """WAE-GAN: the aggregate code matched to the prior by a discriminator (Tolstikhin et al., 2018).

    Args:
      networks: Encoder, decoder, and a discriminator of codes with one logit.
      likelihood: Likelihood whose negative logarithm is the cost of a reconstruction.
      encoder: Kind of encoder: deterministic (the code is the mean) or gaussian (the code is a sample).
      output: What the cost sees of the decoder's output: the output itself, or its logistic function.
      hyperparameters: Default values; a sweep replaces some of them.
    """
    likelihood = with_output(likelihood, output)

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        z, _ = _codes(net, batch, ctx, encoder)
        adversarial = losses.logistic_generator_loss(net.discriminator(z)[:, 0]).mean()
        cost = likelihood.nll(net.decoder(z), batch["x"]).mean()
        terms = {"reconstruction": cost, "adversarial": adversarial}
        return cost + ctx.hyperparameters.prior_weight * adversarial, terms

    def discriminator_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        z, prior = _codes(net, batch, ctx, encoder)
        on_prior, on_codes = net.discriminator(prior)[:, 0], net.discriminator(jax.lax.stop_gradient(z))[:, 0]
        total = losses.logistic_discriminator_loss(on_prior, on_codes).mean()
        accuracy = 0.5 * ((on_prior > 0).mean() + (on_codes < 0).mean())
        return ctx.hyperparameters.prior_weight * total, {"discriminator_accuracy": accuracy}

    autoencoder = Objective(loss, AUTOENCODER, ADAM)
    adversary = Objective(discriminator_loss, ("discriminator",), ADAM, "discriminator_learning_rate")
    method = autoencoder_method("wae-gan", networks, likelihood, hyperparameters, autoencoder, adversary)
    return _encoding(encoder, method)


def _codes(net: Nets, batch: Batch, ctx: Context, encoder: Encoder) -> tuple[jax.Array, jax.Array]:
    """Codes of the batch, and as many fresh draws of the prior."""
    noise, prior = jax.random.split(ctx.key)
    mean, logvar = net.encoder(batch["x"])
    z = mean if encoder == "deterministic" else losses.reparameterize(noise, mean, logvar, axis_name=ctx.axis_name)
    return z, losses.standard_normal(mean.shape[-1]).sample(prior, mean.shape[0], ctx.axis_name)


def _encoding(encoder: Encoder, method: Method) -> Method:
    if encoder == "gaussian":
        return method
    return method._replace(encode=lambda net, batch: point(net.encoder(batch["x"]).mean))


@dataclass(frozen=True)
class Networks(WithDiscriminator):
    """Encoder, decoder, and a discriminator of codes with one output."""

    discriminator_activation: Literal["leaky-relu", "relu"] = "leaky-relu"
    """Activation of the hidden layers of the discriminator: leaky-relu, with a slope of 0.2 below 0, or relu."""

    logits: ClassVar[int] = 1

    @property
    def slope(self) -> float:
        """Of the discriminator's leaky ReLU below 0."""
        return 0.0 if self.discriminator_activation == "relu" else super().slope


def _idle(options: Any) -> dict[str, str]:
    return {"output": "--likelihood gaussian and laplace"} if options.likelihood == "bernoulli" else {}


ENTRY_MMD = Entry("wae-mmd", wae_mmd, WAEMMD, presets=PRESETS_MMD, defaults=WAE_COST, idle=_idle)
ENTRY_GAN = Entry("wae-gan", wae_gan, WAEGAN, networks=Networks, presets=PRESETS_GAN, defaults=WAE_COST, idle=_idle)
