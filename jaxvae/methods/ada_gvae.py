"""Ada-GVAE and Ada-ML-VAE (Locatello et al., 2020): pairs of images that share some factors, nobody says which.

Equation.

    loss = mean of the two images of [ -log p(x|z) + beta KL( q~(z|x) || N(0, I) ) ]

    q~(z_d|x) = the average of q(z_d|x1) and q(z_d|x2)    for the latents d that the pair shares
                q(z_d|x)                                  for the others

A latent counts as shared where KL( q(z_d|x1) || q(z_d|x2) ) is less than halfway from the pair's least to its most.
Each image has noise of its own, on shared latents as well. averaging="gvae" averages means and variances, "ml-vae"
takes the product of the densities, "ml-vae-harmonic" is what the authors' code has for it. masks="known" is a control:
the batch says which factors are shared, factor k is tied to latent k, and further latents count as shared.

The authors' code finds the threshold by a histogram of two bins, which is the same but for ties, and leaves out the
half of the KL, which doesn't move it. Data: `jaxvae.data.Pairs`; in the command every pair shares `--shared` factors.

When to use. Where images come in pairs that share most factors, and nobody says which. Not for single images.

Presets. The defaults are the study's rate and the least of its weights. study: the weight among 1, 2, 4, 6, 8, 16, the
nets and the rest those of the large-scale study.

Measured here. MIG 0.44 ± 0.09 (Ada-GVAE) and 0.46 ± 0.11 (Ada-ML-VAE), 0.56 ± 0.02 when told which factors are shared,
0.25 ± 0.13 for a beta-VAE, beta 4 (experiments/shared_factors.py, 5 seeds). Defaults: 0.28 ± 0.08, VAE 0.07 ± 0.07
(experiments/compare_everything.py, 3 seeds).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.data import InPairs
from jaxvae.losses import (
    Averaging,
    average_posteriors,
    kl_gaussian_per_latent,
    kl_standard_normal,
    reparameterize,
    shared_latents,
)
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Posterior, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method
from jaxvae.methods.entry import Entry, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli

MOST_LOGVAR = 10.0
"""Log variances are compared within +-10: a posterior shrunk to a point differs from any other without bound."""


class AdaGVAE(NamedTuple):
    """Hyperparameters of Ada-GVAE and Ada-ML-VAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    beta: float = 1.0
    """Weight of the KL, >= 0."""


PRESETS = {"study": study(AdaGVAE())}


def ada_gvae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    averaging: Averaging = "gvae",
    masks: Literal["estimated", "known"] = "estimated",
    hyperparameters: AdaGVAE = AdaGVAE(),
) -> Method:
    """Ada-GVAE, Ada-ML-VAE: pairs of images that share most of their factors (Locatello et al., 2020).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      averaging: Rule for averaging the posteriors of shared latents: gvae (means and variances), ml-vae (product of the
        densities), or ml-vae-harmonic (as in the authors' code).
      masks: Source of the shared latents: estimated from the posteriors, or known from the batch, as a control.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for beta < 0; when it is traced, for more factors than latents with masks="known".
    """
    if hyperparameters.beta < 0:
        raise ValueError(f"beta weighs the KL and must be >= 0, got {hyperparameters.beta}")

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        images = batch["x"], batch["x2"]
        own = [net.encoder(image) for image in images]
        if masks == "known":
            shared = _padded(batch["shared"], own[0].mean.shape[-1])
        else:
            shared = shared_latents(kl_gaussian_per_latent(*_bounded(own[0]), *_bounded(own[1])))
        means, logvars = (jnp.stack(parts) for parts in zip(*own, strict=True))
        average = average_posteriors(means, logvars, averaging)
        reconstruction = kl = jnp.float32(0)
        for key, image, posterior in zip(jax.random.split(ctx.key), images, own, strict=True):
            mean, logvar = (
                jnp.where(shared, common, single) for common, single in zip(average, posterior, strict=True)
            )
            z = reparameterize(key, mean, logvar, axis_name=ctx.axis_name)
            reconstruction += 0.5 * likelihood.nll(net.decoder(z), image).mean()
            kl += 0.5 * kl_standard_normal(mean, logvar).mean()
        terms = {
            "reconstruction": reconstruction,
            "kl": kl,
            "shared_latents": shared.sum(-1).astype(jnp.float32).mean(),
        }
        return reconstruction + ctx.hyperparameters.beta * kl, terms

    needs = ("x", "x2") + (("shared",) if masks == "known" else ())
    return autoencoder_method(
        "ada-gvae", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER), needs=needs
    )


def _bounded(posterior: Posterior) -> Posterior:
    return posterior._replace(logvar=jnp.clip(posterior.logvar, -MOST_LOGVAR, MOST_LOGVAR))


def _padded(shared: jax.Array, latents: int) -> jax.Array:
    """[B, K] -> [B, D], true for latents without a factor."""
    factors = shared.shape[-1]
    if factors > latents:
        raise ValueError(f"masks='known' ties every factor to a latent: {factors} factors, {latents} latents")
    return jnp.pad(shared, ((0, 0), (0, latents - factors)), constant_values=True)


ENTRY = Entry("ada-gvae", ada_gvae, AdaGVAE, InPairs, presets=PRESETS)
