"""Identifiable VAE (Khemakhem, Kingma, Monti & Hyvärinen, 2020): a prior that depends on an observed variable u.

Equation.

    loss = a E_q(z|x,u)[ -log p(x|z) ] + b MI + c TC + d DWKL
    MI + TC + DWKL = KL( q(z|x,u) || p(z|u) ),   p(z|u) = N(m(u), diag l(u)) by a network, m = 0 unless it is learned
    MI   = E[ log q(z|x,u) - log q(z) ],   TC = E[ log q(z) - log prod_j q(z_j) ]
    DWKL = E[ sum_j log q(z_j) - log p(z_j|u) ]

u is a time segment, a class or another label, one-hot. With variances that change enough from one u to another (latents
+ 1 values of u at the least) codes are those of the sources up to order, sign and scale, which no VAE with one prior
can tell from a rotation of them.

a = b = c = d = 1 is minus the evidence lower bound, with its KL in closed form; what other weights add to it is
estimated from the (global) batch, as for the beta-TCVAE. form="sampled" weighs the three estimates alone, as the
authors do, with weighting="mws". The encoder sees u as further channels of the image, which for
vectors is to append it; encoder="marginal" hides u from it, so that new examples can be encoded without. Use a Gaussian
likelihood whose scale is the noise of the observations, never the default of 1.

When to use. For sources whose variances change with something observed. Not with random values of u, nor where the
mixing is nearly linear: linear ICA is better there.

Presets. The defaults are the plain bound, at a rate of our choice. paper: the authors' runs on non-stationary sources,
`--data segments`, without their cut of the rate where the loss stays, and with the KL in closed form, which they
sample; noise of variance 0.01, as in their first code (0.1 in the later one). weighted: the same with variance 0.1, the
weights of their figures, 100, 1, 0, 10, and their estimates, sampled and mws.

Measured here. MCC of iVAE / VAE / linear ICA through two mixing layers: 0.86 ± 0.01 / 0.67 ± 0.04 / 0.67 ± 0.05, 0.67 ±
0.03 with random segments; through one 0.94 ± 0.04, linear ICA 1.00; through three, the paper preset 0.78 ± 0.01, one
run of it with variance 0.1 only 0.70 (experiments/identifiable_sources.py). Given a factor of upright sprites: MIG 0.24
± 0.28 (experiments/compare_everything.py, 3 seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.data import Conditioned, WithAuxiliary
from jaxvae.losses import gaussian_log_density, kl_decomposition, kl_gaussian, minibatch_log_qz, reparameterize
from jaxvae.losses.aggregate_posterior import Weighting
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Posterior, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks import conditional_prior
from jaxvae.networks.options import Autoencoder, Examples

MOST_LOGVAR = 15.0
"""Of the prior, either way: its variances divide."""


class IVAE(NamedTuple):
    """Hyperparameters of the identifiable VAE; weights are >= 0."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    a: float = 1.0
    """Weight of the reconstruction."""
    b: float = 1.0
    """Weight of the mutual information between code and image."""
    c: float = 1.0
    """Weight of the total correlation."""
    d: float = 1.0
    """Weight of the remaining term, the KL of each latent to the prior given u."""


_PAPER = {
    "data": "segments",
    "network": "xtanh",
    "latents": 5,
    "batch_size": 64,
    "steps": 12_500,
    "likelihood": "gaussian",
    "scale": 0.1,
}
_WEIGHTED = _PAPER | {"scale": 0.1**0.5, "form": "sampled", "weighting": "mws"}
PRESETS = {
    "paper": Preset(IVAE(learning_rate=1e-2), _PAPER),
    "weighted": Preset(IVAE(learning_rate=1e-2, a=100.0, c=0.0, d=10.0), _WEIGHTED),
}


def ivae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    prior_mean: bool = False,
    form: Literal["closed", "sampled"] = "closed",
    weighting: Weighting = "uniform",
    encoder: Literal["conditional", "marginal"] = "conditional",
    hyperparameters: IVAE = IVAE(),
) -> Method:
    """Identifiable VAE: a prior that depends on an observed variable (Khemakhem et al., 2020).

    Args:
      networks: Encoder (of images with one more channel per entry of u), decoder, and prior: u [B, U] -> Posterior.
      likelihood: Likelihood of an image given its code.
      prior_mean: Whether the mean of the prior depends on the auxiliary variable as well; otherwise it is 0.
      form: Form of the loss: closed (the KL in closed form plus the weighted excess of the sampled terms), or sampled
        (the weighted sum of the three sampled terms).
      weighting: Weights of the examples of a batch in the estimate of log q(z), see `minibatch_log_qz`.
      encoder: What the encoder sees: the auxiliary variable (conditional), or zeros in its place (marginal).
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight.
    """
    if min(hyperparameters.a, hyperparameters.b, hyperparameters.c, hyperparameters.d) < 0:
        raise ValueError(f"the weights a, b, c and d must be >= 0, got {hyperparameters}")

    def encode(net: Nets, batch: Batch) -> Posterior:
        aux = batch["aux"] if encoder == "conditional" else jnp.zeros_like(batch["aux"])
        return net.encoder(with_channels(batch["x"], aux))

    def prior_of(net: Nets, batch: Batch) -> Posterior:
        mean, logvar = net.prior(batch["aux"])
        mean = mean if prior_mean else jnp.zeros_like(mean)
        return Posterior(mean, jnp.clip(logvar, -MOST_LOGVAR, MOST_LOGVAR))

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar = encode(net, batch)
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
        reconstruction = likelihood.nll(net.decoder(z), batch["x"]).mean()
        prior = prior_of(net, batch)
        kl = kl_gaussian(mean, logvar, *prior).mean()
        log_qz = minibatch_log_qz(
            z, mean, logvar, dataset_size=ctx.dataset_size, weighting=weighting, axis_name=ctx.axis_name
        )
        mi, tc, _ = kl_decomposition(z, mean, logvar, log_qz)
        dwkl = log_qz.marginals.sum(axis=-1) - gaussian_log_density(z, *prior).sum(axis=-1)
        mi, tc, dwkl = mi.mean(), tc.mean(), dwkl.mean()
        if form == "closed":
            weighted = kl + (hp.b - 1.0) * mi + (hp.c - 1.0) * tc + (hp.d - 1.0) * dwkl
        else:
            weighted = hp.b * mi + hp.c * tc + hp.d * dwkl
        return hp.a * reconstruction + weighted, {
            "reconstruction": reconstruction,
            "kl": kl,
            "mutual_information": mi,
            "total_correlation": tc,
            "dimensionwise_kl": dwkl,
        }

    objective = Objective(loss, (*AUTOENCODER, "prior"))
    method = autoencoder_method("ivae", networks, likelihood, hyperparameters, objective, needs=("x", "aux"))
    return method._replace(
        encode=encode, sample_prior=lambda net, key, batch: reparameterize(key, *prior_of(net, batch))
    )


def with_channels(x: jax.Array, aux: jax.Array) -> jax.Array:
    """[B, ..., C] and [B, U] -> [B, ..., C + U]: every pixel, or the vector, carries the auxiliary variable."""
    between = (1,) * (x.ndim - 2)
    planes = jnp.broadcast_to(aux.reshape(aux.shape[0], *between, -1), (*x.shape[:-1], aux.shape[1]))
    return jnp.concatenate([x, planes.astype(x.dtype)], axis=-1)


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder that sees the auxiliary variable, decoder, and a prior that depends on it."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The networks for a `Conditioned` source; for others, those of vectors with one auxiliary value."""
        aux_dim = source.aux_dim if isinstance(source, Conditioned) else 1
        return {**self.autoencoder(source, aux_dim), "prior": conditional_prior(aux_dim, self.latents, self.jax_dtype)}


ENTRY = Entry("ivae", ivae, IVAE, WithAuxiliary, Networks, presets=PRESETS)
