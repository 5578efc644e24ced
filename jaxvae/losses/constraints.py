"""Penalties on codes for known relations between examples: equal values, orders, distances, analogies, labels."""

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxvae.losses.checks import check_positive, check_same_shape, working_floats

StressWeighting: TypeAlias = Literal["raw", "stress-1", "sammon"]

SQUARED_DISTANCE_OFFSET = 1e-12
"""Constant that is added to a squared distance before the root, whose slope at 0 is infinite."""


def match_pairing(
    mean: Float[Array, "*batch D"], mean2: Float[Array, "*batch D"], same: Bool[Array, "*batch D"]
) -> Float[Array, "*batch"]:
    """Penalty for two examples that agree in some factors: sum over the shared latents of (mean - mean2)^2.

    Codes that are all equal have no penalty, so the loss needs a counterweight, such as a reconstruction.

    Args:
      mean, mean2: Posterior means of the first and the second example of every pair.
      same: Mask of the latents that the two examples share.

    Returns:
      One number per pair [...], at least float32.

    Raises:
      ValueError: The shapes differ, the codes are not floating-point, or the mask is not boolean.

    Reference: Shu et al. (2020), as a penalty.
    """
    check_same_shape(mean=mean, mean2=mean2, same=same)
    _check_boolean("same", same)
    mean, mean2 = working_floats(mean=mean, mean2=mean2)
    return jnp.where(same, (mean - mean2) ** 2, 0).sum(axis=-1)


def rank_pairing(
    mean: Float[Array, "B D"],
    mean2: Float[Array, "B D"],
    order: Int[Array, "B F"],
    *,
    scale: float | Float[Array, ""] = 1.0,
) -> Float[Array, " B"]:
    """Loss for the order of two examples by their factors. The first F latents are tied to the F factors, one each:

        sum_f softplus(-order_f scale (mean_f - mean2_f)) over the factors of known order

    Args:
      mean, mean2: Posterior means of the first and the second example of every pair.
      order: Sign of the difference of the first example's factor and the second's. An order of 0 is unknown and
        contributes 0.
      scale: Scale of the differences, positive; a number or a scalar array.

    Returns:
      Nats per pair, at least float32: log 2 per known order for equal codes.

    Raises:
      ValueError: There are more factors than latents, the shapes do not match, the codes are not floating-point, the
        order is not a signed integer, or scale is not positive (unchecked if traced).

    Reference: Shu et al. (2020), as a penalty.
    """
    check_same_shape(mean=mean, mean2=mean2)
    shapes = jnp.shape(mean), jnp.shape(order)
    if {len(shape) for shape in shapes} != {2} or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"codes [B, D] and order [B, F] must be of one batch, got {shapes[0]} and {shapes[1]}")
    factors, latents = shapes[1][1], shapes[0][1]
    if factors > latents:
        raise ValueError(f"every factor needs a latent of its own: {factors} factors, {latents} latents")
    if not jnp.issubdtype(jnp.result_type(order), jnp.signedinteger):
        raise ValueError(f"order must be a signed integer, got {jnp.result_type(order)}")
    check_positive(scale=scale)
    mean, mean2 = working_floats(mean=mean, mean2=mean2)
    sign = jnp.sign(order).astype(mean.dtype)
    ahead = sign * jnp.asarray(scale, mean.dtype) * (mean - mean2)[:, :factors]
    return jnp.where(sign == 0, 0, jax.nn.softplus(-ahead)).sum(axis=1)


def group_variance(mean: Float[Array, "G N D"], shared: Bool[Array, "G D"]) -> Float[Array, " G"]:
    """Penalty for groups whose members share some values: sum over the shared latents of the variance (divided by N).

    For N = 2, it is `match_pairing` / 4. Codes that are all equal have no penalty, so the loss needs a counterweight,
    such as a reconstruction or a variance of 1 over the batch.

    Args:
      mean: Posterior means of N members in each of G groups.
      shared: Mask of the latents that the members of a group share.

    Returns:
      One number per group, at least float32.

    Raises:
      ValueError: There are fewer than 2 members, the shapes do not match, the codes are not floating-point, or the mask
        is not boolean.

    Reference: Ridgeway (2016).
    """
    shapes = jnp.shape(mean), jnp.shape(shared)
    if len(shapes[0]) != 3 or shapes[1] != (shapes[0][0], shapes[0][2]):
        raise ValueError(f"codes must be [G, N, D] and shared [G, D], got {shapes[0]} and {shapes[1]}")
    if shapes[0][1] < 2:
        raise ValueError(f"a group must have at least 2 members, got {shapes[0][1]}")
    _check_boolean("shared", shared)
    (mean,) = working_floats(mean=mean)
    return jnp.where(shared, mean.var(axis=1), 0).sum(axis=1)


def mds_stress(
    z: Float[Array, "B D"],
    distances: Float[Array, "B B"],
    *,
    weighting: StressWeighting = "raw",
    scale_free: bool = False,
) -> Float[Array, ""]:
    """Metric multidimensional scaling: stress between distances d of the codes and given distances t, over pairs a < b:

        raw         sum (d - t)^2
        stress-1    sqrt( sum (d - t)^2 / sum d^2 )
        sammon      sum (d - t)^2 / t / sum t,    pairs with t = 0 left out

    `scale_free` takes the minimum over all scales c of the codes, with c d in place of d. With w = 1, or 1 / t for
    "sammon", the minimum is at c = sum w d t / sum w d^2. For "stress-1", whose divisor grows with c, it is at c = sum
    t^2 / sum d t.

    d is the root of 1e-12 plus the squared distance, so that the gradient of codes that coincide is 0. The stress of no
    pairs is 0. Memory is O(B^2 D).

    The stress cannot be estimated from parts of a batch: distances belong to the listed examples, which must be on one
    device.

    Args:
      z: Codes.
      distances: Distances t >= 0, symmetric (only t_ab with a < b is read). NaN is unknown, and its pair is left out.
      weighting: Kind of stress: "raw", "stress-1" or "sammon".
      scale_free: Whether to minimize over the scale of the codes.

    Returns:
      Scalar, at least float32.

    Raises:
      ValueError: The shapes are not [B, D] and [B, B], an input is not floating-point, or the weighting is unknown.

    Reference: Kruskal (1964); Sammon (1969).
    """
    shape = jnp.shape(z)
    if len(shape) != 2 or jnp.shape(distances) != (shape[0], shape[0]):
        raise ValueError(f"codes must be [B, D] and distances [B, B], got {shape} and {jnp.shape(distances)}")
    if weighting not in get_args(StressWeighting):
        raise ValueError(f"weighting must be one of {', '.join(get_args(StressWeighting))}, got {weighting!r}")
    z, target = working_floats(z=z, distances=distances)
    pair = jnp.triu(jnp.ones_like(target, dtype=bool), 1) & ~jnp.isnan(target)
    target, weight = jnp.where(pair, target, 0), pair.astype(target.dtype)
    if weighting == "sammon":
        weight = _ratio(weight, target)
    distance = jnp.sqrt(((z[:, None] - z[None]) ** 2).sum(axis=-1) + SQUARED_DISTANCE_OFFSET)
    if scale_free:
        overlap = (weight * distance * target).sum()
        if weighting == "stress-1":
            distance *= _ratio((weight * target**2).sum(), overlap)
        else:
            distance *= _ratio(overlap, (weight * distance**2).sum())
    stress = (weight * (distance - target) ** 2).sum()
    if weighting == "raw":
        return stress
    if weighting == "sammon":
        return _ratio(stress, target.sum())
    squared = _ratio(stress, (weight * distance**2).sum())
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)


def triplet(
    anchor: Float[Array, "*batch D"],
    near: Float[Array, "*batch D"],
    far: Float[Array, "*batch D"],
    *,
    margin: float | Float[Array, ""] = 0.0,
) -> Float[Array, "*batch"]:
    """Loss for an example that is closer to a second than to a third: softplus(|anchor - near|^2 - |anchor - far|^2 +
    margin).

    Args:
      anchor, near, far: Codes of the three examples.
      margin: Margin of the squared distances; a number or a scalar array.

    Returns:
      Nats per triplet [...], at least float32: log 2 for equal distances and no margin.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.
    """
    check_same_shape(anchor=anchor, near=near, far=far)
    anchor, near, far = working_floats(anchor=anchor, near=near, far=far)
    # The difference of the squares is written as a product, as both may be large and nearly equal.
    excess = ((far - near) * ((anchor - near) + (anchor - far))).sum(axis=-1)
    return jax.nn.softplus(excess + jnp.asarray(margin, excess.dtype))


def additive_analogy(
    a: Float[Array, "*batch D"], b: Float[Array, "*batch D"], c: Float[Array, "*batch D"]
) -> Float[Array, "*batch D"]:
    """Computes the code d of the analogy a : b :: c : d by vector addition: c + (b - a).

    Decode it, and compare it with the fourth example by a likelihood.

    Args:
      a, b, c: Codes; for a VAE, the posterior means.

    Returns:
      Codes [..., D], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Reed, Zhang, Zhang & Lee (2015).
    """
    check_same_shape(a=a, b=b, c=c)
    a, b, c = working_floats(a=a, b=b, c=c)
    return c + (b - a)


def multiplicative_analogy(
    a: Float[Array, "*batch D"],
    b: Float[Array, "*batch D"],
    c: Float[Array, "*batch D"],
    weight: Float[Array, "D D D"],
) -> Float[Array, "*batch D"]:
    """Computes the code d of the analogy a : b :: c : d by an increment that depends on c:

        d_k = c_k + sum_ij weight_ijk (b - a)_i c_j

    Decode it, and compare it with the fourth example by a likelihood.

    Args:
      a, b, c: Codes; for a VAE, the posterior means.
      weight: Learned weights.

    Returns:
      Codes [..., D], at least float32.

    Raises:
      ValueError: The shapes of the codes differ, the weight is not [D, D, D], or an input is not floating-point.

    Reference: Reed et al. (2015).
    """
    check_same_shape(a=a, b=b, c=c)
    latents = jnp.shape(c)[-1]
    if jnp.shape(weight) != (latents,) * 3:
        raise ValueError(f"weight must be {(latents,) * 3}, got {jnp.shape(weight)}")
    a, b, c, weight = working_floats(a=a, b=b, c=c, weight=weight)
    return c + jnp.einsum("ijk,...i,...j->...k", weight, b - a, c, precision=jax.lax.Precision.HIGHEST)


def swap_latents(
    b: Float[Array, "*batch D"], c: Float[Array, "*batch D"], mask: Bool[Array, "*batch D"] | Bool[Array, " D"]
) -> Float[Array, "*batch D"]:
    """Computes the code d of an analogy a : b :: c : d that changes known factors: their latents from b, the others
    from c.

    Decode it, and compare it with the fourth example by a likelihood.

    Args:
      b, c: Codes; for a VAE, the posterior means.
      mask: Mask of the latents to take from b, of the same shape, or [D] for all examples.

    Returns:
      Codes [..., D], at least float32.

    Raises:
      ValueError: The shapes do not match, the codes are not floating-point, or the mask is not boolean.

    Reference: Reed et al. (2015), the disentangled features.
    """
    check_same_shape(b=b, c=c)
    shape = jnp.shape(b)
    if jnp.shape(mask) not in (shape, shape[-1:]):
        raise ValueError(f"mask must be {shape} or {shape[-1:]}, got {jnp.shape(mask)}")
    _check_boolean("mask", mask)
    b, c = working_floats(b=b, c=c)
    return jnp.where(mask, b, c)


def analogy_manifold(
    c: Float[Array, "*batch D"], d: Float[Array, "*batch D"], increment: Float[Array, "*batch D"]
) -> Float[Array, "*batch"]:
    """Computes the squared distance of an analogy's result to the code of the fourth example: |d - c - increment|^2.

    Args:
      c, d: Codes of the third and the fourth example.
      increment: Increment that the analogy adds to c: its code minus c.

    Returns:
      One number per analogy [...], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Reed et al. (2015), the regulariser.
    """
    check_same_shape(c=c, d=d, increment=increment)
    c, d, increment = working_floats(c=c, d=d, increment=increment)
    return ((d - c - increment) ** 2).sum(axis=-1)


def embedding_cross_entropy(
    mean: Float[Array, " B"],
    labels: Integer[Array, " B"],
    embedding: Float[Array, " K"],
    *,
    sharpness: float | Float[Array, ""] = 1.0,
) -> Float[Array, " B"]:
    """Cross-entropy of one latent with one factor, whose K values have learned positions e_k on the latent's axis:

        -log softmax(logits)_label,    logits_k = -(sharpness (mean - e_k))^2

    Args:
      mean: Posterior means of the latent.
      labels: Labels from 0 to K - 1, or -1 for an unknown label, which contributes 0. Other labels give NaN.
      embedding: Positions e_k. Initialize them at different positions, because equal positions get equal gradients from
        equally many labels.
      sharpness: Sharpness, positive; a number or a scalar array, which may be learned.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes are not [B], [B] and [K >= 1], the codes or positions are not floating-point, the labels
        are not integers, or sharpness is not positive (unchecked if traced).

    Reference: Locatello et al. (2020, "few labels"), their code.
    """
    shapes = jnp.shape(mean), jnp.shape(labels), jnp.shape(embedding)
    if {len(shape) for shape in shapes} != {1} or shapes[0] != shapes[1] or shapes[2] == (0,):
        listed = ", ".join(map(str, shapes))
        raise ValueError(f"codes and labels of one latent must be [B], and the embedding [K >= 1], got {listed}")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise ValueError(f"labels must be integers, got {jnp.result_type(labels)}")
    check_positive(sharpness=sharpness)
    mean, embedding = working_floats(mean=mean, embedding=embedding)
    labels = jnp.asarray(labels).astype(jnp.int32)
    last = embedding.shape[0] - 1
    deviations = jnp.asarray(sharpness, mean.dtype) * (mean[:, None] - embedding[None])
    log_probabilities = jax.nn.log_softmax(-(deviations**2), axis=1)
    cost = -jnp.take_along_axis(log_probabilities, jnp.clip(labels, 0, last)[:, None], axis=1)[:, 0]
    cost = jnp.where(labels == -1, 0, cost)
    return jnp.where((labels < -1) | (labels > last), jnp.nan, cost)


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """Divides, with a result of 0 where the denominator is not positive."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 0)


def _check_boolean(name: str, marks: jax.Array) -> None:
    if jnp.result_type(marks) != jnp.bool_:
        raise ValueError(f"{name} must be boolean, got {jnp.result_type(marks)}")
