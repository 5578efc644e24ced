"""Autoencoder with constraints on its code: what is known about one factor, and not its labels (Ridgeway, 2016).

Equation. A run takes one relation of one factor. With the means m of the codes of the images of a constraint, and
the first latent m_0 tied to the factor,

    loss = E_q(z|x)[ -log p(x|z) ] + beta KL( q(z|x) || N(0, I) ) + constraint_weight C

    groups      C = Var_n m_n0                                     x and x2 share the factor     `group_variance`
    distances   C = softplus(|m_0 - m2_0|^2 - |m_0 - m3_0|^2)      x2 is nearer than x3          `triplet`
                C = stress of |m_i0 - m_j0| against the factor's   form "stress"                 `mds_stress`
    ranks       C = softplus(-order (m_0 - m2_0))                  x is before or after x2       `rank_pairing`
    analogies   C = -log p(x4 | a(m, m2, m3)) / P + |m4 - a|^2     x : x2 :: x3 : x4             `swap_latents`

The code a of an analogy takes the first latent of m2 and the others of m3 ("swap"), or is m3 + (m2 - m) ("additive") or
m3 + W (m2 - m) m3 with a learned W ("multiplicative"; Reed et al., 2015). P is the number of values of an example, and
|m4 - a|^2 is `analogy_manifold`. groups alone is lowest for a constant latent, which the KL prefers anyway: that latent
carries what the group does not share only if the reconstruction needs it, so that its variance over the batch is held
at 1 by a further term, (Var_batch m_0 - 1)^2.

When to use. Where relations of one factor are cheap to get and its labels are not: which of two images is older, which
two show the same person. Data: `jaxvae.data.Constraints`; `--constraint` and `--constrained-factor` draw them from data
with known factors. Only x is reconstructed.

Presets. None is published: the default weights are our choice.

Measured here. The rank correlation of the first latent with the horizontal position of sprites is 0.99 ± 0.00 with
groups and ranks, 1.00 ± 0.00 with distances and 0.99 ± 0.01 with swapped latents, and at most 0.03 ± 0.04 with other
factors; without the relation it is 0.30 ± 0.79. Additive and multiplicative analogies name no latent and tie none: 0.44
± 1.05 and 0.05 ± 0.17. With relations of their scale it is 0.96 ± 0.00 with distances, 0.95 ± 0.01 with ranks and 0.82
± 0.28 with swapped latents, but groups do not tie it: 0.57 ± 0.84 (experiments/known_relations.py, 3 seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

import jaxvae.losses as losses
from jaxvae.data import InConstraints
from jaxvae.data.constraints import MEMBERS, Constraint
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import Entry
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks import analogy_weights
from jaxvae.networks.options import Autoencoder, Examples


class ConstrainedAutoencoder(NamedTuple):
    """Hyperparameters of the constrained autoencoder."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    beta: float = 1.0
    """Weight of the KL, >= 0."""
    constraint_weight: float = 10.0
    """Weight of the constraint, >= 0."""


def constrained_autoencoder(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    constraint: Constraint = "groups",
    distances: Literal["triplets", "stress"] = "triplets",
    analogy: Literal["swap", "additive", "multiplicative"] = "swap",
    hyperparameters: ConstrainedAutoencoder = ConstrainedAutoencoder(),
) -> Method:
    """Constrained autoencoder: groups, distances, ranks or analogies tie a latent to a factor (Ridgeway, 2016).

    Args:
      networks: Encoder and decoder, and analogy of `jaxvae.networks.analogy_weights` for multiplicative analogies.
      likelihood: Likelihood of an image given its code.
      constraint: Relation that is known, one at a time: groups, distances, ranks or analogies.
      distances: Form of the distances: triplets of an image, a nearer and a farther one; or stress, the distances of
        all pairs of the batch.
      analogy: Code of the fourth image of an analogy: swap (latents), additive or multiplicative (vectors).
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight.
    """
    for name in ("beta", "constraint_weight"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")
    learned = constraint == "analogies" and analogy == "multiplicative"
    trained = (*AUTOENCODER, "analogy") if learned else AUTOENCODER
    stress = constraint == "distances" and distances == "stress"
    more = {"ranks": ("order",), "distances": ("values",) if stress else ("known",)}.get(constraint, ())
    others = [] if stress else [f"x{number}" for number in range(2, MEMBERS[constraint] + 1)]

    def everywhere(values: jax.Array, ctx: Context) -> jax.Array:
        return values if ctx.axis_name is None else jax.lax.all_gather(values, ctx.axis_name, axis=0, tiled=True)

    def of_analogy(net: Nets, batch: Batch, a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> jax.Array:
        match analogy:
            case "swap":
                code = losses.swap_latents(b, c, jnp.arange(a.shape[-1]) < 1)
            case "additive":
                code = losses.additive_analogy(a, b, c)
            case _:
                code = losses.multiplicative_analogy(a, b, c, net.analogy())
        cost = likelihood.nll(net.decoder(code), batch["x4"]) / batch["x"][0].size
        return (cost + losses.analogy_manifold(c, d, code - c)).mean()

    def penalty(net: Nets, batch: Batch, ctx: Context, mean: jax.Array) -> jax.Array:
        codes = [mean, *(net.encoder(batch[name]).mean for name in others)]
        tied = [code[:, :1] for code in codes]
        match constraint:
            case "groups":
                first, variance = jnp.stack(codes, axis=1), losses.code_scale(tied[0], axis_name=ctx.axis_name) ** 2
                shared = jnp.broadcast_to((jnp.arange(mean.shape[-1]) < 1)[None], mean.shape)
                return losses.group_variance(first, shared).mean() + ((variance - 1) ** 2).sum()
            case "ranks":
                return losses.rank_pairing(codes[0], codes[1], batch["order"]).mean()
            case "distances" if stress:
                code, values = everywhere(tied[0], ctx), everywhere(batch["values"], ctx)
                return losses.mds_stress(code, jnp.abs(values - values.T), weighting="stress-1", scale_free=True)
            case "distances":
                return jnp.where(batch["known"], losses.triplet(*tied), 0).mean()
        return of_analogy(net, batch, *codes)

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = losses.kl_standard_normal(mean, logvar).mean()
        constrained = penalty(net, batch, ctx, mean)
        terms = {"reconstruction": reconstruction, "kl": kl, "constraint": constrained}
        return reconstruction + hp.beta * kl + hp.constraint_weight * constrained, terms

    objective = Objective(loss, trained)
    kept = {name: network for name, network in networks.items() if name in trained}
    needs = ("x", *others, *more)
    return autoencoder_method("constrained-autoencoder", kept, likelihood, hyperparameters, objective, needs=needs)


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, decoder, and the weights of multiplicative analogies."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The weights of analogies beside the autoencoder."""
        return {**super().make(source), "analogy": analogy_weights(self.latents)}


ENTRY = Entry("constrained-autoencoder", constrained_autoencoder, ConstrainedAutoencoder, InConstraints, Networks)
