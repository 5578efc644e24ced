"""Representations without deep networks: estimators with fit, transform and (but for RecursiveICA) inverse_transform.

PCA, FastICA and NMF are scikit-learn's, CanonicalPolyadic is made of TensorLy's decomposition and VectorQuantizer of
scikit-learn's k-means, the others are ours.
"""

from sklearn.decomposition import NMF, PCA, FastICA

from jaxvae.baselines.linear import Infomax
from jaxvae.baselines.multilinear import CanonicalPolyadic, Multilinear, hosvd
from jaxvae.baselines.quantizers import CooperativeVQ, MultipleCauseVQ, VectorQuantizer
from jaxvae.baselines.recursive_ica import RecursiveICA
from jaxvae.baselines.som import SelfOrganizingMap
from jaxvae.baselines.subspaces import IndependentSubspaces, TopographicICA

__all__ = [
    "NMF",
    "PCA",
    "CanonicalPolyadic",
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
