"""Total correlation by the density-ratio trick: a discriminator tells codes from codes with shuffled latents.

The discriminator maps a code [D] to two logits, class 0 for "drawn from q(z)" and class 1 for "drawn from the product
of its marginals". At its optimum the difference of the logits is log q(z) - sum_j log q(z_j).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import check_same_shape, working_floats


def permute_dims(key: Key[Array, ""], z: Float[Array, "B D"], *, axis_name: str | None = None) -> Float[Array, "B D"]:
    """Samples of the product of the marginals: every latent shuffled over the batch by a permutation of its own.

    The result carries no gradient: only the discriminator sees it. Take z from another batch than the one it is
    compared with (Kim & Mnih's algorithm), or accept a small bias: the two then share their values.

    Args:
      key: the same on every device.
      z: sampled codes.
      axis_name: axis that the batch is split over, in equal parts. The permutations are of the global batch, and the
        result is the device's part of that on one device, bit for bit.

    Returns:
      Shuffled codes [B, D], at least float32.

    Raises:
      ValueError: the shape is not [B, D], the (global) batch has fewer than 2 examples, or z is not floating.

    Reference: Kim & Mnih (2018), algorithm 1.
    """
    if jnp.ndim(z) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(z)}; use vmap for further axes")
    (z,) = working_floats(z=jax.lax.stop_gradient(z))
    local = z.shape[0]
    if axis_name is not None:
        z = jax.lax.all_gather(z, axis_name, axis=0, tiled=True)
    if z.shape[0] < 2:
        raise ValueError(f"shuffling needs a batch of at least 2 examples, got {z.shape[0]}")
    permuted = jax.random.permutation(key, z, axis=0, independent=True)
    if axis_name is None:
        return permuted
    return jax.lax.dynamic_slice_in_dim(permuted, jax.lax.axis_index(axis_name) * local, local)


def density_ratio_tc(logits: Float[Array, "B 2"]) -> Float[Array, " B"]:
    """Total correlation as the discriminator sees it: logit of class 0 minus logit of class 1.

    Its mean over the (global) batch is the estimate. It may be negative, and it is low for a discriminator that is not
    at its optimum; it is no bound. Differentiate it with the parameters of the discriminator held fixed.

    Args:
      logits: of the discriminator at sampled codes.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: the shape is not [B, 2], or the input is not floating.

    Reference: Kim & Mnih (2018).
    """
    if jnp.ndim(logits) != 2 or jnp.shape(logits)[1] != 2:
        raise ValueError(f"logits must be [batch, 2 classes], got shape {jnp.shape(logits)}")
    (logits,) = working_floats(logits=logits)
    return logits[:, 0] - logits[:, 1]


def density_ratio_loss(logits_z: Float[Array, "B 2"], logits_permuted: Float[Array, "B 2"]) -> Float[Array, " B"]:
    """Loss of the discriminator: (CE(logits_z, 0) + CE(logits_permuted, 1)) / 2, CE(l, c) = logsumexp(l) - l_c.

    log 2 for a discriminator that knows nothing. No gradient of it may reach the encoder, which would learn to be told
    apart: the discriminator must be applied to `jax.lax.stop_gradient(z)` here (`permute_dims` stops it by itself).

    Args:
      logits_z: of the discriminator at sampled codes, without their gradient.
      logits_permuted: of the discriminator at the result of `permute_dims`.

    Returns:
      Nats per pair of examples, at least float32, finite for any finite difference of logits.

    Raises:
      ValueError: shapes differ or are not [B, 2], or an input is not floating.

    Reference: Kim & Mnih (2018), algorithm 2.
    """
    check_same_shape(logits_z=logits_z, logits_permuted=logits_permuted)
    logits_z, logits_permuted = working_floats(logits_z=logits_z, logits_permuted=logits_permuted)
    # logsumexp(l) - l_c of two classes, shifted by l_c: no digits are lost where both logits are large.
    joint = jax.nn.softplus(-density_ratio_tc(logits_z))
    product = jax.nn.softplus(density_ratio_tc(logits_permuted))
    return 0.5 * (joint + product)


def donsker_varadhan_bound(
    joint: Float[Array, "B *pairs"], shuffled: Float[Array, "B *pairs"], *, axis_name: str | None = None
) -> Float[Array, "*pairs"]:
    """Lower bound on a mutual information from the scores T of a critic: E_joint[ T ] - log E_product[ exp T ].

    Largest, and then the mutual information, for T the log density ratio. The expectations are means over the global
    batch; the logarithm of one makes the estimate biased upwards in small batches.

    Args:
      joint: scores of pairs as they are, one critic per entry of the trailing axes.
      shuffled: scores of pairs whose halves are of different examples, see `permute_dims`.
      axis_name: axis that the batch is split over, in equal parts.

    Returns:
      Nats for each critic [...], at least float32, the same on every device; 0 for scores that are all equal.

    Raises:
      ValueError: shapes differ or have no axis, or an input is not floating.

    Reference: Belghazi et al. (2018), equation 10 by memory.
    """
    check_same_shape(joint=joint, shuffled=shuffled)
    if jnp.ndim(joint) < 1:
        raise ValueError("scores must be [batch, ...], got scalars")
    joint, shuffled = working_floats(joint=joint, shuffled=shuffled)

    top = jax.lax.stop_gradient(shuffled).max(axis=0)
    top = top if axis_name is None else jax.lax.pmax(top, axis_name)
    ratio = global_mean(jnp.exp(shuffled - top[None]).mean(axis=0), axis_name)
    return global_mean(joint.mean(axis=0), axis_name) - top - jnp.log(ratio)
