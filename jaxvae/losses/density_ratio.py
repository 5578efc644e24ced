"""Total correlation by the density-ratio trick: a discriminator separates codes from codes with shuffled latents.

The discriminator maps a code [D] to two logits, class 0 for "drawn from q(z)" and class 1 for "drawn from the product
of its marginals". At its optimum, the difference of the logits is log q(z) - sum_j log q(z_j).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import check_same_shape, working_floats


def permute_dims(key: Key[Array, ""], z: Float[Array, "B D"], *, axis_name: str | None = None) -> Float[Array, "B D"]:
    """Draws samples of the product of the marginals: every latent is shuffled over the batch by its own permutation.

    The result carries no gradient, as only the discriminator sees it. Take z from another batch than the one it is
    compared with (Kim & Mnih's algorithm), or accept a small bias because the two share their values.

    Args:
      key: Random key, the same on every device.
      z: Sampled codes.
      axis_name: Mesh axis that the batch is split over, in equal parts. The permutations are of the global batch, and
        the result is this device's part of the result on one device, bit for bit.

    Returns:
      Shuffled codes [B, D], at least float32.

    Raises:
      ValueError: The shape is not [B, D], the (global) batch has fewer than 2 examples, or z is not floating-point.

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
    """Discriminator's estimate of the total correlation: the logit of class 0 minus the logit of class 1.

    The mean over the (global) batch is the estimate. It may be negative, it is too low for a discriminator that is not
    at its optimum, and it is not a bound. Differentiate it with the parameters of the discriminator held fixed.

    Args:
      logits: Logits of the discriminator at sampled codes.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shape is not [B, 2], or the input is not floating-point.

    Reference: Kim & Mnih (2018).
    """
    if jnp.ndim(logits) != 2 or jnp.shape(logits)[1] != 2:
        raise ValueError(f"logits must be [batch, 2 classes], got shape {jnp.shape(logits)}")
    (logits,) = working_floats(logits=logits)
    return logits[:, 0] - logits[:, 1]


def density_ratio_loss(logits_z: Float[Array, "B 2"], logits_permuted: Float[Array, "B 2"]) -> Float[Array, " B"]:
    """Loss of the discriminator: (CE(logits_z, 0) + CE(logits_permuted, 1)) / 2, CE(l, c) = logsumexp(l) - l_c.

    It is log 2 for an uninformed discriminator. Its gradient must not reach the encoder, which would learn to make the
    codes distinguishable: apply the discriminator to `jax.lax.stop_gradient(z)` here (`permute_dims` stops the gradient
    by itself).

    Args:
      logits_z: Logits of the discriminator at sampled codes, without their gradient.
      logits_permuted: Logits of the discriminator at the result of `permute_dims`.

    Returns:
      Nats per pair of examples, at least float32, finite for any finite difference of logits.

    Raises:
      ValueError: The shapes differ or are not [B, 2], or an input is not floating-point.

    Reference: Kim & Mnih (2018), algorithm 2.
    """
    check_same_shape(logits_z=logits_z, logits_permuted=logits_permuted)
    logits_z, logits_permuted = working_floats(logits_z=logits_z, logits_permuted=logits_permuted)
    # logsumexp(l) - l_c of two classes, shifted by l_c, which keeps precision if both logits are large.
    joint = jax.nn.softplus(-density_ratio_tc(logits_z))
    product = jax.nn.softplus(density_ratio_tc(logits_permuted))
    return 0.5 * (joint + product)


def donsker_varadhan_bound(
    joint: Float[Array, "B *pairs"], shuffled: Float[Array, "B *pairs"], *, axis_name: str | None = None
) -> Float[Array, "*pairs"]:
    """Lower bound on a mutual information from the scores T of a critic: E_joint[ T ] - log E_product[ exp T ].

    The bound is largest, and equals the mutual information, if T is the log density ratio. The expectations are means
    over the global batch. The logarithm of a mean biases the estimate upwards in small batches.

    Args:
      joint: Scores of true pairs, with one critic per entry of the trailing axes.
      shuffled: Scores of pairs whose halves are from different examples; see `permute_dims`.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Nats for each critic [...], at least float32, the same on every device; 0 for scores that are all equal.

    Raises:
      ValueError: The shapes differ or have no axis, or an input is not floating-point.

    Reference: Belghazi et al. (2018), equation 10, from memory.
    """
    check_same_shape(joint=joint, shuffled=shuffled)
    if jnp.ndim(joint) < 1:
        raise ValueError("scores must be [batch, ...], got scalars")
    joint, shuffled = working_floats(joint=joint, shuffled=shuffled)

    top = jax.lax.stop_gradient(shuffled).max(axis=0)
    top = top if axis_name is None else jax.lax.pmax(top, axis_name)
    ratio = global_mean(jnp.exp(shuffled - top[None]).mean(axis=0), axis_name)
    return global_mean(joint.mean(axis=0), axis_name) - top - jnp.log(ratio)
