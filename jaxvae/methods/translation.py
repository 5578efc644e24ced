"""Cases and controls taken apart into content and attribute, and put together with the attributes swapped."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxvae.losses import (
    bernoulli_nll,
    logistic_discriminator_loss,
    logistic_generator_loss,
    reparameterize,
    standard_normal,
)
from jaxvae.method import Batch, Context, Nets, Posterior

CANDIDATES = 16
"""Draws among which an attribute of the wanted class is looked for."""
MOST_LOGVAR = 20.0
SHOWN_DRAWS = 32
"""Attributes that a map's mean and spread are taken over in pictures."""
Discriminator: TypeAlias = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""Images -> logits of being real [B, 1], and of the two classes [B, 2]."""


class Translated(NamedTuple):
    """n controls and n cases, in this order, on their way through the networks."""

    content: jax.Array
    """[2 n, h, w, c], with noise"""
    posterior: Posterior
    """of the attributes [2 n, D]"""
    attribute: jax.Array
    """a sample of each [2 n, D]"""
    own: jax.Array
    """images with their own attributes [2 n, H, W, C]"""
    swapped: jax.Array
    """images with those of the other class: n cases made of controls, n controls made of cases"""


def both_classes(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Controls and cases from -1 to 1, [2 n, H, W, C], and their classes, one-hot [2 n, 2].

    ValueError for a batch that has not as many of the one as of the other.
    """
    controls, cases = batch["control"], batch["x"]
    if controls.shape != cases.shape:
        raise ValueError(f"there must be as many controls as cases, got {controls.shape} and {cases.shape}")
    return 2 * jnp.concatenate([controls, cases]) - 1, jnp.repeat(jnp.eye(2), len(cases), axis=0)


def swap(rows: jax.Array) -> jax.Array:
    """The second half before the first."""
    half = len(rows) // 2
    return jnp.concatenate([rows[half:], rows[:half]])


def translate(net: Nets, x: jax.Array, ctx: Context) -> Translated:
    """Images [2 n, H, W, C] from -1 to 1 taken apart, with the noise that `ctx.key` names, and swapped."""
    content, (mean, logvar) = net.content(x), net.attribute(x)
    posterior = Posterior(mean, jnp.clip(logvar, -MOST_LOGVAR, MOST_LOGVAR))

    def noisy(keys: jax.Array, mean: jax.Array, logvar: jax.Array) -> jax.Array:
        """Each class with noise of its own, which belongs to the example's place in the global batch."""
        halves = zip(keys, jnp.split(mean, 2), jnp.split(logvar, 2), strict=True)
        return jnp.concatenate([reparameterize(*half, axis_name=ctx.axis_name) for half in halves])

    keys = jax.random.split(ctx.key, (2, 2))
    content, attribute = noisy(keys[0], content, jnp.zeros_like(content)), noisy(keys[1], *posterior)
    own, swapped = net.decoder(content, attribute), net.decoder(content, swap(attribute))
    return Translated(content, posterior, attribute, own, swapped)


def draw_attributes(
    net: Nets, key: jax.Array, n: int, latents: int, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
    """Draws of N(0, I) that the classifier takes for cases, n, and then n for controls: as what `swap` gives.

    Of 16 candidates each, the first that is accepted; the first of all where none is.

    Returns:
      attributes [2 n, D], and whether they were accepted, bool [2 n].
    """
    found = []
    for key_of_class, wanted in zip(jax.random.split(key), (1, 0), strict=True):
        drawn = standard_normal(latents).sample(key_of_class, n * CANDIDATES, axis_name)
        accepted = (net.classifier(drawn).argmax(axis=1) == wanted).reshape(n, CANDIDATES)
        first = accepted.argmax(axis=1)
        found.append((drawn.reshape(n, CANDIDATES, latents)[jnp.arange(n), first], accepted.any(axis=1)))
    (cases, are_cases), (controls, are_controls) = found
    return jnp.concatenate([cases, controls]), jnp.concatenate([are_cases, are_controls])


def translate_to_draws(net: Nets, parts: Translated, ctx: Context) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Attributes of the other class from N(0, I) [2 n, D], whether they are of it [2 n], and the images with them."""
    (rows, latents), key = parts.attribute.shape, jax.random.fold_in(ctx.key, 2)
    wanted, accepted = draw_attributes(net, key, rows // 2, latents, ctx.axis_name)
    wanted = jax.lax.stop_gradient(wanted)
    return wanted, accepted, net.decoder(parts.content, wanted)


def show_maps(net: Nets, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Cases as controls, with the attribute of a control of the batch, and with attributes drawn from N(0, I)."""
    x, _ = both_classes(batch)
    n, (mean, _) = len(x) // 2, net.attribute(x)
    cases, content = x[n:], net.content(x)[n:]
    y = net.decoder(content, mean[:n])
    draws, _ = draw_attributes(net, key, n * SHOWN_DRAWS, mean.shape[1])
    controls = draws[n * SHOWN_DRAWS :].reshape(SHOWN_DRAWS, n, -1)
    maps = jnp.stack([net.decoder(content, attribute) - cases for attribute in controls]) / 2
    return {
        "as a control": (y + 1) / 2,
        "map": (y - cases) / 2,
        "mean map": maps.mean(axis=0),
        "spread of maps": maps.std(axis=0),
    }


def class_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of the cross-entropies of two independent outputs [B, 2] and a target [B, 2]: a scalar, nats."""
    return bernoulli_nll(logits, target).mean() / logits.shape[1]


def pass_for(discriminator: Discriminator, fake: jax.Array, kind: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Losses of made images that should pass for real ones, and for those of a class."""
    logit, kinds = discriminator(fake)
    return logistic_generator_loss(logit).mean(), class_cross_entropy(kinds, kind)


def tell_apart(
    discriminator: Discriminator,
    real: jax.Array,
    kind: jax.Array,
    fake: jax.Array,
    weight: float | jax.Array = 1.0,
) -> jax.Array:
    """Loss of a discriminator of real and made images, constant here, and of the classes of real ones.

    `weight` is that of telling real from made.
    """
    (logit, kinds), (fake_logit, _) = discriminator(real), discriminator(jax.lax.stop_gradient(fake))
    return weight * logistic_discriminator_loss(logit, fake_logit).mean() + class_cross_entropy(kinds, kind)


def decayed_adam(rate: float | jax.Array) -> optax.GradientTransformation:
    """Adam with the weights' decay in its gradient, as PyTorch's Adam has it."""
    return optax.chain(optax.add_decayed_weights(1e-4), optax.adam(rate, b1=0.5))


def clipped_adam(rate: float | jax.Array) -> optax.GradientTransformation:
    """`decayed_adam` of a gradient whose norm is 5 at most."""
    return optax.chain(optax.clip_by_global_norm(5.0), decayed_adam(rate))
