"""ControlVAE (Shao et al., 2020): a controller chooses the weight of the KL so that the KL reaches a set point.

Equation.

    loss = E_q(z|x)[ -log p(x|z) ] + beta(t) KL( q(z|x) || N(0, I) )

    e(t) = target(t) - KL(t)                        error, with the KL of the (global) batch
    beta(t) = P(t) + I(t) + beta_min, at least beta_min and at most beta_max
    P(t) = proportional_gain / (1 + exp(e(t)))      proportional part
    I(t) = I(t-1) - integral_gain e(t)              integral part, I(-1) = 0

beta has no gradient. target grows linearly from target_start to target over `warmup` steps. While beta is at a bound, I
does not move further out of it (anti-windup). In the paper's algorithm the condition is that the last beta, which is
already clipped, is within the bounds, which it always is.

The integral is a parameter of a network, trained by plain gradient descent with the rate integral_gain, so that it is
saved and resumed with all others. Another --optimizer does not replace that.

When to use. As the annealed VAE, where the KL in nats is what you want to set, with a weight that stays a weight: the
loss is an evidence lower bound with beta times the KL. Not for runs of a few hundred steps, in which the controller
does not settle.

Presets. The gains are the paper's for disentanglement, the final target of 18 nats on dSprites too (both from memory).
paper: these on sprites, with the target growing from 0.5 nats, there by 0.15 nats every 5,000 steps, here along
a line of the same slope. beta is between 0 and 1 there for images and text, and above 1 for disentanglement, which
beta_min and beta_max choose.

Measured here. Over the last fifth of 1,000 steps the KL is 0.10 ± 0.10 nats off a set point of 4, with a weight of 3.23
± 0.43, and 0.06 ± 0.02 nats off 8. The reconstruction is 9.9 ± 0.4 nats at 8, that of an annealed VAE 17.9 ± 5.0
(experiments/set_point.py, 3 seeds, upright sprites).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import optax

from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import DSPRITES, Entry, Preset
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import controlled_weight, linear_ramp
from jaxvae.networks import integral_memory
from jaxvae.networks.options import Autoencoder, Examples


class ControlVAE(NamedTuple):
    """Hyperparameters of the ControlVAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    target: float = 18.0
    """Set point of the KL, in nats."""
    target_start: float = 0.5
    """Set point at the first step, in nats."""
    warmup: float = 3000.0
    """Number of steps over which the set point goes from target_start to target."""
    proportional_gain: float = 0.01
    """Gain of the proportional part, >= 0."""
    integral_gain: float = 0.005
    """Gain of the integral part, > 0."""
    beta_min: float = 0.0
    """Least weight of the KL, >= 0."""
    beta_max: float = 100.0
    """Largest weight of the KL."""


PRESETS = {
    "paper": Preset(
        ControlVAE(warmup=583_000.0, beta_min=1.0),
        {**DSPRITES, "network": "burgess", "latents": 10, "batch_size": 128, "steps": 1_000_000},
    )
}


def control_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    hyperparameters: ControlVAE = ControlVAE(),
) -> Method:
    """ControlVAE: a controller weights the KL so that it reaches a set point (Shao et al., 2020).

    Args:
      networks: Encoder, decoder, and controller of `jaxvae.networks.integral_memory`.
      likelihood: Likelihood of an image given its code.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a gain that is out of range, or bounds of beta that are.
    """
    hp = hyperparameters
    if hp.proportional_gain < 0 or hp.integral_gain <= 0 or not 0 <= hp.beta_min < hp.beta_max:
        raise ValueError(
            "gains must be >= 0, the integral gain positive, and 0 <= beta_min < beta_max; got proportional_gain="
            f"{hp.proportional_gain}, integral_gain={hp.integral_gain}, beta_min={hp.beta_min}, beta_max={hp.beta_max}"
        )

    def controlled(net: Nets, kl: jax.Array, ctx: Context) -> tuple[jax.Array, jax.Array]:
        """The weight of the mean KL of the global batch and the move of the integral, both constant."""
        hp = ctx.hyperparameters
        kl = kl if ctx.axis_name is None else jax.lax.pmean(kl, ctx.axis_name)
        error = linear_ramp(hp.target_start, hp.target, ctx.step, hp.warmup) - kl
        weight_and_move = controlled_weight(
            error,
            net.controller(),
            proportional_gain=hp.proportional_gain,
            integral_gain=hp.integral_gain,
            least=hp.beta_min,
            most=hp.beta_max,
        )
        return jax.lax.stop_gradient(weight_and_move)

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        beta, _ = controlled(net, kl, ctx)
        return reconstruction + beta * kl, {"reconstruction": reconstruction, "kl": kl, "beta": beta}

    def remember(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        """Descent with the rate integral_gain adds the move to the integral."""
        _, move = controlled(net, kl_standard_normal(*net.encoder(batch["x"])).mean(), ctx)
        return -move / ctx.hyperparameters.integral_gain * net.controller(), {}

    objectives = (
        Objective(loss, AUTOENCODER),
        Objective(remember, ("controller",), optax.sgd, "integral_gain"),
    )
    return autoencoder_method("control-vae", networks, likelihood, hyperparameters, *objectives)


@dataclass(frozen=True)
class Networks(Autoencoder):
    """Encoder, decoder, and the memory of the controller."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The controller's memory beside the autoencoder."""
        return {**super().make(source), "controller": integral_memory()}


ENTRY = Entry("control-vae", control_vae, ControlVAE, networks=Networks, presets=PRESETS)
