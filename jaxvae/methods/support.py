"""The factorised support of a batch of codes, as a term of a method's loss.

Its weight is a hyperparameter of `hfs-vae`, which `--sweep` can vary. In `beta-vae` and `beta-tc-vae` it is an option
that is fixed at compilation, because hyperparameters are traced: with a traced weight, runs without the term would
compute it as well. That takes three times as long (a step of the default beta-VAE on sprites of 32 x 32 pixels took 4.5
ms of CPU time without the term and 13.5 ms with it, on 2 shared cores), and a condition on the weight saves nothing in
a population, where both of its sides are computed. For a sweep of the beta-VAE with the term, use `hfs-vae`, which is
the same with its two weights.
"""

import jax

from jaxvae.losses import code_scale, factorised_support, latent_pairs
from jaxvae.losses.hausdorff import Matching
from jaxvae.method import Context, Terms
from jaxvae.streams import Stream


def support_penalty(mean: jax.Array, ctx: Context, matching: Matching = "hard") -> tuple[jax.Array, Terms]:
    """Distance of the support of the means [B, D] from a product, summed over at most 25 pairs of latents.

    The pairs are drawn anew at every step. The second result has the terms to log: "support", the distance itself, and
    "code_scale", the mean over the latents of the standard deviation of their means.
    """
    pairs = latent_pairs(jax.random.fold_in(ctx.key, Stream.LATENT_PAIRS), mean.shape[-1])
    support = factorised_support(mean, pairs, matching=matching, axis_name=ctx.axis_name)
    return support, {"support": support, "code_scale": code_scale(mean, axis_name=ctx.axis_name).mean()}
