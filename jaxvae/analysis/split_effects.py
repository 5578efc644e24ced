"""Effects of each latent of an additive decoder on each output, in the data and along a traversal."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

PSEUDO_SHARE = 1e-6
"""Share of all rates that counts as an additional split: one count in a million."""
VANISHED = 0.5
"""Largest posterior mean of a latent, or of one of its signs, that has vanished under the prior."""
SIGNS = ("+", "-")
CHUNK = 64


class SplitEffects(NamedTuple):
    """Effects of K splits, of one latent each, on P outputs. A sign of a latent, + or -, is a direction."""

    in_data: np.ndarray
    """Effect of each split on each output in the data, mean over the examples [K, P]."""
    order: np.ndarray
    """Splits by their effect over all outputs, the largest first [K]."""
    vanished: np.ndarray
    """Whether a direction has vanished [2, K]: whether no posterior mean is beyond 0.5 in it."""
    most: np.ndarray
    """How much a direction raises an output where every split is at its least [2, K, P]."""
    least: np.ndarray
    """How much a direction raises an output where every split is at its largest [2, K, P]."""

    @property
    def size(self) -> np.ndarray:
        """Effect of each split, sum over the outputs [K]; `order` sorts by it."""
        return self.in_data.sum(axis=1)

    @property
    def combined(self) -> np.ndarray:
        """`most` times `least` [2, K, P]: large where a direction raises an output much, and alone."""
        return self.most * self.least

    def top(self, names: Sequence[str], count: int = 10) -> dict[str, list[str]]:
        """Returns the outputs that each direction raises most, by the name of the direction, such as "z3+".

        Args:
          names: Names of the outputs [P], such as genes.
          count: Number of outputs per direction.

        Returns:
          Names by direction, in `order`, the largest `combined` first. Vanished directions, and outputs that a
          direction does not raise, are left out.
        """
        found = {}
        for split in self.order:
            for place, sign in enumerate(SIGNS):
                if not self.vanished[place, split]:
                    effect = self.combined[place, split]
                    first = np.argsort(-effect, kind="stable")[:count]
                    found[f"z{split}{sign}"] = [names[output] for output in first if effect[output] > 0]
        return found


def split_effects(
    parts: Callable[[np.ndarray], np.ndarray],
    means: np.ndarray,
    *,
    pooling: Literal["logsumexp", "mean"] = "logsumexp",
    examples: int = 1000,
    steps: int = 10,
) -> SplitEffects:
    """Measures what each split of an additive decoder does to each output.

    With log-rates l_s of the splits, the effect in the data is -log(1 - p_s), where p_s is the share of exp(l_s) in the
    sum over all splits and one more, of a millionth of all rates of the example. For the mean pooling, it is |l_s|.

    Each latent is moved to its least and to its largest value in the data. Because the decoder is additive, the values
    of the other latents have no part in l_s. Let lo_s and hi_s be the least and largest of l_s along this way, hi_s(d)
    its largest in direction d, and lo and hi the logarithms of the sums of exp(lo_s) and exp(hi_s) over the splits and
    one more, of a millionth of all exp(hi_s):

        most(d)  = log(e^lo - e^lo_s + e^hi_s(d)) - lo
        least(d) = log(e^hi - e^hi_s + e^hi_s(d)) - log(e^hi - e^hi_s + e^lo_s)

    For the mean pooling, where effects do not depend on other splits, both are the square root of the largest
    |l_s - l_s(0)| / K, so that `combined` is that number.

    Args:
      parts: Function from codes [B, K] to raw outputs of K splits [B, K, P], such as `jaxvae.runs.parts_of`, or
        `jaxvae.networks.SplitDecoder.parts` with parameters. Both have covariates of the decoder, such as the batch, at
        their centre, where each value of a covariate has the same share; for the effects in one batch, pass a function
        that has the covariates of that batch.
      means: Posterior means of the data [N, K].
      pooling: Pooling of the decoder.
      examples: Number of examples, evenly spaced among the rows, over which effects in the data are averaged.
      steps: Number of values of a latent in each direction.

    Raises:
      ValueError: The means are not [N, K] with a latent for each split.

    Reference: Moinfar & Theis (2024). There, effects in the data have the covariates of each example, and those along
    traversals are averages over combinations of covariates. With the same covariates, effects are the same
    (`python -m benchmarks.cells`).
    """
    means = np.asarray(means)
    if means.ndim != 2 or not means.size:
        raise ValueError(f"posterior means must be [examples, latents], got shape {means.shape}")
    latents = means.shape[1]
    rows = means[np.linspace(0, len(means) - 1, min(examples, len(means))).astype(int)]  # rows may be sorted by class
    total = 0.0
    for first in range(0, len(rows), CHUNK):
        outputs = np.asarray(parts(rows[first : first + CHUNK]), np.float64)
        if outputs.shape[1] != latents:
            raise ValueError(f"effects of latents need one split each, got {outputs.shape[1]} splits of {latents}")
        outputs = outputs.reshape(*outputs.shape[:2], -1)
        effect = np.abs(outputs) if pooling == "mean" else -np.log1p(-_shares(outputs))
        total = total + effect.sum(axis=0)
    in_data = np.asarray(total) / len(rows)

    low, high = np.minimum(means.min(axis=0), 0), np.maximum(means.max(axis=0), 0)
    shares = np.linspace(1, 0, steps, endpoint=False)
    ways = shares[None, :, None] * np.stack([high, low])[:, None]  # [2, T, K]
    moved = [np.stack([_of_one(parts, way[step]) for step in range(steps)]) for way in ways]
    along = np.stack(moved)  # [2, T, K, P]
    if pooling == "mean":
        start = _of_one(parts, np.zeros(latents))
        most = least = np.sqrt(np.abs(along - start).max(axis=1) / latents)
    else:
        least_seen, most_seen = along.min(axis=(0, 1)), along.max(axis=(0, 1))
        most, least = _possible(least_seen, most_seen, along.max(axis=1))
    vanished = np.stack([means.max(axis=0) < VANISHED, -means.min(axis=0) < VANISHED])
    order = np.argsort(-in_data.sum(axis=1), kind="stable")
    return SplitEffects(in_data, order, vanished, most, least)


def _of_one(parts: Callable[[np.ndarray], np.ndarray], code: np.ndarray) -> np.ndarray:
    """Returns the outputs of all splits of a code [K]: [K, P]."""
    return np.asarray(parts(code[None].astype(np.float32)), np.float64).reshape(len(code), -1)


def _shares(outputs: np.ndarray) -> np.ndarray:
    """Returns the share of each split in the rates [B, K, P], among the splits and one more of a millionth of all."""
    largest = outputs.max(axis=(1, 2), keepdims=True)
    pseudo = PSEUDO_SHARE * np.exp(outputs - largest).sum(axis=(1, 2), keepdims=True)
    peak = np.maximum(outputs.max(axis=1, keepdims=True), largest + np.log(pseudo))
    rates = np.exp(outputs - peak)
    return rates / (rates.sum(axis=1, keepdims=True) + np.exp(largest + np.log(pseudo) - peak))


def _possible(low: np.ndarray, high: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns `most` and `least` [2, K, P] of the least and largest outputs [K, P], and the largest of each direction
    [2, K, P].
    """
    pseudo = np.log(PSEUDO_SHARE) + np.log(np.exp(high - high.max()).sum()) + high.max()
    others = [_without_each(outputs, pseudo) for outputs in (low, high)]
    most, least = (np.logaddexp(rest, ends) - np.logaddexp(rest, low) for rest in others)
    return most, least


def _without_each(outputs: np.ndarray, pseudo: float) -> np.ndarray:
    """Returns, for each split, the logarithm of the rates of all other splits and a further one [K, P]."""
    peak = np.maximum(outputs.max(axis=0, keepdims=True), pseudo)
    rates = np.exp(outputs - peak)
    below = np.concatenate([np.zeros((1, rates.shape[1])), rates.cumsum(axis=0)[:-1]])
    above = np.concatenate([rates[::-1].cumsum(axis=0)[::-1][1:], np.zeros((1, rates.shape[1]))])
    return peak + np.log(below + above + np.exp(pseudo - peak))
