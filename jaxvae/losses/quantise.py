"""Codes whose latents take values of a short list: the nearest value, a fixed grid, a random mixture of values, and the
losses that train them.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_positive, check_same_shape, working_floats

FSQ_MARGIN = 1e-3
"""Share by which the layer of finite scalar quantisation stretches its range, so that the outer values are reached."""


class Quantised(NamedTuple):
    """Codes on the lists of values."""

    value: Float[Array, "*batch D"]
    """Nearest values, differentiable in the lists and not in the codes."""
    indices: Int[Array, "*batch D"]
    """Index of each value in its list, int32."""


class Relaxed(NamedTuple):
    """Codes that are random mixtures of values."""

    value: Float[Array, "B D"]
    """Means of the values under the weights, differentiable in the codes and the values."""
    weights: Float[Array, "B D V"]
    """Weights of the values, which sum to 1 for each latent."""


def nearest_value(
    x: Float[Array, "*batch D"], values: Float[Array, "D V"] | Float[Array, "#1 V"] | Float[Array, " V"]
) -> Quantised:
    """Replaces every latent by the nearest value of its list. Of two that are equally near, the first is taken.

    Args:
      x: Codes, not bounded.
      values: List of V values for each latent, in any order, or one list for all latents [V] or [1, V]. A list may be
        filled up with infinities, which are never the nearest.

    Returns:
      Quantised: values and indices [..., D]. Pass the values to the decoder by `straight_through`.

    Raises:
      ValueError: The lists are not [D, V], [1, V] or [V], they are empty, or an input is not floating-point.

    Reference: Hsu, Dorrell, Whittington, Wu & Finn (2023).
    """
    shapes = jnp.shape(x), jnp.shape(values)
    lists = shapes[1] if len(shapes[1]) == 2 else (1, *shapes[1])
    if not shapes[0] or len(lists) != 2 or lists[0] not in (1, shapes[0][-1]) or lists[1] < 1:
        raise ValueError(f"codes must be [..., D] and values [D, V], [1, V] or [V], got {shapes[0]} and {shapes[1]}")
    x, values = working_floats(x=x, values=values)
    values = values.reshape(lists)
    rows = jax.lax.stop_gradient(x).reshape(-1, shapes[0][-1])
    distance = jnp.abs(rows[:, :, None] - jax.lax.stop_gradient(values)[None])
    index = jnp.argmin(distance, axis=-1).astype(jnp.int32)
    own = jnp.zeros_like(index) if lists[0] == 1 else jnp.broadcast_to(jnp.arange(lists[0])[None], index.shape)
    return Quantised(values[own, index].reshape(x.shape), index.reshape(x.shape))


def straight_through(x: Float[Array, "*batch D"], quantised: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Returns the quantised codes with the gradient of the codes: x + stop_gradient(quantised - x).

    Args:
      x: Codes, which get the whole gradient.
      quantised: The same codes, quantised; they get none.

    Returns:
      Codes [..., D], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Bengio, Leonard & Courville (2013).
    """
    check_same_shape(x=x, quantised=quantised)
    x, quantised = working_floats(x=x, quantised=quantised)
    return x + jax.lax.stop_gradient(quantised - x)


def fixed_grid(
    x: Float[Array, "*batch D"], num_values: int, *, form: Literal["tripod", "fsq"] = "tripod"
) -> Float[Array, "*batch D"]:
    """Rounds every latent to one of V equidistant values from -1 to 1, with the gradient of the code before rounding.

        tripod   2 round(u) / (V - 1) - 1,   u = (tanh(x) + 1) (V - 1) / 2
        fsq      round(h tanh(x + atanh(o / h)) - o) / floor(V / 2),   h = 1.001 (V - 1) / 2, o = 1/2 for even V, else 0

    There are no parameters and no further losses. Zero is among the values of "tripod" for odd V only, and always among
    those of "fsq", which for even V reach from -1 to 1 - 2 / V. Halves are rounded to even numbers.

    Args:
      x: Codes, not bounded.
      num_values: Number of values V of each latent, at least 2.
      form: Form of the grid: "tripod", or "fsq" as in published layers of finite scalar quantisation.

    Returns:
      Codes [..., D] on the grid, at least float32.

    Raises:
      ValueError: num_values < 2, the form is unknown, or x is not floating-point.

    Reference: Hsu, Hamid, Burns, Finn & Wu (2024); Mentzer, Minnen, Agustsson & Tschannen (2024).
    """
    if num_values < 2:
        raise ValueError(f"a grid needs at least 2 values, got {num_values}")
    (x,) = working_floats(x=x)
    match form:
        case "tripod":
            return 2 * _rounded((jnp.tanh(x) + 1) / 2 * (num_values - 1)) / (num_values - 1) - 1
        case "fsq":
            half = (num_values - 1) * (1 + FSQ_MARGIN) / 2
            offset = 0.0 if num_values % 2 else 0.5
            return _rounded(jnp.tanh(x + math.atanh(offset / half)) * half - offset) / (num_values // 2)
    raise ValueError(f"unknown form {form!r}; there are tripod, fsq")


def quantisation_loss(x: Float[Array, "*batch D"], quantised: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Computes the mean over the latents of (x - quantised)^2, whose gradient moves the lists of values to the codes.

    Args:
      x: Codes, held constant.
      quantised: Their nearest values, from `nearest_value`.

    Returns:
      One number per example [...], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: van den Oord, Vinyals & Kavukcuoglu (2017); as a mean over latents, Hsu et al. (2023).
    """
    check_same_shape(x=x, quantised=quantised)
    x, quantised = working_floats(x=x, quantised=quantised)
    return ((jax.lax.stop_gradient(x) - quantised) ** 2).mean(axis=-1)


def commitment_loss(x: Float[Array, "*batch D"], quantised: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Computes the mean over the latents of (x - quantised)^2, whose gradient moves the codes to their values.

    Its value is that of `quantisation_loss`; only the gradients differ.

    Args:
      x: Codes.
      quantised: Their nearest values, held constant.

    Returns:
      One number per example [...], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: van den Oord, Vinyals & Kavukcuoglu (2017); as a mean over latents, Hsu et al. (2023).
    """
    return quantisation_loss(quantised, x)


def relaxed_value(
    key: Key[Array, ""],
    logits: Float[Array, "B D V"],
    values: Float[Array, " V"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Relaxed:
    """Draws a mixture of the values for every latent, which is close to a single value at low temperatures:

        w = softmax_v((logits + g) / temperature),   g standard Gumbel noise
        z = sum_v w_v e_v

    The largest weight is that of value v with probability softmax(logits)_v at every temperature. The noise of an
    example depends only on `key` and on its index in the global batch.

    Args:
      key: Random key of the noise, the same on every device.
      logits: Logits of the values, from `value_logits`.
      values: List of values, for all latents.
      temperature: Temperature, positive.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Relaxed: values [B, D] and weights [B, D, V], at least float32.

    Raises:
      ValueError: The shapes are not [B, D, V] and [V], an input is not floating-point, or the temperature is not
        positive (unchecked if traced).

    Reference: Jang, Gu & Poole (2017); Maddison, Mnih & Teh (2017).
    """
    shapes = jnp.shape(logits), jnp.shape(values)
    if len(shapes[0]) != 3 or shapes[1] != shapes[0][2:]:
        raise ValueError(f"logits must be [B, D, V] and values [V], got {shapes[0]} and {shapes[1]}")
    check_positive(temperature=temperature)
    logits, values = working_floats(logits=logits, values=values)

    def noise(index: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(key, index), logits.shape[1:], logits.dtype)

    noisy = logits + jax.vmap(noise)(global_rows(logits.shape[0], axis_name))
    weights = jax.nn.softmax(noisy / temperature, axis=-1)
    return Relaxed((weights * values[None, None]).sum(axis=-1), weights)


def value_logits(x: Float[Array, "*batch D"], values: Float[Array, " V"]) -> Float[Array, "*batch D V"]:
    """Logits of a choice among the values, which prefers near ones: -(x - e_v)^2.

    Args:
      x: Codes, not bounded.
      values: List of values, for all latents.

    Returns:
      Logits [..., D, V], at least float32.

    Raises:
      ValueError: The values are not [V], or an input is not floating-point.

    Reference: Baykal, Kandemir & Unal (2024), FactorQVAE.
    """
    if jnp.ndim(values) != 1 or jnp.ndim(x) < 1:
        raise ValueError(f"codes must be [..., D] and values [V], got {jnp.shape(x)} and {jnp.shape(values)}")
    x, values = working_floats(x=x, values=values)
    return -((x[..., None] - values.reshape((1,) * x.ndim + values.shape)) ** 2)


def kl_uniform(logits: Float[Array, "*batch V"]) -> Float[Array, "*batch"]:
    """KL divergence of a categorical distribution to the uniform one: sum_v p_v log(V p_v), with p = softmax(logits).

    Args:
      logits: Logits of the V categories.

    Returns:
      Nats [...], at least float32, from 0 to log V.

    Raises:
      ValueError: There is no axis of categories, or the logits are not floating-point.
    """
    if jnp.ndim(logits) < 1:
        raise ValueError("logits must be [..., V], got a scalar")
    (logits,) = working_floats(logits=logits)
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return (jnp.exp(log_p) * log_p).sum(axis=-1) + math.log(logits.shape[-1])


def _rounded(x: jax.Array) -> jax.Array:
    return straight_through(x, jnp.round(x))
