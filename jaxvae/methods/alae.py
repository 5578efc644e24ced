"""ALAE (Pidhorskyi, Adjeroh & Doretto, 2020): a GAN whose discriminator holds an encoder that inverts its generator.

Equation.

    generator      G(F(z)),  z ~ N(0, I)           discriminator   D(E(x))

    critic_loss       = mean[ softplus(-D(E(x))) + softplus(D(E(G(F(z))))) ] + gamma / 2 mean |grad_x D(E(x))|^2
    generator_loss    = mean softplus(-D(E(G(F(z)))))
    reciprocity_loss  = mean over examples and latents of ( F(z) - E(G(F(z))) )^2

E, D minimise the first, then F, G the second, then E, G the third, each with z of its own. The code of an image is
w = E(x), on a space whose distribution F is free to shape; images are compared there and not by their pixels. In the
last, F(z) is constant. In the authors' code F moves with it (moves_mapping="yes"), and D is stepped there too, on
gradients of zero, by which its second moments decay by 1 % once more (steps_discriminator="yes"). Objectives share
Adam's moments of a network they both train, as theirs. Images are brought to [-1, 1], which gamma = 10 belongs to.

What encodes, decodes and samples are running averages of the weights, with a half-life of 10,000 images at batches of
128: an objective like any other, whose gradient is the distance to the weights. The authors' averages start as copies
of the weights, these as networks of their own, which are forgotten after ten half-lives.

When to use. For samples, with codes of real images. Not for reconstructions pixel by pixel, nor for short runs.

Presets. The defaults are those of the authors' MLPs, with the paper's rule of what the last objective moves. paper:
these MLPs for MNIST (50 latents, batches of 128, 600 epochs), on sprites of 32 pixels here.

Measured here. Digits: the error in the code falls 14 ± 21 times, to 0.09 ± 0.07 of its variance; a classifier sees the
same digit in 0.77 ± 0.20 of the reconstructions (VAE 0.99) (experiments/latent_reciprocity.py, 3 seeds). Upright
sprites, 3,000 updates: squared error 7 ± 16, MIG 0.03 ± 0.02 (experiments/compare_everything.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae.losses import (
    code_covariance,
    logistic_discriminator_loss,
    logistic_generator_loss,
    r1_penalty,
    standard_normal,
)
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import point
from jaxvae.methods.entry import Entry, Preset
from jaxvae.networks import latent_adversarial_networks
from jaxvae.networks.options import Examples, SizedNetworks


class ALAE(NamedTuple):
    """Hyperparameters of the ALAE."""

    learning_rate: float = 2e-3
    """Learning rate of Adam."""
    r1_weight: float = 10.0
    """Weight of the penalty on the slope of the critic at real images (gamma in the paper), >= 0."""
    averaging_rate: float = 0.0088
    """Share of the weights that enters their running average at each step: 1 - 2^(-batch size / 10,000)."""


_PAPER = {"data": "sprites", "image_size": 32, "network": "mlp", "net_size": "paper", "steps": 280_000}
PRESETS = {"paper": Preset(ALAE(), {**_PAPER, "batch_size": 128})}
AVERAGED = ("mapping", "decoder", "encoder")


def alae(
    networks: Mapping[str, Network],
    *,
    moves_mapping: Literal["no", "yes"] = "no",
    steps_discriminator: Literal["no", "yes"] = "no",
    hyperparameters: ALAE = ALAE(),
) -> Method:
    """ALAE: a GAN with an encoder inside its discriminator, reciprocal in the code (Pidhorskyi et al., 2020).

    Args:
      networks: Mapping, decoder, encoder and discriminator, of `jaxvae.networks.latent_adversarial_networks`.
      moves_mapping: Whether the reciprocity loss also trains the mapping, as in the authors' code: no or yes.
      steps_discriminator: Whether the reciprocity also steps the discriminator, on gradients of zero, as in the
        authors' code: no or yes.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight, or an averaging rate that is not in (0, 1].
    """
    if hyperparameters.r1_weight < 0 or not 0 < hyperparameters.averaging_rate <= 1:
        raise ValueError(f"r1_weight must be >= 0 and averaging_rate in (0, 1], got {hyperparameters}")

    def draw(net: Nets, batch: Batch, ctx: Context) -> jax.Array:
        """As many w as images."""
        latents = jax.eval_shape(net.encoder, batch["x"]).shape[-1]
        return net.mapping(standard_normal(latents).sample(ctx.key, len(batch["x"]), ctx.axis_name))

    def critic_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        def critic(x: jax.Array) -> jax.Array:
            return net.discriminator(net.encoder(x))

        real, fake = 2 * batch["x"] - 1, jax.lax.stop_gradient(net.decoder(draw(net, batch, ctx)))
        adversarial = logistic_discriminator_loss(critic(real), critic(fake)).mean()
        penalty = r1_penalty(critic, real).mean()
        return adversarial + ctx.hyperparameters.r1_weight * penalty, {"r1": penalty}

    def generator_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        w = draw(net, batch, ctx)
        spread = jnp.diag(code_covariance(jax.lax.stop_gradient(w), axis_name=ctx.axis_name)).mean()
        return logistic_generator_loss(net.discriminator(net.encoder(net.decoder(w)))).mean(), {"w_variance": spread}

    def reciprocity_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        w = draw(net, batch, ctx)
        target = jax.lax.stop_gradient(w)
        error = ((target - net.encoder(net.decoder(w if moves_mapping == "yes" else target))) ** 2).mean()
        return error, {}

    def average(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        weights = {name: jax.lax.stop_gradient(net.params(name)) for name in AVERAGED}
        averages = {name: net.params(f"average_{name}") for name in AVERAGED}
        squares = jax.tree.map(lambda one, other: ((one - other) ** 2).sum(), averages, weights)
        return 0.5 * jnp.stack(jax.tree.leaves(squares)).sum(), {}

    adam = partial(optax.adam, b1=0.0, b2=0.99)
    also = {"mapping": moves_mapping, "discriminator": steps_discriminator}
    moved = ("encoder", "decoder", *(name for name, wanted in also.items() if wanted == "yes"))
    averages = {f"average_{name}": networks[name] for name in AVERAGED}
    return Method(
        name="alae",
        networks={**networks, **averages},
        hyperparameters=hyperparameters,
        objectives=(
            Objective(critic_loss, ("encoder", "discriminator"), adam),
            Objective(generator_loss, ("mapping", "decoder"), adam),
            Objective(reciprocity_loss, moved, adam),
            Objective(average, tuple(averages), optax.sgd, "averaging_rate"),
        ),
        encode=lambda net, batch: point(net.average_encoder(2 * batch["x"] - 1)),
        decode=lambda net, w: (net.average_decoder(w) + 1) / 2,
        sample_prior=lambda net, key, batch: net.average_mapping(
            standard_normal(net.average_encoder(batch["x"]).shape[-1]).sample(key, len(batch["x"]))
        ),
        sequential=True,
    )


@dataclass(frozen=True)
class Networks(SizedNetworks):
    """Mapping, decoder, encoder and discriminator."""

    network: Literal["mlp", "conv"] = "mlp"
    """Architecture of decoder and encoder."""
    latents: int = 50
    """Number of latents."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The networks for images."""
        return latent_adversarial_networks(
            source.event_shape, self.latents, architecture=self.network, size=self.net_size, dtype=self.jax_dtype
        )


ENTRY = Entry("alae", alae, ALAE, networks=Networks, presets=PRESETS)
