"""Loss kernels: pure functions of arrays, in nats per example. This package imports JAX and nothing heavier.

The latent axis is last. Event axes are summed, examples are never averaged, nothing is weighted: that is what methods
are for. Half-precision inputs are worked on in float32. Kernels that couple the examples of a batch take `axis_name`
and then mean the global batch.
"""

from jaxvae.losses.aggregate_posterior import (
    KLTerms,
    LogQz,
    Weighting,
    exact_log_qz,
    inclusive_kl,
    kl_decomposition,
    minibatch_log_qz,
)
from jaxvae.losses.gaussian import (
    gaussian_log_density,
    kl_standard_normal,
    kl_standard_normal_per_latent,
    reparameterize,
)
from jaxvae.losses.likelihoods import bernoulli_nll, gaussian_nll, laplace_nll

__all__ = [
    "KLTerms",
    "LogQz",
    "Weighting",
    "bernoulli_nll",
    "exact_log_qz",
    "gaussian_log_density",
    "gaussian_nll",
    "inclusive_kl",
    "kl_decomposition",
    "kl_standard_normal",
    "kl_standard_normal_per_latent",
    "laplace_nll",
    "minibatch_log_qz",
    "reparameterize",
]
