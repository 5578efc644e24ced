"""Mutual information and entropies of binned codes and factors, from one pass over their contingency tables.

MIG, MIG-sup, JEMMIG, DCIMIG and MED read the same tables. What was found of the last examples is kept, so that metrics
that are computed one by one, and their intervals from the same halves of the examples, share one pass too.
"""

import hashlib
import threading
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import Examples, choose, warn_of_fine_factors
from jaxvae.metrics.mutual_information import contingency, discretise, entropy, plug_in_mutual_information

Normalise = Literal["factor", "code", "none"]
NORMALISATIONS = ("factor", "code", "none")
KEPT = 32
"""Number of sets of examples whose information is kept: D x (2 K' + 1) + K' numbers each."""


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


_kept: dict[bytes, Information] = {}
_lock = threading.Lock()


def information_of(data: Examples, num_bins: int) -> Information:
    """Bins codes at equal width, and computes their information about the factors.

    The information of the last `KEPT` examples is kept, by a digest of codes and factors, and is not computed again.

    Warns:
      UserWarning: A factor has more values than there are bins.

    Raises:
      ValueError: There are fewer than two bins.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    warn_of_fine_factors(data, num_bins, stacklevel=4)
    key = _digest(data, num_bins)
    with _lock:
        found = _kept.pop(key, None)
    if found is None:
        found = _counted(data, num_bins)
    with _lock:
        _kept[key] = found
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
    copies = (found.mutual.copy(), found.code_entropy.copy(), found.factor_entropy.copy(), found.own_entropy.copy())
    return Information(*copies, num_bins)


def _digest(data: Examples, num_bins: int) -> bytes:
    digest = hashlib.blake2b(repr((num_bins, data.codes.shape, data.factors.shape)).encode(), digest_size=16)
    for array in (data.codes, data.factors):
        digest.update(array.tobytes())
    return digest.digest()


def _counted(data: Examples, num_bins: int) -> Information:
    """Computes what `information_of` returns."""
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
