"""Analyses of a trained model.

- Terms of the loss over a whole data set: `exact_kl_terms`
- Codes, reconstructions and latent traversals: `random_examples`, `encode_samples`, `make_encoder`,
  `reconstruct`, `traverse`
- What each latent changes, and whether the changes are orthogonal, confined to parts, or separate from those of other
  latents: `latent_effects`
- What each latent of an additive decoder raises, by direction, with its top columns: `split_effects`
- Whether the latents are principal directions: `decode_jacobians`, `distance_to_orthogonality`, `active_latents`,
  `polarised_gap`, `local_optimum_variances`, `knn_gap`
- Whether codes keep the neighbourhoods of the data: `neighbourhood_scores`, `temporal_correlation`
- Which components of a mixture prior form one cluster: `find_clusters`
- Subspaces of classes: `fit_subspaces`, `class_spectra`
- Sparsity of codes, which latents drive which group of outputs, and agreement of maps with known effects:
  `hoyer_sparsity`, `group_loadings`, `normalised_cross_correlation`
"""

from jaxvae.analysis.attribution import normalised_cross_correlation
from jaxvae.analysis.clusters import Clusters, find_clusters
from jaxvae.analysis.directions import (
    Orthogonality,
    active_latents,
    decode_jacobians,
    distance_to_orthogonality,
    knn_gap,
    local_optimum_variances,
    polarised_gap,
)
from jaxvae.analysis.effects import Effects, latent_effects
from jaxvae.analysis.exact_terms import ExactTerms, exact_kl_terms
from jaxvae.analysis.neighbourhoods import Neighbourhoods, neighbourhood_scores, temporal_correlation
from jaxvae.analysis.representation import (
    Representation,
    encode_samples,
    make_encoder,
    random_examples,
    reconstruct,
    traverse,
)
from jaxvae.analysis.sparsity import group_loadings, hoyer_sparsity
from jaxvae.analysis.split_effects import SplitEffects, split_effects
from jaxvae.analysis.subspaces import Subspaces, class_spectra, fit_subspaces

__all__ = [
    "Clusters",
    "Effects",
    "ExactTerms",
    "Neighbourhoods",
    "Orthogonality",
    "Representation",
    "SplitEffects",
    "Subspaces",
    "active_latents",
    "class_spectra",
    "decode_jacobians",
    "distance_to_orthogonality",
    "encode_samples",
    "exact_kl_terms",
    "find_clusters",
    "fit_subspaces",
    "group_loadings",
    "hoyer_sparsity",
    "knn_gap",
    "latent_effects",
    "local_optimum_variances",
    "make_encoder",
    "neighbourhood_scores",
    "normalised_cross_correlation",
    "polarised_gap",
    "random_examples",
    "reconstruct",
    "split_effects",
    "temporal_correlation",
    "traverse",
]
