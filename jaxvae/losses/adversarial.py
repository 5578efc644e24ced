"""Losses of two networks that are trained against each other, and penalties that keep the critic smooth.

A discriminator, or critic, maps every image to one logit, which is high for real images. Pass the generator's images to
the discriminator's own losses without a gradient: `jax.lax.stop_gradient(fake)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_same_shape, working_floats

Critic = Callable[[jax.Array], jax.Array]
"""Function from images [B, ...] to logits [B], each of which depends on its own image only."""
SMALLEST_SQUARE = 1e-12
"""Constant that is added to squared norms, so that gradients are finite for a locally constant critic."""


def logistic_generator_loss(fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """Computes softplus(-fake), the "non-saturating" loss, whose gradients are large where the discriminator is
    certain.

    Args:
      fake: Logits of generated images.

    Returns:
      Nats per image, at least float32; log 2 for an uninformed discriminator.

    Reference: Goodfellow et al. (2014), section 3.
    """
    (fake,) = working_floats(fake=fake)
    return jax.nn.softplus(-fake)


def logistic_discriminator_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """Computes softplus(-real) + softplus(fake), the cross-entropies of real and generated images.

    Args:
      real: Logits of real images.
      fake: Logits of generated images.

    Returns:
      Nats per pair, at least float32; 2 log 2 for an uninformed discriminator.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Goodfellow et al. (2014), equation 1.
    """
    check_same_shape(real=real, fake=fake)
    real, fake = working_floats(real=real, fake=fake)
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def hinge_generator_loss(fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """Computes -fake: the generator's loss for `hinge_discriminator_loss` and `wasserstein_critic_loss`.

    Reference: Lim & Ye (2017); Arjovsky et al. (2017).
    """
    (fake,) = working_floats(fake=fake)
    return -fake


def hinge_discriminator_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """Computes max(0, 1 - real) + max(0, 1 + fake), which does not reward logits beyond the margin.

    Arguments and errors are those of `logistic_discriminator_loss`. The result is one number per pair, at least
    float32.

    Reference: Lim & Ye (2017).
    """
    check_same_shape(real=real, fake=fake)
    real, fake = working_floats(real=real, fake=fake)
    return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def wasserstein_critic_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """Computes fake - real. For a critic with a Lipschitz constant of 1, minus its mean is at most the Wasserstein-1
    distance.

    Arguments and errors are those of `logistic_discriminator_loss`. The result is one number per pair, at least
    float32. The critic must be kept smooth; see `gradient_penalty`.

    Reference: Arjovsky et al. (2017).
    """
    check_same_shape(real=real, fake=fake)
    real, fake = working_floats(real=real, fake=fake)
    return fake - real


def gradient_penalty(
    key: Key[Array, ""],
    critic: Critic,
    real: Float[Array, "B *event"],
    fake: Float[Array, "B *event"],
    *,
    axes: tuple[int, ...] | None = None,
    axis_name: str | None = None,
) -> Float[Array, " B"]:
    """Computes ( |grad critic(x)| - 1 )^2 at a random point x between each real image and a generated one.

        x = e real + (1 - e) fake,   e ~ U(0, 1), one for each pair

    The norm is over all axes of an image.

    Args:
      key: Random key, the same on every device. The e of a pair depends on it and on the pair's position in the global
        batch.
      critic: Function from images [B, ...] to logits [B], each of which depends on its own image only.
      real: Real images.
      fake: Generated images, as many as real ones. Neither receives a gradient.
      axes: Axes of an image, counted from 1, that a norm is over instead. The penalty is then the mean over the
        remaining axes. The authors' VA-GAN uses (1,), an error that lets the critic be about sqrt(width) times steeper.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      One number per pair, at least float32; finite, with finite gradients, for a constant critic.

    Raises:
      ValueError: The shapes differ or have no axis besides the batch, an axis does not exist, or an input is not
        floating-point.

    Reference: Gulrajani et al. (2017), equation 3.
    """
    check_same_shape(real=real, fake=fake)
    if jnp.ndim(real) < 2:
        raise ValueError(f"images must be [batch, ...], got shape {jnp.shape(real)}")
    event = tuple(range(1, jnp.ndim(real)))
    if axes is not None and not set(axes) <= set(event):
        raise ValueError(f"axes of an image of shape {jnp.shape(real)} are among {event}, got {axes}")
    real, fake = working_floats(real=jax.lax.stop_gradient(real), fake=jax.lax.stop_gradient(fake))
    index = global_rows(real.shape[0], axis_name)
    share = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i), (), real.dtype))(index)
    share = share.reshape(-1, *[1] * len(event))
    slope = _slopes(critic, share * real + (1 - share) * fake)
    norm = jnp.sqrt((slope**2).sum(axis=axes or event) + SMALLEST_SQUARE)
    return ((norm - 1) ** 2).reshape(real.shape[0], -1).mean(axis=1)


def r1_penalty(critic: Critic, real: Float[Array, "B *event"]) -> Float[Array, " B"]:
    """Computes |grad critic(x)|^2 / 2 at real images. The penalty makes the critic flat at the data.

    Args:
      critic: Function from images [B, ...] to logits [B], each of which depends on its own image only.
      real: Real images. The usual weight of this penalty (10) is for values from -1 to 1.

    Returns:
      One number per image, at least float32.

    Raises:
      ValueError: There is no axis besides the batch, or an input is not floating-point.

    Reference: Mescheder, Geiger & Nowozin (2018), equation 9.
    """
    if jnp.ndim(real) < 2:
        raise ValueError(f"images must be [batch, ...], got shape {jnp.shape(real)}")
    (real,) = working_floats(real=jax.lax.stop_gradient(real))
    return 0.5 * (_slopes(critic, real) ** 2).reshape(real.shape[0], -1).sum(axis=1)


def _slopes(critic: Critic, images: jax.Array) -> jax.Array:
    """Computes the gradient of each logit with respect to its own image."""
    return jax.grad(lambda x: critic(x).astype(x.dtype).sum())(images)
