"""ICAM (Bass et al., 2020): images taken apart into a content without class and an attribute that holds it.

Equation.

    z_c = content(x) + N(0, 1),   z_a ~ q(z_a|x),   image = decoder(z_c, z_a)

Cases get the attribute of controls and the other way round: u. The map u - x tells what the class does to an image. All
of it is taken apart again and swapped back, x''. And r is an image with an attribute of the wanted class, according to
the linear classifier, from N(0, I). One loss for content, attribute, classifier and decoder:

    100 |x' - x| + 100 (x' - x)^2 + 100 |x'' - x| + 100 (x'' - x)^2      x' with its own attribute; means over pixels
    + 10 |u - x|  +  10 CE( classifier(z_a), class )  +  CE( content_discriminator(z_c), 1/2 )
    + G(D(u)) + 5 CE( D_class(u), swapped class )  +  G(D_r(r)) + 5 CE( D_r class(r), swapped class )
    + |mean of q(z_a|r) - z_r|  +  0.01 z_c^2  +  0.01 KL( q(z_a|x) || N(0, I) )

G is the logistic loss of a generator, CE the mean of two cross-entropies from logits. Discriminators learn to tell
images apart, and their classes; the content's has two updates in which the others have none, then they have one.
Objectives see the parameters from before the update. The authors sum the KL over a batch of 2 (twice this one), pass
probabilities for the classifier's logits, seek z_r until it is found (here in 16 draws), and leave out some norms. They
also sum what tells images apart over that batch, G and the discriminators' logistic losses, which are means here:
adversarial="sum" does as they do.

When to use. For maps of a class, and a code of what it changes. Not for a content sure to be free of class.

Presets. The defaults are the shipped weights, of means. paper: the two-dimensional nets, 128 pixels, one image of each
class, adversarial="sum"; the KL has its shipped weight, which is half of theirs.

Measured here. Correlation with both planted squares 0.71 ± 0.07 (VA-GAN 0.67 ± 0.13); the class is told from the
attribute always, from the content 0.84 ± 0.07 (experiments/visual_attribution.py, 3 seeds, no random branch).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

import jaxvae.methods.translation as translation
from jaxvae.data import CasesAndControls
from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.entry import Entry, Preset
from jaxvae.networks import translation_networks
from jaxvae.networks.options import Examples, SizedNetworks


class ICAM(NamedTuple):
    """Hyperparameters of the ICAM: learning rates, and the weights of the loss, all >= 0."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    content_learning_rate: float = 4e-5
    """Learning rate of the discriminator of the content."""
    absolute_weight: float = 100.0
    """Weight of the absolute errors of both reconstructions."""
    square_weight: float = 100.0
    """Weight of the squared errors of both reconstructions."""
    map_weight: float = 10.0
    """Weight of the size of the map."""
    attribute_weight: float = 10.0
    """Weight of the loss that predicts the class from the attribute."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial losses, of images and of content."""
    class_weight: float = 5.0
    """Weight of the loss that classifies translated images as the target class."""
    latent_weight: float = 1.0
    """Weight of recovering a sampled attribute from the image generated with it."""
    kl_weight: float = 0.01
    """Weight of the KL of attribute and content."""


DEFAULTS = {"data": "squares", "batch_size": 16}
_PAPER = {**DEFAULTS, "image_size": 128, "net_size": "paper", "batch_size": 1, "steps": 300_000, "adversarial": "sum"}
PRESETS = {"paper": Preset(ICAM(), _PAPER)}
CONTENT = ("content_discriminator",)
APART = ("content", "attribute", "classifier", "decoder")


def icam(
    networks: Mapping[str, Network],
    *,
    random_branch: Literal["yes", "no"] = "yes",
    content_steps: int = 2,
    adversarial: Literal["mean", "sum"] = "mean",
    hyperparameters: ICAM = ICAM(),
) -> Method:
    """ICAM: content and class attribute apart, maps by swapping attributes (Bass et al., 2020).

    Args:
      networks: Networks of `jaxvae.networks.translation_networks`.
      random_branch: Whether to train on images with attributes drawn from the prior as well: yes or no.
      content_steps: Number of steps that train the content discriminator alone before each step of the other networks;
        with 0, every step trains all networks.
      adversarial: Whether the adversarial losses are means or sums over the batch.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight or number of steps.
    """
    if min(hyperparameters) < 0 or content_steps < 0:
        raise ValueError(f"weights and steps must be >= 0, got {hyperparameters} and {content_steps} steps")
    random = random_branch == "yes"
    networks = {name: network for name, network in networks.items() if random or name != "random_discriminator"}

    def weight(x: jax.Array, ctx: Context) -> float | jax.Array:
        """What a mean over images is multiplied by."""
        if adversarial == "mean":
            return 1.0
        return len(x) * (1 if ctx.axis_name is None else jax.lax.psum(1, ctx.axis_name))

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        x, kind = translation.both_classes(batch)
        parts = translation.translate(net, x, ctx)
        again = translation.translate(net, parts.swapped, ctx._replace(key=jax.random.fold_in(ctx.key, 1)))
        errors = jnp.stack([parts.own - x, again.swapped - x])
        absolute, square, latent = 2 * jnp.abs(errors).mean(), 2 * (errors**2).mean(), jnp.float32(0)
        passed, told = translation.pass_for(net.discriminator, parts.swapped, translation.swap(kind))
        free = translation.class_cross_entropy(net.content_discriminator(parts.content), jnp.full_like(kind, 0.5))
        attribute = translation.class_cross_entropy(net.classifier(parts.attribute), kind)
        kl, size = kl_standard_normal(*parts.posterior).mean(), jnp.abs(parts.swapped - x).mean()
        terms = {"reconstruction": absolute, "attribute": attribute, "content": free, "kl": kl, "map_size": size}
        if random:
            wanted, accepted, image = translation.translate_to_draws(net, parts, ctx)
            more = translation.pass_for(net.random_discriminator, image, translation.swap(kind))
            passed, told = passed + more[0], told + more[1]
            latent = 2 * jnp.abs(net.attribute(image).mean - wanted).mean()
            terms["accepted"] = accepted.astype(jnp.float32).mean()
        passed *= weight(x, ctx)
        total = hp.absolute_weight * absolute + hp.square_weight * square + hp.map_weight * size
        total += hp.attribute_weight * attribute + hp.adversarial_weight * (passed + free) + hp.class_weight * told
        total += hp.latent_weight * latent + hp.kl_weight * (kl + (parts.content**2).mean())
        return total, {**terms, "adversarial": passed, "class": told}

    def discriminator_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        x, kind = translation.both_classes(batch)
        parts = translation.translate(net, x, ctx)
        total = translation.tell_apart(net.discriminator, x, kind, parts.swapped, weight(x, ctx))
        if random:
            drawn = translation.translate_to_draws(net, parts, ctx)[2]
            total += translation.tell_apart(net.random_discriminator, x, kind, drawn, weight(x, ctx))
        return total, {}

    def content_loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        x, kind = translation.both_classes(batch)
        content = jax.lax.stop_gradient(translation.translate(net, x, ctx).content)
        return translation.class_cross_entropy(net.content_discriminator(content), kind), {}

    cycle, adam = content_steps + 1, translation.decayed_adam
    images = tuple(name for name in ("discriminator", "random_discriminator") if name in networks)
    most = (lambda step: step % cycle == content_steps) if content_steps else None
    content = (lambda step: step % cycle != content_steps) if content_steps else None
    return Method(
        name="icam",
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=(
            Objective(loss, APART, adam, active=most),
            Objective(discriminator_loss, images, adam, active=most),
            Objective(content_loss, CONTENT, translation.clipped_adam, "content_learning_rate", active=content),
        ),
        encode=lambda net, batch: net.attribute(2 * batch["x"] - 1),
        needs=("x", "control"),
        pictures=translation.show_maps,
    )


@dataclass(frozen=True)
class Networks(SizedNetworks):
    """Encoders, decoder, classifier and discriminators."""

    def make(self, source: Examples) -> dict[str, Network]:
        """The networks for images."""
        return translation_networks(source.event_shape, size=self.net_size, dtype=self.jax_dtype)


ENTRY = Entry("icam", icam, ICAM, CasesAndControls, Networks, presets=PRESETS, defaults=DEFAULTS)
