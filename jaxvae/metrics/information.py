"""Mutual information and entropies of binned codes and factors, from one pass over their contingency tables."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import Examples, choose, warn_of_fine_factors
from jaxvae.metrics.mutual_information import contingency, discretise, entropy, plug_in_mutual_information

Normalise = Literal["factor", "code", "none"]
NORMALISATIONS = ("factor", "code", "none")


class Information(NamedTuple):
    """Plug-in estimates in nats, for D codes and the K' factors that vary."""

    mutual: Array[np.float64]
    """Mutual information of code d and factor k [D, K']."""
    code_entropy: Array[np.float64]
    """Entropy of each binned code on the rows where factor k is known [D, K']; without missing values, its columns are
    equal."""
    factor_entropy: Array[np.float64]
    """Entropy of each factor [K']."""
    own_entropy: Array[np.float64]
    """Entropy of each binned code on all rows [D]."""
    num_bins: int
    """Number of bins per code."""

    @property
    def joint_entropy(self) -> Array[np.float64]:
        """Entropy of each pair of a code and a factor [D, K']."""
        return self.code_entropy + self.factor_entropy - self.mutual

    def normalised(self, by: Normalise) -> Array[np.float64]:
        """Divides the information by the entropy of the factor or of the code, or not at all; 0 for constant codes."""
        if by == "none":
            return self.mutual
        if by == "factor":
            return self.mutual / self.factor_entropy
        return self.mutual / np.where(self.code_entropy > 0, self.code_entropy, 1)


def information_of(data: Examples, num_bins: int) -> Information:
    """Bins codes at equal width, and computes their information about the factors.

    Warns:
      UserWarning: A factor has more values than there are bins.

    Raises:
      ValueError: There are fewer than two bins.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    warn_of_fine_factors(data, num_bins, stacklevel=4)
    bins = discretise(data.codes, num_bins)
    mutual, code_entropy = np.zeros((2, bins.shape[1], data.factors.shape[1]))
    for d, code in enumerate(bins.T):
        for k, factor in enumerate(data.factors.T):
            counts = contingency(code, factor)
            mutual[d, k] = plug_in_mutual_information(counts)
            code_entropy[d, k] = _entropy(counts.sum(axis=1))
    return Information(mutual, code_entropy, entropy(data.factors), entropy(bins), num_bins)


def check_normalisation(normalise: str) -> None:
    """Raises ValueError for a normalisation that does not exist."""
    choose("normalise", normalise, NORMALISATIONS)


def said(normalise: Normalise) -> str:
    """Describes a normalisation for a definition."""
    return {
        "factor": "",
        "code": ", information over the entropy of the code",
        "none": ", information in nats",
    }[normalise]


def _entropy(counts: Array[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
