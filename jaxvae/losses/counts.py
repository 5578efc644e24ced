"""Negative log-likelihoods of counts: nats per example, constants included, summed over every axis but the first.

Rates and means are given as logarithms, and nothing leaves log space. The textbook formulas subtract numbers that grow
with the count: at a count of a million, where the result is 8 nats, float32 has an error of about 1. Here, each term is
written as the deviance, which is 0 where the mean equals the count, plus the value at that point, which comes from
Stirling's series (Loader, 2000, "Fast and accurate computation of binomial probabilities").

Counts are floating-point numbers and are not checked: a negative count gives NaN. They are constants, to which no
gradient flows. As in `jaxvae.losses.likelihoods`, values that are not observed contribute 0 and may be NaN.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxvae.losses.events import flat_events, per_value, sum_observed

LARGEST = 80.0
"""Logarithm of a number that float32 holds with room for a product."""


def poisson_nll(
    log_rate: Float[Array, "B ..."], x: Float[Array, "B ..."], *, observed: Bool[Array, "B ..."] | None = None
) -> Float[Array, " B"]:
    """Poisson likelihood of counts: sum_p [ rate - x log rate + log x! ].

    Args:
      log_rate: Logarithm of the expected count, at most 88 in float32.
      x: Counts, of the same shape.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or observed is not boolean.
    """
    log_rate, x = flat_events(observed, log_rate=log_rate, x=x)
    return sum_observed(_poisson(log_rate, x), observed)


def negative_binomial_nll(
    log_mean: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    log_theta: float | Float[Array, "..."],
    *,
    observed: Bool[Array, "B ..."] | None = None,
) -> Float[Array, " B"]:
    """Negative binomial likelihood of counts with mean mu and variance mu + mu^2 / theta:

        sum_p [ log Gamma(theta) + log x! - log Gamma(x + theta) + x log(1 + theta / mu) + theta log(1 + mu / theta) ]

    It tends to `poisson_nll` as theta grows. A theta above e^80 counts as e^80.

    Args:
      log_mean: Logarithm of the expected count.
      x: Counts, of the same shape.
      log_theta: Logarithm of the inverse dispersion; a number or an array that broadcasts to the event shape (may be
        learned).
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, or observed is not boolean.
    """
    event = jnp.shape(x)[1:]
    log_mean, x = flat_events(observed, log_mean=log_mean, x=x)
    log_theta = per_value(event, x.dtype, log_theta=log_theta)
    return sum_observed(_negative_binomial(log_mean, x, log_theta), observed)


def zero_inflated_poisson_nll(
    log_rate: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    logits: Float[Array, "B ..."],
    *,
    observed: Bool[Array, "B ..."] | None = None,
) -> Float[Array, " B"]:
    """Likelihood of counts that are 0 with probability pi, else Poisson: pi [x = 0] + (1 - pi) Poisson(x).

    Args:
      log_rate: Logarithm of the rate of the Poisson part, at most 88 in float32.
      x: Counts, of the same shape.
      logits: Logit of pi, of the same shape.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or observed is not boolean.
    """
    log_rate, x, logits = flat_events(observed, log_rate=log_rate, x=x, logits=logits)
    return sum_observed(_zero_inflated(_poisson(log_rate, x), x, logits), observed)


def zero_inflated_negative_binomial_nll(
    log_mean: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    log_theta: float | Float[Array, "..."],
    logits: Float[Array, "B ..."],
    *,
    observed: Bool[Array, "B ..."] | None = None,
) -> Float[Array, " B"]:
    """Likelihood of counts that are 0 with probability pi, else negative binomial: pi [x = 0] + (1 - pi) NB(x).

    Args:
      log_mean: Logarithm of the mean of the negative binomial part.
      x: Counts, of the same shape.
      log_theta: Logarithm of its inverse dispersion, as in `negative_binomial_nll`.
      logits: Logit of pi, of the shape of x.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, or observed is not boolean.
    """
    event = jnp.shape(x)[1:]
    log_mean, x, logits = flat_events(observed, log_mean=log_mean, x=x, logits=logits)
    log_theta = per_value(event, x.dtype, log_theta=log_theta)
    return sum_observed(_zero_inflated(_negative_binomial(log_mean, x, log_theta), x, logits), observed)


def _poisson(log_rate: jax.Array, x: jax.Array) -> jax.Array:
    """Poisson term of each value: x (e^d - 1 - d) + log(x! e^x / x^x), where d = log_rate - log x; e^log_rate at 0."""
    zero, x, log_x = _counts(x)
    d = log_rate - log_x
    at_mode = _stirling_rest(x, log_x) + 0.5 * log_x
    return jnp.where(zero, jnp.exp(d), x * _exp_gap(d) + at_mode)


def _negative_binomial(log_mean: jax.Array, x: jax.Array, log_theta: jax.Array) -> jax.Array:
    """Negative binomial term of each value; log_theta is a scalar or [1, E].

    With n = x + theta, the deviance is n times the divergence between the shares (x, theta) / n and the shares
    (mean, theta) / (mean + theta). For the smaller of the first, p, of which d is the log-ratio to what is expected:

        n log(1 + u) - n p d = n p (e^d - 1 - d) - n (u - log(1 + u)),    u = p (e^d - 1)

    The right-hand side is exact for small u, where the left one cancels, and for p -> 0 it is that of the Poisson.
    """
    zero, x, log_x = _counts(x)
    log_theta = jnp.minimum(log_theta, LARGEST)
    theta = jnp.exp(log_theta)
    n = jnp.where(zero, theta, x + theta)

    odds, expected = jnp.where(zero, 0, log_x - log_theta), log_mean - log_theta  # log(x / theta), log(mean / theta)
    swap = odds > 0
    sign = jnp.where(swap, -1, 1).astype(x.dtype)
    log_total = jnp.where(zero, 0, jnp.log1p(jnp.exp(sign * odds)))  # of n, less the logarithm of the larger of the two
    part = jnp.where(swap, theta, x)
    d = sign * (log_mean - log_x)
    growth = jax.nn.softplus(sign * expected) - log_total  # log(1 + u)

    far = growth > math.log(2)
    near = jnp.where(far, 0, jnp.minimum(d, LARGEST))
    u_at_zero = jnp.exp(jnp.where(zero & ~far, expected, 0))
    u = jnp.where(zero, u_at_zero, part * jnp.expm1(near) / jnp.where(zero, 1, n))
    poisson = jnp.where(zero, jnp.exp(near), part * _exp_gap(near))
    deviance = jnp.where(far, n * growth - jnp.where(zero, 0, part) * d, poisson - n * _log1p_gap(u))

    log_n = jnp.where(swap, log_x, log_theta) + log_total
    at_mode = _stirling_rest(x, log_x) + _stirling_rest(theta, log_theta) - _stirling_rest(n, log_n)
    at_mode += 0.5 * (log_x + log_n - log_theta)
    return deviance + jnp.where(zero, 0, at_mode)


def _zero_inflated(nll: jax.Array, x: jax.Array, logits: jax.Array) -> jax.Array:
    """Term of each value from the term without inflation, which is not negative at x = 0."""
    zero = x == 0
    above = jax.nn.sigmoid(-logits) * -jnp.expm1(-jnp.where(zero, nll, 1))  # probability of a count above 0
    rare = above < 0.5
    at_zero = jnp.where(
        rare, -jnp.log1p(-jnp.where(rare, above, 0)), jax.nn.softplus(logits) - jnp.logaddexp(logits, -nll)
    )
    return jnp.where(zero, at_zero, jax.nn.softplus(logits) + nll)


def _counts(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns where the count is 0, the counts with 1 in those places, and their logarithms."""
    x = jax.lax.stop_gradient(x)
    zero = x == 0
    x = jnp.where(zero, 1, x)
    return zero, x, jnp.log(x)


def _exp_gap(d: jax.Array) -> jax.Array:
    """e^d - 1 - d, without cancellation."""
    small = jnp.abs(d) < 0.1
    t = jnp.where(small, d, 0)
    series = jnp.zeros_like(t)
    for k in range(9, 1, -1):
        series = series * t + 1 / math.factorial(k)
    return jnp.where(small, t * t * series, jnp.expm1(d) - d)


def _log1p_gap(u: jax.Array) -> jax.Array:
    """u - log(1 + u), without cancellation: with v = u / (2 + u), log(1 + u) is 2 (v + v^3 / 3 + v^5 / 5 + ...)."""
    small = jnp.abs(u) < 0.1
    t = jnp.where(small, u, 0)
    v = t / (2 + t)
    v2 = v * v
    series = 1 / 3 + v2 * (1 / 5 + v2 * (1 / 7 + v2 * (1 / 9 + v2 / 11)))
    return jnp.where(small, v * (t - 2 * v2 * series), u - jnp.log1p(u))


def _stirling_rest(t: jax.Array, log_t: jax.Array) -> jax.Array:
    """log Gamma(t + 1) - (t + 1/2) log t + t for t >= 0, which tends to log(2 pi) / 2.

    A small t is first moved up by 4, as Gamma(t + 5) = (t + 1) (t + 2) (t + 3) (t + 4) Gamma(t + 1).
    """
    large = t > 4
    small = jnp.where(large, 0, t)
    s = jnp.where(large, t, small + 4)
    i2 = 1 / s / s
    series = (1 / 12 - i2 * (1 / 360 - i2 * (1 / 1260 - i2 * (1 / 1680 - i2 * (1 / 1188 - i2 * 691 / 360360))))) / s
    product = (small + 1) * (small + 2) * (small + 3) * (small + 4)
    moved = (small + 4.5) * jnp.log(small + 4) - 4 - jnp.log(product) - (small + 0.5) * jnp.where(large, 0, log_t)
    return 0.5 * math.log(2 * math.pi) + series + jnp.where(large, 0, moved)
