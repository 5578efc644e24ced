"""Representations without deep networks: estimators with fit, transform and (but for RecursiveICA) inverse_transform.

PCA, FastICA and NMF are scikit-learn's. VectorQuantizer makes codes of its k-means, the others are ours.
"""

from sklearn.decomposition import NMF, PCA, FastICA

from jaxvae.baselines.linear import Infomax
from jaxvae.baselines.multilinear import Multilinear, hosvd
from jaxvae.baselines.quantizers import CooperativeVQ, MultipleCauseVQ, VectorQuantizer
from jaxvae.baselines.recursive_ica import RecursiveICA
from jaxvae.baselines.som import SelfOrganizingMap
from jaxvae.baselines.subspaces import IndependentSubspaces, TopographicICA

__all__ = [
    "NMF",
    "PCA",
    "CooperativeVQ",
    "FastICA",
    "IndependentSubspaces",
    "Infomax",
    "Multilinear",
    "MultipleCauseVQ",
    "RecursiveICA",
    "SelfOrganizingMap",
    "TopographicICA",
    "VectorQuantizer",
    "hosvd",
]
