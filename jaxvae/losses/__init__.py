"""Loss kernels: pure functions of arrays, in nats per example. This package imports JAX and nothing heavier.

The latent axis is the last one. Kernels sum over event axes; averaging over examples and weighting are left to
the methods. Inputs in half precision are computed in float32.

```python
import jax
import jax.numpy as jnp
from jaxvae.losses import bernoulli_nll, kl_decomposition, kl_standard_normal, minibatch_log_qz, reparameterize

image = jnp.zeros((64, 32, 32, 1))
mean, logvar = jnp.zeros((64, 10)), jnp.zeros((64, 10))  # output of your encoder
z = reparameterize(jax.random.key(0), mean, logvar)
logits = jnp.zeros((64, 32, 32, 1))  # output of your decoder

elbo = -(bernoulli_nll(logits, image) + kl_standard_normal(mean, logvar))  # [64], nats
log_qz = minibatch_log_qz(z, mean, logvar, dataset_size=737_280)  # aggregate posterior
mutual_information, total_correlation, dimensionwise_kl = kl_decomposition(z, mean, logvar, log_qz)
```

Likelihoods take `observed`, which marks the known values of a table: the others contribute 0 and may be NaN.

Penalties on a whole batch, such as `dip_vae_penalty`, return a single number and take their weights as arguments.

The total correlation of a batch is a biased estimate. If the batch is small for the number of latents, the estimate
is too low and can be negative. Training uses only its gradient; to report a value, use `exact_log_qz` or thousands of
examples.

Inside `shard_map`, `pmap` or `vmap(axis_name=...)`, pass `axis_name` to the kernels that couple the examples of a
batch. They then compute the estimate of the global batch, with the same value and gradient on one device and on
eight. Kernels that return one number for the batch return the same number on every device. The aggregate posterior is
computed in blocks, so that a batch of 16,384 examples takes megabytes and not gigabytes of memory.

## Kernels

- Likelihood: `bernoulli_nll`, `continuous_bernoulli_nll`, `gaussian_nll`, `laplace_nll`, `categorical_nll`
- Likelihood of counts: `poisson_nll`, `negative_binomial_nll`, `zero_inflated_poisson_nll`,
  `zero_inflated_negative_binomial_nll`
- Sampling and KL divergence: `reparameterize`, `gaussian_log_density`, `kl_standard_normal`,
  `kl_standard_normal_per_latent`, `kl_gaussian`, `sampled_kl`, `importance_weighted_bound`
- Total correlation from the batch: `minibatch_log_qz`, `exact_log_qz`, `kl_decomposition`, `inclusive_kl`
- Total correlation from a discriminator: `permute_dims`, `density_ratio_tc`, `density_ratio_loss`
- Adversarial losses: `logistic_discriminator_loss`, `logistic_generator_loss`, `hinge_discriminator_loss`,
  `hinge_generator_loss`, `wasserstein_critic_loss`, `gradient_penalty`, `r1_penalty`
- Affine transformations of feature maps: `affine_warp`, `compose_affine`, `invert_affine`
- Coding rates of features: `coding_rate`, `class_coding_rate`, `unit_length`
- Mutual information from a critic: `donsker_varadhan_bound`
- Moments and distances between distributions: `dip_vae_penalty`, `code_covariance`, `gaussian_total_correlation`,
  `gaussian_wasserstein_correlation`, `mmd_unbiased`, `mmd_dimensionwise`, `inverse_multiquadric`, `radial_basis`
- Departure from a Gaussian: `excess_kurtosis`, `negentropy`
- Labels for some examples: `label_cross_entropy`, `label_squared_error`, `label_covariance`,
  `embedding_cross_entropy`
- Pairs and groups that share factors: `shared_latents`, `average_posteriors`, `kl_gaussian_per_latent`,
  `match_pairing`, `group_variance`
- Ranks, distances and analogies: `rank_pairing`, `triplet`, `mds_stress`, `additive_analogy`,
  `multiplicative_analogy`, `swap_latents`, `analogy_manifold`
- Neighbour embeddings: `neighbour_affinities`, `neighbour_divergence`, `student_t_similarity`, `gaussian_similarity`,
  `von_mises_similarity`
- Codes on a circle or sphere: `polar_coordinates`, `sample_von_mises_fisher`, `kl_von_mises_fisher_uniform`,
  `kl_von_mises_uniform`
- Quantised codes: `nearest_value`, `fixed_grid`, `straight_through`, `quantisation_loss`, `commitment_loss`,
  `value_logits`, `relaxed_value`, `kl_uniform`
- Independence, support and mixing of codes: `kernel_multi_information`, `code_scale`, `factorised_support`,
  `latent_pairs`, `scale_hinge`, `hessian_penalty`
- Group sparsity of weights: `group_norms`, `group_soft_threshold`, `group_laplace_log_density`
- Learned mixtures: `component_log_densities`
- Priors, with log-density and sampler: `standard_normal`, `anisotropic_normal`, `softmax_variances`, `student_t`,
  `spike_and_slab`, `gaussian_mixture`, `pinwheel_mixture`
"""

from jaxvae.losses.adversarial import (
    Critic,
    gradient_penalty,
    hinge_discriminator_loss,
    hinge_generator_loss,
    logistic_discriminator_loss,
    logistic_generator_loss,
    r1_penalty,
    wasserstein_critic_loss,
)
from jaxvae.losses.aggregate_posterior import (
    KLTerms,
    LogQz,
    Weighting,
    exact_log_qz,
    inclusive_kl,
    kl_decomposition,
    minibatch_log_qz,
)
from jaxvae.losses.bounds import importance_weighted_bound, sampled_kl
from jaxvae.losses.clusters import component_log_densities
from jaxvae.losses.coding_rate import class_coding_rate, coding_rate, unit_length
from jaxvae.losses.constraints import (
    StressWeighting,
    additive_analogy,
    analogy_manifold,
    embedding_cross_entropy,
    group_variance,
    match_pairing,
    mds_stress,
    multiplicative_analogy,
    rank_pairing,
    swap_latents,
    triplet,
)
from jaxvae.losses.counts import (
    negative_binomial_nll,
    poisson_nll,
    zero_inflated_negative_binomial_nll,
    zero_inflated_poisson_nll,
)
from jaxvae.losses.density_ratio import (
    density_ratio_loss,
    density_ratio_tc,
    donsker_varadhan_bound,
    permute_dims,
)
from jaxvae.losses.gaussian import (
    gaussian_log_density,
    kl_gaussian,
    kl_gaussian_per_latent,
    kl_standard_normal,
    kl_standard_normal_per_latent,
    reparameterize,
)
from jaxvae.losses.group_sparsity import group_laplace_log_density, group_norms, group_soft_threshold
from jaxvae.losses.hausdorff import Hinge, Matching, factorised_support, latent_pairs, scale_hinge
from jaxvae.losses.hessian_penalty import hessian_penalty
from jaxvae.losses.kernel_information import code_scale, kernel_multi_information
from jaxvae.losses.likelihoods import (
    bernoulli_nll,
    categorical_nll,
    continuous_bernoulli_nll,
    gaussian_nll,
    laplace_nll,
)
from jaxvae.losses.mmd import Kernel, inverse_multiquadric, mmd_dimensionwise, mmd_unbiased, radial_basis
from jaxvae.losses.moments import (
    code_covariance,
    dip_vae_penalty,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
)
from jaxvae.losses.neighbours import (
    LogKernel,
    gaussian_similarity,
    neighbour_affinities,
    neighbour_divergence,
    student_t_similarity,
    von_mises_similarity,
)
from jaxvae.losses.non_gaussianity import Contrast, excess_kurtosis, negentropy
from jaxvae.losses.priors import (
    Prior,
    anisotropic_normal,
    gaussian_mixture,
    pinwheel_mixture,
    softmax_variances,
    spike_and_slab,
    standard_normal,
    student_t,
)
from jaxvae.losses.quantise import (
    Quantised,
    commitment_loss,
    fixed_grid,
    kl_uniform,
    nearest_value,
    quantisation_loss,
    relaxed_value,
    straight_through,
    value_logits,
)
from jaxvae.losses.sphere import (
    kl_von_mises_fisher_uniform,
    kl_von_mises_uniform,
    polar_coordinates,
    sample_von_mises_fisher,
)
from jaxvae.losses.supervision import label_covariance, label_cross_entropy, label_squared_error
from jaxvae.losses.warp import affine_warp, compose_affine, invert_affine
from jaxvae.losses.weak_supervision import Averaging, average_posteriors, shared_latents

__all__ = [
    "Averaging",
    "Contrast",
    "Critic",
    "Hinge",
    "KLTerms",
    "Kernel",
    "LogKernel",
    "LogQz",
    "Matching",
    "Prior",
    "Quantised",
    "StressWeighting",
    "Weighting",
    "additive_analogy",
    "affine_warp",
    "analogy_manifold",
    "anisotropic_normal",
    "average_posteriors",
    "bernoulli_nll",
    "categorical_nll",
    "class_coding_rate",
    "code_covariance",
    "code_scale",
    "coding_rate",
    "commitment_loss",
    "component_log_densities",
    "compose_affine",
    "continuous_bernoulli_nll",
    "density_ratio_loss",
    "density_ratio_tc",
    "dip_vae_penalty",
    "donsker_varadhan_bound",
    "embedding_cross_entropy",
    "exact_log_qz",
    "excess_kurtosis",
    "factorised_support",
    "fixed_grid",
    "gaussian_log_density",
    "gaussian_mixture",
    "gaussian_nll",
    "gaussian_similarity",
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "gradient_penalty",
    "group_laplace_log_density",
    "group_norms",
    "group_soft_threshold",
    "group_variance",
    "hessian_penalty",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "importance_weighted_bound",
    "inclusive_kl",
    "inverse_multiquadric",
    "invert_affine",
    "kernel_multi_information",
    "kl_decomposition",
    "kl_gaussian",
    "kl_gaussian_per_latent",
    "kl_standard_normal",
    "kl_standard_normal_per_latent",
    "kl_uniform",
    "kl_von_mises_fisher_uniform",
    "kl_von_mises_uniform",
    "label_covariance",
    "label_cross_entropy",
    "label_squared_error",
    "laplace_nll",
    "latent_pairs",
    "logistic_discriminator_loss",
    "logistic_generator_loss",
    "match_pairing",
    "mds_stress",
    "minibatch_log_qz",
    "mmd_dimensionwise",
    "mmd_unbiased",
    "multiplicative_analogy",
    "nearest_value",
    "negative_binomial_nll",
    "negentropy",
    "neighbour_affinities",
    "neighbour_divergence",
    "permute_dims",
    "pinwheel_mixture",
    "poisson_nll",
    "polar_coordinates",
    "quantisation_loss",
    "r1_penalty",
    "radial_basis",
    "rank_pairing",
    "relaxed_value",
    "reparameterize",
    "sample_von_mises_fisher",
    "sampled_kl",
    "scale_hinge",
    "shared_latents",
    "softmax_variances",
    "spike_and_slab",
    "standard_normal",
    "straight_through",
    "student_t",
    "student_t_similarity",
    "swap_latents",
    "triplet",
    "unit_length",
    "value_logits",
    "von_mises_similarity",
    "wasserstein_critic_loss",
    "zero_inflated_negative_binomial_nll",
    "zero_inflated_poisson_nll",
]
