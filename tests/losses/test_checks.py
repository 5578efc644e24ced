"""A scale that is not positive is refused, whatever kind of number it is, in every kernel that takes one."""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae.losses as losses
from jaxvae.methods.likelihoods import gaussian, laplace

X = np.zeros((4, 2), np.float32)
MARKS = np.ones((4, 2), np.int32)
KERNELS = {
    "gaussian_nll": lambda scale: losses.gaussian_nll(X, X, scale),
    "laplace_nll": lambda scale: losses.laplace_nll(X, X, scale),
    "gaussian likelihood": gaussian,
    "laplace likelihood": laplace,
    "student_t": lambda scale: losses.student_t(2, 3.0, scale),
    "spike_and_slab": lambda scale: losses.spike_and_slab(2, 0.5, scale),
    "gaussian_mixture": lambda scale: losses.gaussian_mixture(X, scale),
    "softmax_variances": lambda scale: losses.softmax_variances(X[0], scale),
    "component_log_densities": lambda scale: losses.component_log_densities(X, X, X[:, 0], variance=scale),
    "inverse_multiquadric": lambda scale: losses.inverse_multiquadric(2, prior_variance=scale),
    "its scales": lambda scale: losses.inverse_multiquadric(2, scales=(1.0, scale)),
    "radial_basis": losses.radial_basis,
    "coding_rate": lambda scale: losses.coding_rate(X, scale=scale),
    "its eps_squared": lambda scale: losses.coding_rate(X, eps_squared=scale),
    "rank_pairing": lambda scale: losses.rank_pairing(X, X, MARKS, scale=scale),
    "student_t_similarity": lambda scale: losses.student_t_similarity(scale=scale),
    "gaussian_similarity": losses.gaussian_similarity,
    "von_mises_similarity": losses.von_mises_similarity,
    "group_laplace_log_density": lambda scale: losses.group_laplace_log_density(X, scale),
}
BELOW = (
    -1,
    -1.0,
    np.float64(-1),
    np.float32(-1),
    np.float16(-1),
    np.int64(0),
    np.uint8(0),
    jnp.bfloat16(-1),
    np.array(-1.0, np.float32),
    Fraction(-1, 2),
    Decimal(-1),
    float("nan"),
    np.float32("nan"),
    False,
)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", KERNELS)
def test_no_kind_of_number_passes_that_is_not_positive(name):
    for scale in (*BELOW, jnp.float32(-1)):
        with pytest.raises(ValueError, match="must be positive, got"):
            KERNELS[name](scale)
    for scale in (float("inf"), np.float32("inf"), 1e-46, 1e39):
        with pytest.raises(ValueError, match=r"must be between 1.18e-38 and 3.4e\+38, got"):
            KERNELS[name](scale)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["gaussian_nll", "laplace_nll"])
def test_the_first_wrong_one_of_many_scales_is_named(name):
    with pytest.raises(ValueError, match=r"scale must be positive, got -3\.0$"):
        KERNELS[name](np.array([1, -3], np.float32))
    with pytest.raises(ValueError, match=r"scale must be between 1.18e-38 and 3.4e\+38, got inf$"):
        KERNELS[name](jnp.array([np.inf, 1]))


@pytest.mark.usefixtures("unchecked_types")
def test_thresholds_and_perplexities_of_every_kind():
    for threshold in (-1, np.float32(-1), jnp.float32(-1), np.float32("nan")):
        with pytest.raises(ValueError, match="threshold must be >= 0, got"):
            losses.group_soft_threshold(X, threshold)
    for perplexity in (0, np.float32(0.5), float("nan")):
        with pytest.raises(ValueError, match="perplexity must be >= 1, got"):
            losses.neighbour_affinities(X, perplexity)


def test_a_traced_scale_is_unknown():
    loss = lambda scale: losses.laplace_nll(jnp.zeros((4, 2)), jnp.ones((4, 2)), scale).sum()  # noqa: E731
    slope = jax.jit(jax.grad(loss))(jnp.float32(2))
    np.testing.assert_allclose(slope, 4 * 2 * (1 / 2 - 1 / 4), rtol=1e-6)
