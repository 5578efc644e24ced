"""The latents of a run by size: which are active, and which factor each of them carries."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxvae.analysis import Representation, latent_effects
from jaxvae.methods.autoencoding import POINT_LOGVAR
from jaxvae.runs.load import Run
from jaxvae.runs.score import ACTIVE_KL

ACTIVE_CHANGE = 0.02
"""Relative change below which a latent of a deterministic code counts as inactive. The change is relative to that of
the latent that changes the output most."""


class Latents(NamedTuple):
    """The D latents of a run."""

    order: np.ndarray
    """Indices of the latents, the most informative first [D]."""
    kl: np.ndarray
    """Mean KL of each latent to N(0, 1) in nats [D]."""
    change: np.ndarray | None
    """Mean change of an output value by each latent [D] for deterministic codes, whose KL is not informative. None for
    other codes."""
    active: np.ndarray
    """Whether each latent is active, bool [D]."""
    factors: tuple[str | None, ...]
    """Factor that each latent carries most [D]; None for an inactive latent, or if factors are unknown."""
    information: np.ndarray | None
    """Mutual information of latents and factors in nats [D, K]; None if it is unknown."""
    factor_entropy: np.ndarray | None
    """Entropy of the factors in nats [K]; None if it is unknown."""

    @property
    def sizes(self) -> np.ndarray:
        """The numbers that the latents are ordered by: the changes if there are any, and otherwise the KLs [D]."""
        return self.kl if self.change is None else self.change


def latents_by_size(run: Run, codes: Representation, mig: Mapping[str, Any]) -> Latents:
    """Orders the latents of a run, and names them by factors.

    Args:
      run: Run that produced the codes.
      codes: Codes of random examples of its data, from `jaxvae.runs.represent`.
      mig: Result of the metric "mig" on these codes as JSON values; {} if it is unknown.
    """
    kl, change = codes.kl_per_latent(), change_per_latent(run.decoder, codes)
    active = kl > ACTIVE_KL if change is None else change > ACTIVE_CHANGE * change.max()
    order = np.argsort(-(kl if change is None else change))
    if "mutual_information" not in mig:
        return Latents(order, kl, change, active, (None,) * len(order), None, None)
    information = np.array(mig["mutual_information"], float)
    entropy = np.array(mig["factor_entropy"], float)
    share = information / np.maximum(entropy, 1e-12)
    names = run.source.factor_names
    factors = tuple(names[int(share[d].argmax())] if active[d] else None for d in range(len(order)))
    return Latents(order, kl, change, active, factors, information, entropy)


def change_per_latent(decode: Callable[[np.ndarray], np.ndarray] | None, codes: Representation) -> np.ndarray | None:
    """Computes the change of the output by each latent of a deterministic code that can be decoded; otherwise None."""
    if decode is None or not codes.mean.size or len(codes.mean) < 2 or (codes.logvar != POINT_LOGVAR).any():
        return None
    return latent_effects(decode, codes.mean).size
