"""Semi-supervised beta-VAE (Locatello et al., 2020, "few labels"): labels of a few examples beside images of many.

Equation.

    loss = mean[ -log p(x|z) + beta KL( q(z|x) || N(0, I) ) ] + gamma_sup R( mu(x_labelled), y )

mu is the posterior mean; latent f is tied to factor f, whose value y_f is put on a scale from 0 to 1. R, over a
labelled batch of the same size that cycles through the labelled examples:

    cross-entropy   mean_b sum_f softplus(mu_f) - y_f mu_f
    squared-error   mean_b sum_f ( sigmoid(mu_f) - y_f )^2
    covariance      sum_{d != f} Cov(mu_d, n_f)^2,   n_f the label itself, 0, 1, ...
    embedding       mean_b sum_f -log softmax_k( -(s (mu_f - e_fk))^2 )_label,   e and s learned
    mutual-information   sum_{d != f} I(mu_d; y_f)^2, by critics that learn the Donsker-Varadhan bound

The covariance and the mutual information ask latents to be silent about other factors, not to know their own.

gamma_sup grows linearly from 0 for `warmup` updates. The authors' code sums the cross-entropy and the squared error
over the labelled batch of 64, so that its gamma_sup of 1 is 64 here; covariance, embedding and mutual information are
means there too, and gamma_sup is the same. By default it is their 4 for every form: 256 for the sums, 4 for the means.
Data: `jaxvae.data.few_labels`; `--labels` of the command are drawn with seed 0, whatever the run's own seed.

When to use. Where some dozens of examples have labels of all factors. Not with labels of other images: they do no good.

Presets. The defaults are the study's rate, and our choice among the authors' weights: beta 4 and their gamma_sup 4, as
in their test's configuration. study: these, the nets and the rest those of the large-scale study. study-covariance,
study-embedding, study-mutual-information: the same, other forms. A target is a label over its largest value, theirs
over the number of values.

Measured here. MIG 0.25 ± 0.13 without labels, 0.37 ± 0.01 / 0.42 ± 0.01 / 0.51 ± 0.01 with 25 / 100 / 400 of 1,728,
0.24 ± 0.06 with 400 of other images (experiments/few_labels.py, 5 seeds, beta 4). Defaults, 100 labels: MIG 0.32 ±
0.01, the highest of all, squared error 0.020 ± 0.001 (VAE 0.009; experiments/compare_everything.py, 3 seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.data import FewLabels
from jaxvae.losses import (
    donsker_varadhan_bound,
    embedding_cross_entropy,
    kl_standard_normal,
    label_covariance,
    label_cross_entropy,
    label_squared_error,
    permute_dims,
)
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import Entry, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import linear_ramp
from jaxvae.networks import label_networks
from jaxvae.networks.options import Autoencoder, Examples


class SemiSupervisedVAE(NamedTuple):
    """Hyperparameters of the semi-supervised beta-VAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    beta: float = 4.0
    """Weight of the KL, >= 0."""
    gamma_sup: float | None = None
    """Weight of the supervised loss, >= 0. By default, the authors' 4 for the forms that they average over the batch
    (covariance, embedding, mutual-information), and 4 * 64 = 256 for the others, which they sum over batches of 64."""
    warmup: float = 0.0
    """Number of steps over which gamma_sup grows linearly from 0."""
    critic_learning_rate: float = 1e-2
    """Learning rate of the critics of supervision="mutual-information"."""


AVERAGED = ("covariance", "embedding", "mutual-information")  # over the batch, by the authors
PRESETS = {"study": study(SemiSupervisedVAE())}
PRESETS |= {f"study-{form}": study(SemiSupervisedVAE(), supervision=form) for form in AVERAGED}


def settled(hyperparameters: SemiSupervisedVAE, supervision: str) -> SemiSupervisedVAE:
    """Returns the hyperparameters with the default weight of the form of supervision, if they have no weight."""
    own = hyperparameters.gamma_sup
    return hyperparameters._replace(gamma_sup=own if own is not None else 4.0 if supervision in AVERAGED else 4.0 * 64)


def semi_supervised_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    supervision: Literal[
        "cross-entropy", "squared-error", "covariance", "embedding", "mutual-information"
    ] = "cross-entropy",
    hyperparameters: SemiSupervisedVAE = SemiSupervisedVAE(),
) -> Method:
    """Semi-supervised beta-VAE: labels of a few examples tie latents to factors (Locatello et al., 2020).

    Args:
      networks: Encoder and decoder; embedding, or critics, of `jaxvae.networks.label_networks` for those two forms.
      likelihood: Likelihood of an image given its code.
      supervision: Loss that ties latents to labels: cross-entropy, squared-error, covariance, embedding or
        mutual-information.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight; when it is traced, for more factors than latents.
    """
    hyperparameters = settled(hyperparameters, supervision)
    for name in ("beta", "gamma_sup"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")

    extra = {"embedding": ("embedding",), "mutual-information": ("critics",)}.get(supervision, ())
    networks = {name: network for name, network in networks.items() if name in (*AUTOENCODER, *extra)}

    def bounds(net: Nets, batch: Batch, ctx: Context, codes: jax.Array) -> jax.Array:
        """On the information of every factor and latent, [F, D]. A label that is not known tells nothing."""
        target = jnp.nan_to_num(batch["target"])
        shuffled = permute_dims(ctx.key, target, axis_name=ctx.axis_name)
        scores = net.critics(target, codes), net.critics(shuffled, codes)
        return donsker_varadhan_bound(*scores, axis_name=ctx.axis_name)

    def penalty(net: Nets, batch: Batch, ctx: Context) -> jax.Array:
        codes, target = net.encoder(batch["labelled_x"]).mean, batch["target"]
        match supervision:
            case "covariance":
                label = jnp.where(jnp.isnan(target), jnp.nan, batch["label"])
                return label_covariance(codes, label, axis_name=ctx.axis_name)
            case "mutual-information":
                own = jnp.eye(target.shape[1], codes.shape[1], dtype=bool)
                return (jnp.where(own, 0, bounds(net, batch, ctx, codes)) ** 2).sum()
            case "embedding":
                places, log_sharpness = net.embedding()
                if len(places) > codes.shape[1]:
                    raise ValueError(f"every factor needs a latent: {len(places)} factors, {codes.shape[1]} latents")
                label = jnp.where(jnp.isnan(target), -1, batch["label"])
                sharpness = jnp.exp(log_sharpness)
                costs = [
                    embedding_cross_entropy(codes[:, k], label[:, k], place, sharpness=sharpness).mean()
                    for k, place in enumerate(places)
                ]
                return jnp.stack(costs).sum()
            case "squared-error":
                return label_squared_error(codes, target).mean()
            case _:
                return label_cross_entropy(codes, target).mean()

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        supervised = penalty(net, batch, ctx)
        gamma = linear_ramp(0.0, hp.gamma_sup, ctx.step, hp.warmup)
        terms = {"reconstruction": reconstruction, "kl": kl, "supervision": supervised}
        return reconstruction + hp.beta * kl + gamma * supervised, terms

    def tell(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        return -bounds(net, batch, ctx, net.encoder(batch["labelled_x"]).mean).sum(), {}

    objectives = [Objective(loss, (*AUTOENCODER, *extra) if supervision == "embedding" else AUTOENCODER)]
    if supervision == "mutual-information":
        objectives.append(Objective(tell, extra, learning_rate="critic_learning_rate"))
    needs = ("x", "labelled_x", "target", "label")
    return autoencoder_method("semi-supervised-vae", networks, likelihood, hyperparameters, *objectives, needs=needs)


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, decoder, and what compares latents with labels."""

    def make(self, source: Examples) -> dict[str, Network]:
        """An embedding of the labels and critics of pairs of a label and a latent beside the autoencoder."""
        sizes = source.factor_sizes
        return {**super().make(source), **(label_networks(sizes, self.latents) if sizes else {})}


ENTRY = Entry(
    "semi-supervised-vae",
    semi_supervised_vae,
    SemiSupervisedVAE,
    FewLabels,
    Networks,
    presets=PRESETS,
    settled=lambda hyperparameters, options, steps: settled(hyperparameters, options.supervision),
    idle=lambda options: (
        {}
        if options.supervision == "mutual-information"
        else {"critic_learning_rate": "--supervision mutual-information"}
    ),
)
