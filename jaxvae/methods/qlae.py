"""Quantised latent autoencoder, QLAE (Hsu, Dorrell, Whittington, Wu & Finn, 2023): latents on a grid of few values.

Equation. With the code x of the encoder and a list v_j of values for every latent j,

    q_j = the value of v_j that is nearest to x_j
    z_j = x_j + stop_gradient(q_j - x_j)
    loss = -log p(x|z) / P + a mean_j( stop_gradient(x_j) - q_j )^2 + b mean_j( x_j - stop_gradient(q_j) )^2

P is the number of values of an example: the authors' reconstruction is a mean over pixels, and a and b are weights
against a mean. a, the quantisation weight, moves the lists to the codes, and nothing else does. b, the commitment
weight, moves the codes to the lists. The encoder is deterministic, its output is not bounded, and there is no prior. A
grid breaks rotations: a rotated grid is not on the grid. What is encoded, and thus what metrics see, is q.

The networks are trained by AdamW with a weight decay of 0.1, unusually high, on weights only: not on biases or on the
lists. Gradients are clipped at 1, element by element. On the command line these are --optimizer, --weight-decay and
--clip-value. The authors' code decays the scales of its normalisation layers too; our networks have none by default.

When to use. For disentangled latents with a few values each, from images alone, where no samples and no likelihood are
needed.

Presets. The defaults are the authors' for Shapes3D. paper: these on rooms of 64 x 64, with twice as many latents as
factors, and with our `conv` networks in place of their 12 convolutions with instance norm and a style decoder. mpi3d: a
weight decay of 0.001 and 14 latents, as their code has them for MPI3D, on rooms. fixed: lists that are not trained, and
a commitment weight of 0.001.

Measured here. InfoM is 0.50 ± 0.07 on upright sprites and 0.53 ± 0.04 on small rooms (beta-TCVAE: 0.30 ± 0.10 and 0.42
± 0.05; FactorVAE: 0.43 ± 0.04 and 0.39 ± 0.03), at a squared error of 0.0088 ± 0.0002 and 0.0058 ± 0.0006. MIG is no
higher. Without weight decay it is the same after these 1,000 steps, which are too few for the decay to matter
(experiments/quantised_codes.py, 5 seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import optax

from jaxvae.losses import commitment_loss, nearest_value, quantisation_loss, straight_through
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms, are_weights
from jaxvae.methods.autoencoding import AUTOENCODER, autoencoder_method, point
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.networks import value_lists
from jaxvae.networks.options import Autoencoder, Examples


class QLAE(NamedTuple):
    """Hyperparameters of the QLAE."""

    learning_rate: float = 1e-3
    """Learning rate of AdamW."""
    quantisation_weight: float = 0.01
    """Weight of the loss that moves the values to the codes, >= 0."""
    commitment_weight: float = 0.01
    """Weight of the loss that moves the codes to the values, >= 0."""


WEIGHT_DECAY, CLIP_VALUE = 0.1, 1.0
DEFAULTS = {"optimizer": "adamw", "weight_decay": WEIGHT_DECAY, "clip_value": CLIP_VALUE}
_PAPER = {"data": "rooms", "image_size": 64, "network": "conv", "latents": 12, "steps": 200_000, **DEFAULTS}
PRESETS = {
    "paper": Preset(QLAE(), _PAPER),
    "mpi3d": Preset(QLAE(), {**_PAPER, "latents": 14, "weight_decay": 0.001}),
    "fixed": Preset(QLAE(commitment_weight=1e-3), {**_PAPER, "values": "fixed"}),
}


def decayed(rate: Any, weight_decay: float = WEIGHT_DECAY) -> optax.GradientTransformation:
    """AdamW as the authors use it: gradients clipped element by element, and decay of weights only."""
    adamw = optax.adamw(rate, weight_decay=weight_decay, mask=are_weights)
    return optax.chain(optax.clip(CLIP_VALUE), adamw)


def qlae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    values: Literal["learned", "fixed"] = "learned",
    hyperparameters: QLAE = QLAE(),
) -> Method:
    """QLAE: an autoencoder whose latents take few values each, with weight decay (Hsu et al., 2023).

    Args:
      networks: Encoder, decoder, and values of `jaxvae.networks.value_lists`.
      likelihood: Likelihood of an image given its code.
      values: Whether the values of the latents are learned, or stay fixed at equal distances from -0.5 to 0.5.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight.
    """
    for name in ("quantisation_weight", "commitment_weight"):
        if getattr(hyperparameters, name) < 0:
            raise ValueError(f"{name} is a weight and must be >= 0, got {getattr(hyperparameters, name)}")
    if "values" not in networks:
        raise ValueError("qlae needs the network 'values' beside encoder and decoder: see jaxvae.networks.value_lists")
    trained = (*AUTOENCODER, "values") if values == "learned" else AUTOENCODER
    lists = networks["values"]
    kept = {name: network for name, network in networks.items() if name in trained}

    def quantised(net: Nets, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The codes as they are encoded, and the nearest values."""
        x = net.encoder(batch["x"]).mean
        of_latents = net.values() if values == "learned" else lists.apply(lists.init(jax.random.key(0)))
        return x, nearest_value(x, of_latents).value

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        x, q = quantised(net, batch)
        reconstruction = likelihood.nll(net.decoder(straight_through(x, q)), batch["x"]).mean()
        commitment = commitment_loss(x, q).mean()
        total = reconstruction / batch["x"][0].size + hp.commitment_weight * commitment
        if values == "learned":
            total += hp.quantisation_weight * quantisation_loss(x, q).mean()
        return total, {"reconstruction": reconstruction, "commitment": commitment}

    method = autoencoder_method("qlae", kept, likelihood, hyperparameters, Objective(loss, trained, decayed))
    return method._replace(encode=lambda net, batch: point(quantised(net, batch)[1]), quantised=True)


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, decoder, and a list of values for each latent."""

    num_values: int = 10
    """Number of values of each latent."""

    def make(self, source: Examples) -> dict[str, Network]:
        """Lists of values beside the autoencoder."""
        return {**super().make(source), "values": value_lists(self.latents, self.num_values)}


ENTRY = Entry(
    "qlae",
    qlae,
    QLAE,
    networks=Networks,
    presets=PRESETS,
    defaults=DEFAULTS,
    idle=lambda options: {"quantisation_weight": "--values learned"} if options.values == "fixed" else {},
)
