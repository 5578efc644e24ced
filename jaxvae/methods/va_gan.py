"""VA-GAN (Baumgartner et al., 2018): what would have to change for a case to pass for a control, pixel by pixel.

Equation.

    y = x + M(x)                     x a case; with output="tanh", y = tanh(x + M(x))
    map_loss    = mean[ -D(y) ] + lambda mean sum_pixels |y - x|
    critic_loss = mean[ D(y) - D(control) + 10 ( |grad D(between)| - 1 )^2 ]

Images are brought to [-1, 1]. D is high for controls; the authors' has the other sign. Their lambda, 100, weighs the
mean over 112 x 112 pixels: of the sum it is 0.008, whatever the size of the image. A pixel's map stays at 0 where the
critic's slope is below lambda.

Every update trains the critic, on a fresh batch; the map moves after `critic_steps` of them, and after `long_steps` for
the first 25 times and every 100th. A run of n updates therefore has about n / 6 of the map.

The authors' penalty takes the norm over one axis of the image, a fault that makes their critic steeper:
penalty_axes="one". With tanh, M = 0 changes the image. GroupNorm stands in for BatchNorm in the map's U-Net. Data:
`jaxvae.data.case_control`, and `squares`; `pictures` has the maps.

When to use. To see all that a class changes in an image, not only what a classifier needs. Not for codes: it has none.

Presets. The defaults are the paper's rate and weights. paper: the two-dimensional nets on images of 112 pixels, as
published: tanh, one axis.

Measured here. Correlation of maps with both planted squares 0.67 ± 0.13 (a classifier's slope 0.32 ± 0.45), with the
second square alone 0.54 ± 0.23 (0.22 ± 0.34): too much spread to part them (experiments/visual_attribution.py, 3 seeds,
32 pixels).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae.data import CasesAndControls
from jaxvae.losses import gradient_penalty, hinge_generator_loss, wasserstein_critic_loss
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.entry import Entry, Preset
from jaxvae.networks import attribution_networks
from jaxvae.networks.options import Examples, SizedNetworks

FIRST_LONG, EVERY_LONG = 25, 100


class VAGAN(NamedTuple):
    """Hyperparameters of the VA-GAN."""

    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    critic_learning_rate: float = 1e-3
    """Learning rate of the critic."""
    map_weight: float = 0.008
    """Weight of the sum of the map's absolute values, >= 0; lambda in the paper."""
    penalty_weight: float = 10.0
    """Weight of the critic's gradient penalty, >= 0."""


DEFAULTS = {"data": "squares", "batch_size": 32}
_PAPER = {**DEFAULTS, "image_size": 112, "net_size": "paper", "steps": 12_000}
PRESETS = {"paper": Preset(VAGAN(), {**_PAPER, "output": "tanh", "penalty_axes": "one"})}


def va_gan(
    networks: Mapping[str, Network],
    *,
    output: Literal["additive", "tanh"] = "additive",
    penalty_axes: Literal["all", "one"] = "all",
    critic_steps: int = 5,
    long_steps: int = 100,
    hyperparameters: VAGAN = VAGAN(),
) -> Method:
    """VA-GAN: a map of all that tells cases from controls, by a Wasserstein critic (Baumgartner et al., 2018).

    Args:
      networks: Map and critic, of `jaxvae.networks.attribution_networks`.
      output: How an image and its map are combined: additive, or tanh of their sum.
      penalty_axes: Axes of the image over which the norm of the critic's gradient is taken: all, or one, as in the
        authors' code.
      critic_steps: Number of critic steps per step of the map.
      long_steps: Number of critic steps per step of the map for its first 25 steps and every 100th.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight, or fewer than one step.
    """
    if min(hyperparameters.map_weight, hyperparameters.penalty_weight) < 0:
        raise ValueError(f"weights must be >= 0, got {hyperparameters}")
    if min(critic_steps, long_steps) < 1:
        raise ValueError(f"the critic needs at least one step, got {critic_steps} and {long_steps}")

    def changed(net: Nets, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Cases on the scale of the networks, and what they become."""
        x = 2 * image - 1
        y = x + net.map(x)
        return x, jnp.tanh(y) if output == "tanh" else y

    def map_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        x, y = changed(net, batch["x"])
        size = jnp.abs(y - x).sum(axis=(1, 2, 3)).mean()
        loss = hinge_generator_loss(net.critic(y)).mean() + ctx.hyperparameters.map_weight * size
        return loss, {"map_size": size}

    def critic_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        real, fake = 2 * batch["control"] - 1, jax.lax.stop_gradient(changed(net, batch["x"])[1])
        if real.shape != fake.shape:
            raise ValueError(f"there must be as many controls as cases, got {real.shape} and {fake.shape}")
        difference = wasserstein_critic_loss(net.critic(real), net.critic(fake)).mean()
        axes = (1,) if penalty_axes == "one" else None
        penalty = gradient_penalty(ctx.key, net.critic, real, fake, axes=axes, axis_name=ctx.axis_name).mean()
        terms = {"wasserstein": -difference, "gradient_penalty": penalty}
        return difference + ctx.hyperparameters.penalty_weight * penalty, terms

    def pictures(net: Nets, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        x, y = changed(net, batch["x"])
        return {"as a control": (y + 1) / 2, "map": (y - x) / 2}

    adam = partial(optax.adam, b1=0.0, b2=0.9)
    return Method(
        name="va-gan",
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=(
            Objective(map_loss, ("map",), adam, active=critic_schedule(critic_steps, long_steps)),
            Objective(critic_loss, ("critic",), adam, "critic_learning_rate"),
        ),
        needs=("x", "control"),
        pictures=pictures,
    )


def critic_schedule(critic_steps: int, long_steps: int) -> Callable[[jax.Array], jax.Array]:
    """step -> whether the critic has had its steps: `long_steps` for the first 25 times and every 100th of 100."""

    def active(step: jax.Array) -> jax.Array:
        done = step + 1
        start = FIRST_LONG * long_steps
        short = start + (EVERY_LONG - FIRST_LONG) * critic_steps
        block = long_steps + (EVERY_LONG - 1) * critic_steps
        in_block = (done - short - 1) % block + 1
        later = (in_block >= long_steps) & ((in_block - long_steps) % critic_steps == 0)
        soon = jnp.where(done <= short, (done - start) % critic_steps == 0, later)
        return jnp.where(done <= start, done % long_steps == 0, soon)

    return active


@dataclass(frozen=True)
class Networks(SizedNetworks):
    """Map and critic."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The networks for images."""
        return attribution_networks(source.event_shape, size=self.net_size, dtype=self.jax_dtype)


ENTRY = Entry("va-gan", va_gan, VAGAN, CasesAndControls, Networks, presets=PRESETS, defaults=DEFAULTS)
