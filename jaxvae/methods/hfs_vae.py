"""Hausdorff factorised support, HFS (Roth, Ibrahim, Akata, Vincent & Bouchacourt, 2023): for correlated factors.

Equation.

    loss = E_q(z|x)[ -log p(x|z) ] + beta KL( q(z|x) || N(0, I) ) + support_weight HFS

    HFS = sum over pairs of latents (a, b) of max_ij min_k [ (m_ia - m_ka)^2 + (m_jb - m_kb)^2 ]

m are the posterior means of the (global) batch. At most 25 pairs of latents are drawn anew at every step. If the
factors are correlated, their codes are dependent, and asking for independence is wrong. HFS asks only that all
combinations of a value of latent a and a value of latent b occur, near some code. With beta = 0 this is a regularised
autoencoder; the encoder still samples.

Scaling the means by c scales HFS by c^2, so shrinking them lowers it; the reconstruction from sampled codes and the KL
push back. "code_scale" in metrics.jsonl is the mean standard deviation of a latent's means, to watch. The value depends
on the batch size. `beta-vae` and `beta-tc-vae` take `--support-weight`, with the same term. `--hinge` adds
hinge_weight times a hinge on the scale of the means (`scale_hinge`), against their shrinking; it is off in the authors'
settings, and over the wrong axis in their code.

When to use. Where factors are correlated in the training data, and all combinations still occur. Not with small
batches, whose support is never a product.

Presets. The defaults are the authors' example for Shapes3D: no KL, and a weight of 300. paper: these on rooms, with
the nets and the rest of the study. dsprites: the same on sprites. Their grid has weights from 80 to 2,000 with beta =
0, and from 0.1 to 10,000 with beta from 1 to 16.

Measured here. Trained on correlated small rooms and scored without correlations, DCI is 0.19 ± 0.22 with weight 100,
0.25 ± 0.04 with the hinge as well, and 0.18 ± 0.10 for a beta-TCVAE; MIG is 0.13 ± 0.19, 0.13 ± 0.14 and 0.08 ± 0.06. 3
seeds of 600 steps do not separate them, nor the reconstructions of 373.4 ± 74.5, 348.0 ± 13.0 and 338.9 ± 0.3
nats (experiments/correlated_factors.py). 3,000 steps of the defaults on upright sprites leave codes that tell nothing,
with a MIG of 0.005 ± 0.003 (experiments/compare_everything.py).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax

from jaxvae.losses import kl_standard_normal, scale_hinge
from jaxvae.losses.hausdorff import Matching
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import Entry, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.support import support_penalty


class HFSVAE(NamedTuple):
    """Hyperparameters of the HFS-VAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    beta: float = 0.0
    """Weight of the KL, >= 0."""
    support_weight: float = 300.0
    """Weight of the distance of the support from a product, >= 0, gamma in the paper."""
    hinge_weight: float = 1.0
    """Weight of the hinge on the scale of the means, >= 0."""


PRESETS = {"paper": study(HFSVAE(), data="rooms"), "dsprites": study(HFSVAE())}


def hfs_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    matching: Matching = "hard",
    hinge: Literal["none", "variance", "minimal-support"] = "none",
    hyperparameters: HFSVAE = HFSVAE(),
) -> Method:
    """HFS-VAE: a support of the code that is a product, for correlated factors (Roth et al., 2023).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      matching: Distance of the supports: hard (the largest distance to the nearest code, as in the paper), mean (the
        mean of these distances) or soft (weighted by softmax, with one temperature of 1 where their code has two).
      hinge: Penalty on latents with means that are too close together: none, variance (standard deviations below 1) or
        minimal-support (means that do not reach from 0 to 1).
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight.
    """
    for name in ("beta", "support_weight", "hinge_weight"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        support, terms = support_penalty(mean, ctx, matching)
        terms = {"reconstruction": reconstruction, "kl": kl, **terms}
        total = reconstruction + hp.beta * kl + hp.support_weight * support
        if hinge != "none":
            scale = scale_hinge(mean, form=hinge, axis_name=ctx.axis_name)
            total, terms = total + hp.hinge_weight * scale, {**terms, "scale_hinge": scale}
        return total, terms

    return autoencoder_method("hfs-vae", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER))


ENTRY = Entry(
    "hfs-vae",
    hfs_vae,
    HFSVAE,
    presets=PRESETS,
    idle=lambda options: {"hinge_weight": "--hinge variance and minimal-support"} if options.hinge == "none" else {},
)
