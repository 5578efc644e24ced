"""MCR^2, maximal coding rate reduction (Yu, Chan, You, Song & Ma, 2020): each class gets dimensions of its own.

Equation.

    loss = -gamma2 R(z, gamma1) + R_c(z | class)

    R    =       1/2  log det( I + gamma1 D / eps^2 mean_b z_b z_b^T )              all features, expanded
    R_c  = sum_k p_k/2 log det( I +       D / eps^2 mean_{b in k} z_b z_b^T )       those of a class, compressed

z are features of unit length, p_k the share of class k in the (global) batch. gamma1 = gamma2 = 1 is minus the rate
reduction, R - R_c >= 0. At its best the classes lie in subspaces at right angles, and each fills its own evenly: for K
balanced classes, with K dividing D, R - R_c = D/2 log(1 + 1/eps^2) - D/(2 K) log(1 + K/eps^2). There is no head: an
image is classified by the nearest of the subspaces, `jaxvae.analysis.fit_subspaces`.

Batches are best several times as large as D: with few examples of a class its R_c is too low. The features of any
network are brought to unit length here; without that, R grows without bound. Labels outside of 0 .. classes - 1 belong
to no class.

Self-supervised, the classes are images: 20 of them with 50 altered copies each (`jaxvae.data.augmented`; classes is
then the batch size over the copies), gamma1 = 20, gamma2 = 0.05. With these weights all features first draw together,
R - R_c being near 0 for dozens of updates, before the images part.

The authors train with SGD (momentum 0.9, weight decay 5e-4, rate 0.01 falling tenfold at three epochs), batch norm,
crops and mirrored images, and the batches of their script are the same in every epoch. Here: Adam, group norm, no
decay, images as the source gives them, batches drawn anew.

When to use. For classes with labels, some of them wrong, and features that keep directions within a class. Not for
factors: a latent has no meaning of its own.

Presets. The defaults are the paper's eps^2 and weights, at a rate of our choice. paper: the ResNet for CIFAR-10, D =
128, batches of 1,000, 500 epochs of it, on sprites of 32 pixels here. self-supervised: the same with batches of 20
images, 50 copies each.

Measured here. Accuracy on held-out digits with 0 / 10 / 30 / 50 % of the labels wrong: 0.985 / 0.977 / 0.911 / 0.772,
cross-entropy 0.988 / 0.918 / 0.795 / 0.615, much of it because it learns wrong labels more slowly; directions per class
4.00 ± 0.06, cross-entropy 1.50 ± 0.04 (experiments/label_corruption.py). Self-supervision has no experiment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax

from jaxvae.data import InClasses
from jaxvae.losses import class_coding_rate, coding_rate, unit_length
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import point
from jaxvae.methods.entry import Entry, Preset
from jaxvae.networks import feature_network
from jaxvae.networks.options import Examples, NetworkOptions


class MCR2(NamedTuple):
    """Hyperparameters of MCR^2."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    eps_squared: float = 0.5
    """Squared error up to which features are coded, > 0; epsilon^2 in the paper."""
    gamma1: float = 1.0
    """Scale of the second moments of all features, > 0."""
    gamma2: float = 1.0
    """Weight of the expansion, >= 0."""


DEFAULTS = {"data": "digits", "batch_size": 500, "steps": 1000}
_PAPER = {"data": "sprites", "image_size": 32, "network": "resnet", "latents": 128, "batch_size": 1000}
PRESETS = {
    "paper": Preset(MCR2(), {**_PAPER, "steps": 25_000}),
    "self-supervised": Preset(MCR2(gamma1=20.0, gamma2=0.05), {**_PAPER, "copies": 50}),
}


def mcr2(networks: Mapping[str, Network], *, classes: int, hyperparameters: MCR2 = MCR2()) -> Method:
    """MCR^2: features whose classes span subspaces at right angles (Yu et al., 2020).

    Batches hold "class" int32 [B], see `jaxvae.data.classified` and `jaxvae.data.augmented`. There is no decoder; a
    code is a feature vector, with a variance of next to nothing.

    Args:
      networks: Encoder, image -> features [B, D], of `jaxvae.networks.feature_network`.
      classes: Number of classes, K in the equation.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for no encoder, no classes, or eps_squared, gamma1 or gamma2 out of range.
    """
    if "encoder" not in networks:
        raise ValueError(f"mcr2 needs the network 'encoder', got {sorted(networks)}; see jaxvae.networks")
    if classes < 1:
        raise ValueError(f"mcr2 needs at least 1 class, got classes={classes}")
    if not (hyperparameters.eps_squared > 0 and hyperparameters.gamma1 > 0 and hyperparameters.gamma2 >= 0):
        raise ValueError(f"eps_squared and gamma1 must be positive, and gamma2 >= 0, got {hyperparameters}")

    def features(net: Nets, batch: Batch) -> jax.Array:
        return unit_length(net.encoder(batch["x"]))

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp, z = ctx.hyperparameters, features(net, batch)
        membership = jax.nn.one_hot(batch["class"], classes, dtype=z.dtype)

        def rate(scale: float | jax.Array) -> jax.Array:
            return coding_rate(z, eps_squared=hp.eps_squared, scale=scale, axis_name=ctx.axis_name)

        compression = class_coding_rate(z, membership, eps_squared=hp.eps_squared, axis_name=ctx.axis_name)
        expansion = rate(1.0)
        terms = {"expansion": expansion, "compression": compression, "rate_reduction": expansion - compression}
        return compression - hp.gamma2 * rate(hp.gamma1), terms

    return Method(
        name="mcr2",
        networks={"encoder": networks["encoder"]},
        hyperparameters=hyperparameters,
        objectives=(Objective(loss, ("encoder",)),),
        encode=lambda net, batch: point(features(net, batch)),
        needs=("x", "class"),
    )


@dataclass(frozen=True)
class Networks(NetworkOptions):
    """Encoder of features on a sphere."""

    network: Literal["mlp", "resnet"] = "mlp"
    """Architecture of the encoder."""
    latents: int = 40
    """Number of features."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The encoder for images."""
        return {"encoder": feature_network(source.event_shape, self.latents, self.network, self.jax_dtype)}


ENTRY = Entry("mcr2", mcr2, MCR2, InClasses, Networks, presets=PRESETS, defaults=DEFAULTS)
