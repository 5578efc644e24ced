"""Losses of two networks that work against each other, and the penalties that keep the critic smooth.

A discriminator, or critic, maps every image to one logit, high for real ones. Its own losses take what it is shown of
the generator without gradient: `jax.lax.stop_gradient(fake)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_same_shape, working_floats

Critic = Callable[[jax.Array], jax.Array]
"""Images [B, ...] -> logits [B], each of its own image alone."""
SMALLEST_SQUARE = 1e-12
"""Added to squared norms: a critic that is flat somewhere has gradients all the same."""


def logistic_generator_loss(fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """softplus(-fake), the "non-saturating" loss: large gradients where the discriminator is sure.

    Args:
      fake: logits of generated images.

    Returns:
      Nats per image, at least float32; log 2 for a discriminator that knows nothing.

    Reference: Goodfellow et al. (2014), section 3.
    """
    (fake,) = working_floats(fake=fake)
    return jax.nn.softplus(-fake)


def logistic_discriminator_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """softplus(-real) + softplus(fake), the cross-entropies of real and generated images.

    Args:
      real: logits of real images.
      fake: logits of generated ones.

    Returns:
      Nats per pair, at least float32; 2 log 2 for a discriminator that knows nothing.

    Raises:
      ValueError: shapes differ, or an input is not floating.

    Reference: Goodfellow et al. (2014), equation 1.
    """
    check_same_shape(real=real, fake=fake)
    real, fake = working_floats(real=real, fake=fake)
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def hinge_generator_loss(fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """-fake: the generator's side of `hinge_discriminator_loss`, and of `wasserstein_critic_loss`.

    Reference: Lim & Ye (2017); Arjovsky et al. (2017).
    """
    (fake,) = working_floats(fake=fake)
    return -fake


def hinge_discriminator_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """max(0, 1 - real) + max(0, 1 + fake): nothing to gain from being more than sure.

    Args and errors as in `logistic_discriminator_loss`. Returns a number per pair, at least float32.

    Reference: Lim & Ye (2017).
    """
    check_same_shape(real=real, fake=fake)
    real, fake = working_floats(real=real, fake=fake)
    return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def wasserstein_critic_loss(real: Float[Array, " B"], fake: Float[Array, " B"]) -> Float[Array, " B"]:
    """fake - real. For a critic of slope 1 at most, minus its mean is at most the Wasserstein-1 distance.

    Args and errors as in `logistic_discriminator_loss`. Returns a number per pair, at least float32. The critic must be
    kept smooth, see `gradient_penalty`.

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
    """( |grad critic(x)| - 1 )^2 at a random point x between each real image and a generated one.

        x = e real + (1 - e) fake,   e ~ U(0, 1), one for each pair

    The norm is over all axes of an image.

    Args:
      key: the same on every device; the e of a pair depends on it and on the pair's place in the global batch.
      critic: images [B, ...] -> [B], each of its own image alone.
      real: images.
      fake: as many generated ones; no gradient goes to them, or to the real ones.
      axes: of an image, counted from 1, that a norm is over instead; the penalty is then the mean over what is left.
        The authors' VA-GAN has (1,), a fault, which lets the critic be about sqrt(width) times steeper.
      axis_name: axis that the batch is split over, in equal parts.

    Returns:
      One number per pair, at least float32; finite, with finite gradients, for a critic that is flat.

    Raises:
      ValueError: shapes differ or have no axis beside the batch, an axis that is not there, or an input that is not
        floating.

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
    """|grad critic(x)|^2 / 2 at real images: flat where the data is.

    Args:
      critic: images [B, ...] -> [B], each of its own image alone.
      real: images; the weight usual with it (10) is for values from -1 to 1.

    Returns:
      One number per image, at least float32.

    Raises:
      ValueError: no axis beside the batch, or an input that is not floating.

    Reference: Mescheder, Geiger & Nowozin (2018), equation 9.
    """
    if jnp.ndim(real) < 2:
        raise ValueError(f"images must be [batch, ...], got shape {jnp.shape(real)}")
    (real,) = working_floats(real=jax.lax.stop_gradient(real))
    return 0.5 * (_slopes(critic, real) ** 2).reshape(real.shape[0], -1).sum(axis=1)


def _slopes(critic: Critic, images: jax.Array) -> jax.Array:
    """Gradient of each logit in its own image."""
    return jax.grad(lambda x: critic(x).astype(x.dtype).sum())(images)
