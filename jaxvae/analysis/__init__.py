"""Questions put to a trained model."""

from jaxvae.analysis.exact_terms import ExactTerms, exact_kl_terms
from jaxvae.analysis.representation import Representation, encode_samples, reconstruct, traverse
from jaxvae.analysis.sparsity import hoyer_sparsity

__all__ = [
    "ExactTerms",
    "Representation",
    "encode_samples",
    "exact_kl_terms",
    "hoyer_sparsity",
    "reconstruct",
    "traverse",
]
