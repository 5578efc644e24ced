"""Output-interpretable VAE (Ainsworth, Foti, Lee & Fox, 2018): groups of outputs, each driven by few latents.

Equation.

    p(x^(g) | z) = likelihood around f_g( W^(g) z ),   g = 1 .. G,   column j of W^(g) = what latent j does to group g
    smooth = E_q(z|x)[ -log p(x|z) ] + KL( q(z|x) || N(0, I) ) + s |theta|^2 / 2,   theta the weights of all f_g
    loss   = smooth + s lam sum_gj | W_j^(g) |_2

The loss has no derivative where a column is 0, which is where it should end. So W descends the gradient of the smooth
part, by plain steps of its own rate r, each followed by the proximal step W_j <- W_j max(0, 1 - r s lam / |W_j|); all
else is trained by Adam. |W_j^(g)| is read off the trained loadings by `jaxvae.losses.group_norms` as the table of which
latent drives which group. The normal prior on theta is needed: without it f_g grows while W shrinks.

lam and theta's prior are not divided by the number of examples, as in the authors' code, where the likelihood is a
mean over the batch: s = 1 / N is the most probable W and theta. noise="learned" has a standard deviation for each
output, at least 0.001, in place of the likelihood's. The loss includes the priors: no bound to compare with a VAE's.

When to use. Where outputs come in known groups (sensors, joints, regions) and the question is what drives which. Not
for faithful pictures: its error on sprites is six times the VAE's.

Presets. The defaults are weights and r of the authors' code. bars: their runs on bars, `--data bars`, without the
narrow posteriors of their first thousand updates, and with our `mlp-small` where their encoder is linear; their scales
start at 0.01, ours at 0.1.

Measured here. Share of a latent's strength on one row of the bars 0.47 ± 0.17 with lam 0, 0.89 ± 0.24 with lam 1.
Held-out bound, best lam minus VAE: 58 ± 58 nats with 300 vectors, -4.5 ± 0.8 with 3,000, by grouping, not by the lasso
(experiments/group_sparsity.py). Sprites: MIG 0.03 ± 0.05, error 0.058 ± 0.002 (experiments/compare_everything.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax

from jaxvae.losses import gaussian_nll, group_norms, group_soft_threshold, kl_standard_normal, reparameterize
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Params, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks import column_groups, content_of_groups, decoder_params, grouped_decoder
from jaxvae.networks.options import Autoencoder, Examples
from jaxvae.schema import schema_of

LEAST_SCALE = 1e-3
"""Of a learned standard deviation: one that can shrink to 0 makes the likelihood of a constant value unbounded."""


class OIVAE(NamedTuple):
    """Hyperparameters of the oi-VAE."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    loadings_learning_rate: float = 1e-4
    """Learning rate of the plain gradient steps of W; r in the paper."""
    lam: float = 1.0
    """Strength of the group lasso, >= 0."""
    prior_scale: float = 1.0
    """Weight of the priors on W and theta, >= 0; s in the paper."""


PRESETS = {
    "bars": Preset(
        OIVAE(learning_rate=1e-2),
        {"data": "bars", "latents": 8, "batch_size": 64, "steps": 20_000, "noise": "learned"},
    )
}


def oi_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    noise: Literal["likelihood", "learned"] = "likelihood",
    hyperparameters: OIVAE = OIVAE(),
) -> Method:
    """Output-interpretable VAE: a group-sparse decoder shows which latent drives what (Ainsworth et al., 2018).

    Args:
      networks: Encoder, and loadings, decoder and scales of `jaxvae.networks.grouped_decoder`.
      likelihood: Likelihood of an image given its code.
      noise: Noise of the outputs: that of the likelihood, or learned, which is Gaussian with a standard deviation for
        each output. It is not for tables, whose likelihood has a learned scale for each real column.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for lam or prior_scale < 0, or learned noise with a likelihood that has learned parameters.
    """
    if noise == "learned" and len(likelihood.start):
        raise ValueError(
            "noise='learned' is for images and vectors: the likelihood of a table has learned scales already, and "
            "leaves out missing values; leave it out"
        )
    if min(hyperparameters.lam, hyperparameters.prior_scale) < 0:
        raise ValueError(f"lam and prior_scale must be >= 0, got {hyperparameters}")
    rates = dict.fromkeys((*AUTOENCODER, "scales"), "learning_rate") | {"loadings": "loadings_learning_rate"}
    if noise == "likelihood":
        rates.pop("scales")
        networks = {name: network for name, network in networks.items() if name != "scales"}

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp, image = ctx.hyperparameters, batch["x"]
        mean, logvar = net.encoder(image)
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
        expected = net.decoder(net.loadings(z))
        if noise == "learned":
            scale = jnp.exp(net.scales()) + LEAST_SCALE
            nll = gaussian_nll(expected / scale[None], image / scale[None]) + jnp.log(scale).sum()
        else:
            nll = likelihood.nll(expected, image)
        reconstruction, kl = nll.mean(), kl_standard_normal(mean, logvar).mean()
        weights = jax.tree.leaves(decoder_params(net.params("decoder")))
        theta = sum(0.5 * (leaf**2).sum() for leaf in weights)
        lasso = jax.lax.stop_gradient(group_norms(_columns(net.params("loadings"))).sum())
        smooth = reconstruction + kl + hp.prior_scale * theta
        return smooth + hp.prior_scale * hp.lam * lasso, {
            "reconstruction": reconstruction,
            "kl": kl,
            "decoder_prior": theta,
            "group_lasso": lasso,
        }

    def shrink(params: dict[str, Params], hp: OIVAE) -> dict[str, Params]:
        threshold = hp.loadings_learning_rate * hp.prior_scale * hp.lam
        return {**params, "loadings": {"weights": group_soft_threshold(_columns(params["loadings"]), threshold)}}

    optimizers = dict.fromkeys(rates, optax.adam) | {"loadings": optax.sgd}
    objective = Objective(loss, tuple(rates), optimizers, rates, shrink)
    method = autoencoder_method("oi-vae", networks, likelihood, hyperparameters, objective)
    mean = (lambda raw: raw) if noise == "learned" else likelihood.mean
    return method._replace(decode=lambda net, z: mean(net.decoder(net.loadings(z))))


def _columns(loadings: Params) -> jax.Array:
    """[G, K, p]: the last axis is a column of W^(g)."""
    return loadings["weights"]


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, and a decoder of groups of outputs."""

    groups: str | None = None
    """Groups of the columns of a table, which share a generator: prefix, for the part of a column's name before its
    last _ or dot, or the path of a CSV file with the header column,group, whose content the run keeps. By default, each
    column is a group."""

    without_dropout: ClassVar[tuple[str, ...]] = ("decoder",)

    def make(self, source: Examples) -> dict[str, Network]:
        """The rows of an image or the columns of a table are the groups of outputs."""
        schema = schema_of(source)
        groups = None if schema is None else list(column_groups(schema, self.groups).values())
        grouped = grouped_decoder(source.event_shape, self.latents, groups, dtype=self.jax_dtype)
        return {**super().make(source), **grouped}

    def settled(self) -> Self:
        """Returns the networks with the content of the file of groups in place of its path.

        Raises:
          ValueError: The file cannot be read.
        """
        return self if self.groups is None else replace(self, groups=content_of_groups(self.groups))

    def group_names(self, source: Examples) -> list[str]:
        """Returns the names of the groups that `make` builds for the examples of a source."""
        schema = schema_of(source)
        if schema is not None:
            return list(column_groups(schema, self.groups))
        name = {1: "x", 2: "time "}.get(len(source.event_shape), "row ")
        return [f"{name}{place}" for place in range(source.event_shape[0])]

    def idle(self, tabular: bool) -> dict[str, str]:
        """Only columns have names, and only they have learned scales in any case."""
        other = {"noise": "images and vectors"} if tabular else {"groups": "tables, such as table:PATH"}
        return {**super().idle(tabular), **other}


ENTRY = Entry(
    "oi-vae",
    oi_vae,
    OIVAE,
    networks=Networks,
    presets=PRESETS,
    idle=lambda options: (
        dict.fromkeys(("likelihood", "scale", "library"), "--noise likelihood") if options.noise == "learned" else {}
    ),
)
