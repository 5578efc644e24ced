"""Tripod (Hsu, Ibn Hamid, Burns, Finn & Wu, 2024): a grid, independent latents, and a decoder that mixes them little.

Equation. With x the encoder's output and c = tanh(x),

    z = c rounded to num_values equidistant values from -1 to 1, with the gradient of c
    loss = -log p(x|z) / P + a KLM(z) + b NHP(decoder, z)

    KLM   log q(z) - sum_j log q(z_j), by kernel densities over the batch     `kernel_multi_information`
    NHP   curvature of the decoder's activations between different latents, over that in all directions
          `hessian_penalty`, with two random directions of each kind, as long as the standard deviations of c

P is the number of values of an example: the authors' reconstruction is a mean over pixels. The encoder is
deterministic. What is encoded, and thus what metrics see, is z. The encoder gets images in [0, 1], and that of the
authors gets them scaled to [-1, 1]; the reconstruction is of [0, 1] in both.

The penalty of the decoder is that of its hidden layers (`Network.hidden`), and that of its output for networks that do
not tell them. The authors' networks are residual, with GELU and normalisation; the default here are two dense layers
with GELU. Do not take networks with ReLU, such as `conv` and `mlp-small`: in their kinks the penalty was 5e4 after 30
steps with finite differences, and exact derivatives see no curvature at all. A step takes nine passes through the
decoder.

The networks are trained by Adam, with gradients clipped at 1, element by element: --optimizer and --clip-value.

When to use. As the QLAE, where there is compute for the penalties. Each of the three parts can be left out, by
--penalties and --code, to see what it does.

Presets. The defaults are the authors' for Shapes3D. paper: these on rooms of 64 x 64, with twice as many latents as
factors, and with dense networks in place of theirs. mpi3d, falcor3d, isaac3d: the weights and numbers of latents
that they have for these data sets, on rooms.

Measured here. 500 steps on upright sprites decide nothing: the whole has a squared error of 0.0364 ± 0.0423 and a MIG
of 0.15 ± 0.10. Without the penalty on the mixing, the code is still constant then, with an error of 0.0593 ± 0.0002
(experiments/tripod_parts.py, 3 seeds).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae.losses import code_scale, fixed_grid, hessian_penalty, kernel_multi_information
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method, point
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks.options import Autoencoder, Examples

KINKED = ("conv", "burgess", "kim", "mlp-small", "conv1d")
"""Architectures whose decoder has ReLU."""


class Tripod(NamedTuple):
    """Hyperparameters of Tripod."""

    learning_rate: float = 2e-4
    """Learning rate of Adam."""
    information_weight: float = 1e-4
    """Weight of the multi-information of the latents, KLM, >= 0."""
    mixing_weight: float = 1e-2
    """Weight of the normalised Hessian penalty of the decoder, NHP, >= 0."""


CLIP_VALUE = 1.0
DEFAULTS = {"optimizer": "adam", "clip_value": CLIP_VALUE}
_PAPER = {"data": "rooms", "image_size": 64, "batch_size": 64, "steps": 250_000, **DEFAULTS}
PRESETS = {
    "paper": Preset(Tripod(), {**_PAPER, "latents": 12}),
    "mpi3d": Preset(Tripod(information_weight=1e-8, mixing_weight=1e-4), {**_PAPER, "latents": 14}),
    "falcor3d": Preset(Tripod(information_weight=1e-10, mixing_weight=1e-2), {**_PAPER, "latents": 14}),
    "isaac3d": Preset(Tripod(information_weight=1e-4, mixing_weight=1e-8), {**_PAPER, "latents": 18}),
}


def clipped_adam(rate: Any) -> optax.GradientTransformation:
    """Adam on gradients that are clipped element by element."""
    return optax.chain(optax.clip(CLIP_VALUE), optax.adam(rate))


def tripod(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    num_values: int = 12,
    penalties: Literal["both", "information", "mixing", "none"] = "both",
    code: Literal["grid", "continuous"] = "grid",
    derivatives: Literal["finite", "exact"] = "finite",
    hyperparameters: Tripod = Tripod(),
) -> Method:
    """Tripod: latents on a grid, independent, and hardly mixed by the decoder (Hsu et al., 2024).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      num_values: Number of values of each latent, at least 2.
      penalties: Penalties that are added: both, information (of the latents), mixing (by the decoder) or none.
      code: Kind of code: on a grid, or continuous, which leaves out the rounding.
      derivatives: Kind of derivatives of the decoder: finite differences, or exact ones in forward mode.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight, or fewer than 2 values.
    """
    for name in ("information_weight", "mixing_weight"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")
    if num_values < 2:
        raise ValueError(f"a grid needs at least 2 values: raise num_values from {num_values}")

    def coded(net: Nets, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The code before rounding, and after it."""
        x = net.encoder(batch["x"]).mean
        bounded = jnp.tanh(x)
        return bounded, fixed_grid(x, num_values) if code == "grid" else bounded

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        bounded, z = coded(net, batch)
        reconstruction = likelihood.nll(net.decoder(z), batch["x"]).mean()
        total, terms = reconstruction / batch["x"][0].size, {"reconstruction": reconstruction}
        scale = code_scale(bounded, axis_name=ctx.axis_name)
        if penalties in ("both", "information"):
            information = kernel_multi_information(z, scale, axis_name=ctx.axis_name).mean()
            total, terms = total + hp.information_weight * information, {**terms, "multi_information": information}
        if penalties in ("both", "mixing"):

            def activations(codes: jax.Array) -> list[jax.Array]:
                return net.hidden("decoder", codes) or [net.decoder(codes)]

            mixing = hessian_penalty(
                activations, z, ctx.key, scale=scale, derivatives=derivatives, axis_name=ctx.axis_name
            ).mean()
            total, terms = total + hp.mixing_weight * mixing, {**terms, "mixing": mixing}
        return total, terms

    objective = Objective(loss, AUTOENCODER, clipped_adam)
    method = autoencoder_method("tripod", networks, likelihood, hyperparameters, objective)
    return method._replace(encode=lambda net, batch: point(coded(net, batch)[1]), quantised=code == "grid")


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder and decoder, which are smooth."""

    network: str = "gelu"
    """Architecture of encoder and decoder, as `jaxvae list` gives it. It should be smooth: not one with ReLU."""

    def make(self, source: Examples) -> dict[str, Network]:
        """Builds an encoder and a decoder. Warns of a decoder with ReLU."""
        if self.network in KINKED:
            warnings.warn(
                f"the penalty on mixing has no meaning for --network {self.network}, which has ReLU: take "
                "--network gelu, or --penalties information",
                stacklevel=2,
            )
        return super().make(source)


def _idle(options: Any) -> dict[str, str]:
    needed = {
        "information_weight": ("both", "information"),
        "mixing_weight": ("both", "mixing"),
        "derivatives": ("both", "mixing"),
    }
    idle = {
        flag: f"--penalties {' and '.join(kinds)}" for flag, kinds in needed.items() if options.penalties not in kinds
    }
    return idle if options.code == "grid" else {**idle, "num_values": "--code grid"}


ENTRY = Entry("tripod", tripod, Tripod, networks=Networks, presets=PRESETS, defaults=DEFAULTS, idle=_idle)
