"""Semi-supervised beta-VAE (Locatello et al., 2020, "few labels"): labels of a few examples beside images of many.

    loss = mean[ -log p(x|z) + beta KL( q(z|x) || N(0, I) ) ] + gamma_sup R( mu(x_labelled), y )

mu is the posterior mean; latent f is tied to factor f, whose value y_f is put on a scale from 0 to 1. R, over a
labelled batch of the same size that cycles through the labelled examples:

    cross-entropy   mean_b sum_f softplus(mu_f) - y_f mu_f
    squared-error   mean_b sum_f ( sigmoid(mu_f) - y_f )^2
    covariance      sum_{d != f} Cov(mu_d, y_f)^2

gamma_sup grows linearly from 0 for `warmup` updates. The authors' code sums R over the batch where the reconstruction
is a mean: its gamma_sup of 1 is 64 here. Data: `jaxvae.data.few_labels`; `--labels` of the command are drawn with seed
0, whatever the run's own seed.

Presets. study: beta and gamma_sup at their defaults, the nets and the rest those of the large-scale study.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax

from jaxvae.losses import kl_standard_normal, label_covariance, label_cross_entropy, label_squared_error
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.presets import Preset, study
from jaxvae.methods.schedules import linear_ramp


class SemiSupervisedVAE(NamedTuple):
    """Hyperparameters of the semi-supervised beta-VAE."""

    learning_rate: float = 1e-4
    beta: float = 4.0
    """Weight of the KL, >= 0."""
    gamma_sup: float = 256.0
    """Weight of the labels, >= 0: the authors' 4 for batches of 64."""
    warmup: float = 0.0
    """Updates over which gamma_sup grows linearly from 0."""


SEMI_SUPERVISED_VAE_PRESETS: dict[str, Preset] = {"study": study(SemiSupervisedVAE())}


def semi_supervised_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    supervision: Literal["cross-entropy", "squared-error", "covariance"] = "cross-entropy",
    hyperparameters: SemiSupervisedVAE = SemiSupervisedVAE(),
) -> Method:
    """Semi-supervised beta-VAE: labels of a few examples tie latents to factors (Locatello et al., 2020).

    Args:
      networks: encoder and decoder.
      likelihood: of an image given its code.
      supervision: how labels and codes are compared: cross-entropy, squared-error or covariance.
      hyperparameters: their defaults, and what a sweep starts from.

    ValueError for a negative weight; when it is traced, for more factors than latents.
    """
    for name in ("beta", "gamma_sup"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["image"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        labelled = net.encoder(batch["labelled_image"]).mean
        if supervision == "covariance":
            penalty = label_covariance(labelled, batch["target"], axis_name=ctx.axis_name)
        elif supervision == "squared-error":
            penalty = label_squared_error(labelled, batch["target"]).mean()
        else:
            penalty = label_cross_entropy(labelled, batch["target"]).mean()
        gamma = linear_ramp(0.0, hp.gamma_sup, ctx.step, hp.warmup)
        terms = {"reconstruction": reconstruction, "kl": kl, "supervision": penalty}
        return reconstruction + hp.beta * kl + gamma * penalty, terms

    return autoencoder_method(
        "semi-supervised-vae",
        networks,
        likelihood,
        hyperparameters,
        Objective(loss, AUTOENCODER),
        needs=("image", "labelled_image", "target"),
    )
