"""Annealed VAE (Burgess et al., 2018): the KL held at a capacity C that grows, so that factors enter one at a time.

Equation.

    C(t) = c_start + (c_end - c_start) * min(1, t / warmup)
    loss = E_q(z|x)[ -log p(x|z) ] + gamma * | KL - C(t) |

Form "batch": KL is the mean over the (global) batch, and only the mean is held at C. Form "per-image": the mean of |
KL_i - C |, which forces every image to cost C nats; it is never the smaller of the two. Below C the encoder is
rewarded for a larger KL, so the loss is no bound on log p(x). With a large gamma the KL swings about C by an amount
that the learning rate sets. C may fall as well as rise.

When to use. Where the KL, in nats, is what you want to set, or to see which latents switch on first. Not where a bound
on log p(x) is needed, nor for a run much shorter than `warmup` plus some time at c_end.

Presets. The default rate and c_end are the paper's for dSprites (from memory), gamma and warmup our choice for short
runs. paper: gamma = 1,000 and 25 nats over 100,000 updates on dSprites (from memory). study: the same at 1e-4, with
c_end among 5, 10, 25, 50, 75, 100. Public code differs in the form, in gamma (100 in some), in counting t by epochs,
or in a counter inside of the loss that evaluation advances; t is the number of updates here.

Measured here. The KL is 0.15 ± 0.03 nats off the capacity on average; x and y of sprites switch on together, the next
latent later; at 12 nats the reconstruction is 5.4 ± 0.8 nats worse than a beta-VAE's of that KL
(experiments/capacity.py, 5 seeds, 5,000 updates).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import DSPRITES, Entry, Preset, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import linear_ramp


class AnnealedVAE(NamedTuple):
    """Hyperparameters of the annealed VAE."""

    learning_rate: float = 5e-4
    """Learning rate of Adam."""
    gamma: float = 100.0
    """Weight of the distance between KL and capacity."""
    c_start: float = 0.0
    """Capacity at the first step, in nats."""
    c_end: float = 25.0
    """Capacity at the end, in nats."""
    warmup: float = 3000.0
    """Number of steps over which the capacity goes from c_start to c_end."""


PRESETS = {
    "paper": Preset(
        AnnealedVAE(gamma=1000.0, warmup=100_000.0),
        {**DSPRITES, "network": "burgess", "latents": 10, "batch_size": 64, "steps": 300_000},
    ),
    "study": study(AnnealedVAE(learning_rate=1e-4, gamma=1000.0, warmup=100_000.0)),
}


def annealed_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    form: Literal["batch", "per-image"] = "batch",
    hyperparameters: AnnealedVAE = AnnealedVAE(),
) -> Method:
    """Annealed VAE: the KL held at a growing capacity (Burgess et al., 2018).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      form: What is held at the capacity: the mean KL of the batch, or the KL of every image.
      hyperparameters: Default values; a sweep replaces some of them.
    """

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar)
        if form == "batch":
            kl = kl.mean()
            if ctx.axis_name is not None:  # the absolute value is not linear: it is taken of the global mean
                kl = jax.lax.pmean(kl, ctx.axis_name)
        capacity = linear_ramp(hp.c_start, hp.c_end, ctx.step, hp.warmup)
        distance = jnp.abs(kl - capacity).mean()
        return reconstruction + hp.gamma * distance, {
            "reconstruction": reconstruction,
            "kl": kl.mean(),
            "capacity": capacity,
            "distance_to_capacity": distance,
        }

    return autoencoder_method("annealed-vae", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER))


ENTRY = Entry("annealed-vae", annealed_vae, AnnealedVAE, presets=PRESETS)
