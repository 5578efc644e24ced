"""ML-VAE and Group-VAE (Bouchacourt et al., 2018; Hosoya, 2019): groups of images that share a content.

Equation.

    loss = mean over groups of 1/M [ sum_n -log p(x_n|c, s_n) + beta KL ]
    KL   = KL( q(c|group) || N(0, I) ) + sum_n KL( q(s_n|x_n) || N(0, I) )

The first `content` latents are c, one code for all M images of a group, the others s_n, a style of each. q(c|group)
averages the images' own posteriors: "gvae" their means and variances, "ml-vae" is the product of the densities,
"ml-vae-harmonic" has the product's mean and the harmonic mean of the variances. c is drawn once per group.

Which factors a group shares is known, and is what c is made to hold; what each latent of c or s holds is not. Encoding
an image takes it as a group of its own. Data: `jaxvae.data.Groups`; the members of a group follow one another.

When to use. To part what a known group has in common from what it has not. Not for a latent per factor.

Presets. None; all defaults are our choice.

Measured here. Linear probe of shape and size (shared; 0 is chance) from content / style, groups of 2: ML-VAE 0.66 ±
0.16 / 0.04 ± 0.07, Group-VAE 0.62 ± 0.16 / 0.05 ± 0.10, VAE 0.28 ± 0.18 / 0.25 ± 0.10; of x and y, the groups' models:
0.05 to 0.08 / 0.52 to 0.57 (experiments/shared_content.py). MIG 0.15 ± 0.11 (experiments/compare_everything.py).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.data import InGroups
from jaxvae.losses import Averaging, average_posteriors, kl_standard_normal, reparameterize
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method
from jaxvae.methods.entry import Entry
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.streams import Stream

"""Keeps the key of the contents' noise apart from those of the images, which are folded in by index."""


class GroupVAE(NamedTuple):
    """Hyperparameters of the ML-VAE."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    beta: float = 1.0
    """Weight of the KL, >= 0."""


def group_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    averaging: Averaging = "ml-vae",
    members: int = 2,
    content: int = 4,
    hyperparameters: GroupVAE = GroupVAE(),
) -> Method:
    """ML-VAE, Group-VAE: groups of images with a common content, each its own style (Bouchacourt et al., 2018).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      averaging: Rule for averaging the posteriors of a group: gvae (means and variances), ml-vae (product of the
        densities), or ml-vae-harmonic (as in the authors' code).
      members: Number of images in a group, at least 2.
      content: Number of latents that a group shares; they are the first ones.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for beta < 0, or sizes below 2 and 1; when it is traced, for fewer latents than `content`, or a batch
    that is no whole number of groups.
    """
    if hyperparameters.beta < 0 or members < 2 or content < 1:
        raise ValueError(
            "beta must be >= 0, members at least 2 and content at least 1, "
            f"got {hyperparameters.beta}, {members} and {content}"
        )

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        mean, logvar = net.encoder(batch["x"])
        examples, latents = mean.shape
        if latents < content:
            raise ValueError(f"content={content} needs as many latents, got {latents}")
        if examples % members:
            raise ValueError(f"a device's part of a batch must be a multiple of members={members}, got {examples}")

        def grouped(values: jax.Array) -> jax.Array:
            """Content of the images, [M, G, content]."""
            return values[:, :content].reshape(-1, members, content).swapaxes(0, 1)

        shared = average_posteriors(grouped(mean), grouped(logvar), averaging)
        style = mean[:, content:], logvar[:, content:]
        key = jax.random.fold_in(ctx.key, Stream.SHARED_CODE)
        common = reparameterize(key, *shared, axis_name=ctx.axis_name)
        own = reparameterize(ctx.key, *style, axis_name=ctx.axis_name)
        z = jnp.concatenate([jnp.repeat(common, members, axis=0), own], axis=1)
        reconstruction = likelihood.nll(net.decoder(z), batch["x"]).mean()
        content_kl = kl_standard_normal(*shared).mean() / members
        style_kl = kl_standard_normal(*style).mean()
        return reconstruction + ctx.hyperparameters.beta * (content_kl + style_kl), {
            "reconstruction": reconstruction,
            "content_kl": content_kl,
            "style_kl": style_kl,
        }

    objective = Objective(loss, AUTOENCODER)
    return autoencoder_method("group-vae", networks, likelihood, hyperparameters, objective, needs=("x", "group"))


ENTRY = Entry("group-vae", group_vae, GroupVAE, InGroups)
