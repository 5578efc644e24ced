"""VAE-SNE (Graving & Couzin, 2020): neighbours in the data stay neighbours in the code, clusters come with it.

Equation.

    loss = distortion E_q(z|x)[ -log p(x|z) ] + rate KL( q(z|x) || p(z) ) + sne P SNE
    SNE  = mean_i sum_{j != i} p_ij (log p_ij - log q_ij)
    p_ij = neighbourhoods of the data in the (global) batch, of a given perplexity;   P = number of values of an example
    q_ij = those of the sampled codes, by a Student-t, a Gaussian or a von Mises kernel

The prior is a mixture of many Gaussians of unit variance with learned means and weights, and the KL is sampled; one
component is kept at the origin, for the closed form. `jaxvae.analysis.find_clusters` merges components that overlap.
space="sphere" has a uniform prior on the unit sphere and von Mises-Fisher posteriors, of the encoder's mean's direction
and, as concentration, its length; directions start together and spread after some 1,000 updates.

Perplexities are fractions of the batch (a neighbourhood's share of the data), at least 5 examples. They fall, by equal
ratios, over the first `annealing` updates: large neighbourhoods lay out the whole, small ones the details. Distances
are of pixels unless `features` gives others: standardise columns of different units first. On a table, the command
and the estimator take `jaxvae.networks.neighbour_features`: log(1 + count) for counts, which are first scaled to one
total if the table holds 50 columns of counts or more and nothing else. The likelihood of counts has no library size
unless --library rows gives it the sum of each row.

When to use. For a map of data in two latents that takes new points. Not to count clusters: there are several for each
type. A smaller weight may give fewer of them and may keep fewer neighbours. Where the number of types is known, take
k-means of the map. Nor for the best neighbourhoods of given points: t-SNE keeps more.

Presets. No code of the paper was ever published: of the constants, P is second-hand, and all others are our choice.
successor: nets and batches of the first author's later code. sphere: the polar variant. Both on scikit-learn's digits;
the paper's own data are no part of this package.

Measured here. Common 1 % nearest neighbours of held-out digits: 0.33 ± 0.02, VAE 0.29 ± 0.02, PCA 0.17, t-SNE of the
test points 0.65; 29 ± 5 clusters for 10 digits (experiments/neighbour_embedding.py). 14 ± 7 clusters for 4 behaviours,
with 0.31 ± 0.03 of the neighbours; with sne=0.1, 8 ± 2 clusters and 0.17 ± 0.04; on simulated
cells sne=0.1 changes neither (experiments/maps.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

import jaxvae.losses as losses
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Posterior, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import geometric_ramp
from jaxvae.networks import mixture_prior
from jaxvae.networks.options import Autoencoder, Examples

LEAST_NEIGHBOURS = 5.0
SIMILARITIES = {
    "student-t": losses.student_t_similarity(),
    "gaussian": losses.gaussian_similarity(),
    "von-mises": losses.von_mises_similarity(10.0),
}


class VAESNE(NamedTuple):
    """Hyperparameters of the VAE-SNE."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    distortion: float = 1.0
    """Weight of the reconstruction, >= 0."""
    rate: float = 1.0
    """Weight of the KL, >= 0."""
    sne: float = 1.0
    """Weight of the neighbour term per value of an example, >= 0."""
    perplexity: float = 0.01
    """Perplexity at the end, as a fraction of the batch size."""
    first_perplexity: float = 0.1
    """Perplexity at the first step, as a fraction of the batch size."""
    annealing: float = 2500.0
    """Number of steps over which the perplexity falls."""


DEFAULTS = {"batch_size": 256}
PRESETS = {
    "successor": Preset(VAESNE(), {"data": "digits", "network": "selu", "latents": 2, "batch_size": 512}),
    "sphere": Preset(
        VAESNE(), {"data": "digits", "latents": 3, "batch_size": 256, "space": "sphere", "similarity": "von-mises"}
    ),
}


def vae_sne(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    similarity: Literal["student-t", "gaussian", "von-mises"] = "student-t",
    space: Literal["plane", "sphere"] = "plane",
    features: Callable[[jax.Array], jax.Array] = lambda image: image,
    hyperparameters: VAESNE = VAESNE(),
) -> Method:
    """VAE-SNE: neighbours in the data stay neighbours in the code (Graving & Couzin, 2020).

    Args:
      networks: Encoder, decoder and, unless the space is a sphere, prior: see `jaxvae.networks.mixture_prior`.
      likelihood: Likelihood of an image given its code.
      similarity: Similarity of two codes, from which their neighbourhoods follow.
      space: Space of the codes: a plane of any number of latents, or the unit sphere in three.
      features: Function of images [B, H, W, C] that returns the features [B, ...] between which distances are taken.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a weight < 0 or a perplexity outside (0, 1); when it is traced, for other than 3 latents of a sphere.
    """
    hp = hyperparameters
    if min(hp.distortion, hp.rate, hp.sne) < 0 or not 0 < hp.perplexity < 1 or not 0 < hp.first_perplexity < 1:
        raise ValueError(f"weights must be >= 0, and perplexities fractions of the batch in (0, 1); got {hp}")
    if on_sphere := space == "sphere":
        networks = {name: network for name, network in networks.items() if name != "prior"}

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp, image = ctx.hyperparameters, batch["x"]
        z, kl = _coded(net, image, ctx, on_sphere)
        reconstruction = likelihood.nll(net.decoder(z), image).mean()
        x = features(image).reshape(image.shape[0], -1)
        n = len(x) * (1 if ctx.axis_name is None else jax.lax.axis_size(ctx.axis_name))
        first, last = (jnp.maximum(share * n, LEAST_NEIGHBOURS) for share in (hp.first_perplexity, hp.perplexity))
        perplexity = geometric_ramp(first, last, ctx.step, hp.annealing)
        p = losses.neighbour_affinities(x, perplexity, axis_name=ctx.axis_name)
        sne = losses.neighbour_divergence(z, p, similarity=SIMILARITIES[similarity], axis_name=ctx.axis_name).mean()
        terms = {"reconstruction": reconstruction, "kl": kl.mean(), "neighbours": sne}
        return hp.distortion * reconstruction + hp.rate * kl.mean() + hp.sne * image[0].size * sne, terms

    objective = Objective(loss, AUTOENCODER if on_sphere else (*AUTOENCODER, "prior"))
    method = autoencoder_method("vae-sne", networks, likelihood, hyperparameters, objective)
    if not on_sphere:
        return method._replace(sample_prior=_draw)

    def encode(net: Nets, batch: Batch) -> Posterior:
        direction, concentration = losses.polar_coordinates(net.encoder(batch["x"]).mean)
        return Posterior(direction, jnp.broadcast_to(-jnp.log1p(concentration)[:, None], direction.shape))

    def decode(net: Nets, z: jax.Array) -> jax.Array:
        return likelihood.mean(net.decoder(losses.polar_coordinates(z)[0]))

    return method._replace(encode=encode, decode=decode)


def _coded(net: Nets, image: jax.Array, ctx: Context, on_sphere: bool) -> tuple[jax.Array, jax.Array]:
    """A code of every image, and the KL of its posterior to the prior."""
    mean, logvar = net.encoder(image)
    if on_sphere:
        if mean.shape[-1] != 3:
            raise ValueError(f"a sphere has 3 latents, got {mean.shape[-1]}")
        direction, concentration = losses.polar_coordinates(mean)
        z = losses.sample_von_mises_fisher(ctx.key, direction, concentration, axis_name=ctx.axis_name)
        return z, losses.kl_von_mises_fisher_uniform(concentration)
    z = losses.reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
    means, log_weights = net.prior()
    if means.shape[0] == 1:
        return z, losses.kl_standard_normal(mean, logvar)
    log_prior = jax.nn.logsumexp(losses.component_log_densities(z, means, log_weights), axis=-1)
    return z, losses.gaussian_log_density(z, mean, logvar).sum(axis=-1) - log_prior


def _draw(net: Nets, key: jax.Array, batch: Batch) -> jax.Array:
    means, log_weights = net.prior()
    return losses.gaussian_mixture(means * (len(means) > 1), 1.0, jnp.exp(log_weights)).sample(key, len(batch["x"]))


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, decoder, and a mixture of Gaussians as the prior."""

    latents: int = 2
    """Number of latents."""
    components: int = 100
    """Number of components of the mixture prior."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The mixture prior beside the autoencoder."""
        return {**super().make(source), "prior": mixture_prior(self.latents, self.components)}


ENTRY = Entry(
    "vae-sne",
    vae_sne,
    VAESNE,
    networks=Networks,
    presets=PRESETS,
    defaults=DEFAULTS,
    idle=lambda options: {"components": "--space plane"} if options.space == "sphere" else {},
)
