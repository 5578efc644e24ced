"""Scores of codes against classes, such as cell types: is there a latent for each class?"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from jaxvae.metrics.inputs import Binning, examples, numbered_labels, second_best
from jaxvae.metrics.mutual_information import discretise, entropy, mutual_information_matrix
from jaxvae.metrics.results import Result

SIMILARITIES = ("SMI", "SPN", "BMMI", "ASC")
POOLINGS = ("LMS", "MSAS", "MSGS")


@dataclass(frozen=True, eq=False)
class ClassMatching(Result):
    """Scores of latents as detectors of classes, with the quantities that they are computed from."""

    scores: dict[str, float]
    """All scores by name, such as "LMS-SMI": a pooling and a similarity. Each is a mean over the labels."""
    per_factor: np.ndarray
    """LMS-SMI for each label [K]; NaN for ignored labels."""
    similarity: dict[str, np.ndarray]
    """Similarity of each latent and each class [D, C], by name."""
    classes: np.ndarray
    """Label and value of each class [C, 2]: the classes of one label after those of another."""
    match: np.ndarray
    """Latent of each class under the best one-to-one matching by SMI [C]; -1 for none."""
    ignored_factors: tuple[int, ...]
    """Labels that are constant in these examples and are left out."""
    num_samples: int


def class_matching(
    codes: ArrayLike, labels: ArrayLike, *, num_bins: int = 10, binning: Binning | None = None
) -> ClassMatching:
    """Class matching: whether each class, such as a cell type, has a latent of its own.

    Each class is a binary variable: membership y. The similarity of a latent z and a class is one of

        SMI    I(bin of z; y) / H(y), with bins of equal width, as plug-in estimates
        SPN    max(p - q, 0) / (1 - q): in the order of z, p is the share of members, without the last one, that are
               followed by a member, and q the share of members among all examples
        BMMI   I(z > t; y) / H(y) for the best threshold t between different values of z
        ASC    |Spearman's correlation of z and y|; it expects a monotonic relation, which classes need not have

    Over the latents, they are pooled to LMS (mean over the classes of the latents that are matched one to one, such
    that the sum is largest; a class without a latent counts 0), MSAS (mean of the most similar latent of each class)
    and MSGS (mean of the gap between the two most similar latents). With fewer latents than classes, LMS is at most
    their ratio. The best score is 1, and chance level is near 0 for all but MSAS, which grows with many latents.

    Examples with equal values of a latent have no order: SPN is the expectation over all orders, where the package
    draws one. A class of one example has no followers, and is left out of SPN.

    Args:
      codes: Codes [N, D], real.
      labels: Labels [N], such as names of cell types, or several labels as integers [N, K]; NaN or None where a value
        is missing. Each is matched alone, on the rows where it is known, and the scores are means over them.
      num_bins: Number of bins per latent for SMI.
      binning: Bins of labels [N, K] that are not whole numbers, which are refused without it.

    Returns:
      The score LMS-SMI, and all others.

    Warns:
      UserWarning: A label is constant or missing in some examples, or a class has one example.

    Raises:
      ValueError: The shapes do not match, the codes are not finite, or the labels are not integers or all constant.

    Reference: Moinfar & Theis (2024), and their package drvi-py 0.2.8.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    labels = np.asarray(labels)
    numbered = numbered_labels(labels)[:, None] if labels.ndim == 1 else labels
    data = examples(codes, numbered, binning)
    values = [(k, value) for k, size in enumerate(data.sizes) for value in range(size)]
    bins = discretise(data.codes, num_bins)
    parts, alone = [], 0
    ordered: dict[bytes, _Ordered] = {}
    for k, size in enumerate(data.sizes):
        rows = data.factors[:, k] >= 0
        member = data.factors[rows, k][:, None] == np.arange(size)
        alone += int((member.sum(axis=0) == 1).sum())
        if rows.tobytes() not in ordered:
            ordered[rows.tobytes()] = _Ordered.of(data.codes[rows])
        parts.append(_similarities(ordered[rows.tobytes()], bins[rows], member))
    if alone:
        warnings.warn(f"{alone} classes have a single example and are left out of SPN", stacklevel=2)
    similarity = {name: np.concatenate([part[name] for part in parts], axis=1) for name in SIMILARITIES}
    of = np.array([k for k, _ in values])
    scores: dict[str, list[float]] = {f"{pooling}-{name}": [] for pooling in POOLINGS for name in SIMILARITIES}
    match = np.full(len(values), -1)
    for k in range(len(data.sizes)):
        for name, matrix in similarity.items():
            among = np.flatnonzero((of == k) & ~np.isnan(matrix[0]))
            rows, columns = linear_sum_assignment(matrix[:, among], maximize=True)
            if name == "SMI":
                match[among[columns]] = rows
            first, second = second_best(matrix[:, among])
            count = len(among) or np.nan
            pooled = (matrix[rows, among[columns]].sum(), first.sum(), (first - second).sum())
            for pooling, total in zip(POOLINGS, pooled, strict=True):
                scores[f"{pooling}-{name}"].append(float(total / count))
    means = {name: float(np.mean(each)) for name, each in scores.items()}
    return ClassMatching(
        score=means["LMS-SMI"],
        definition=data.describe(f"LMS-SMI, one latent per class, {num_bins} equal-width bins per latent"),
        scores=means,
        per_factor=data.spread(np.array(scores["LMS-SMI"])),
        similarity=similarity,
        classes=np.array([(data.kept[k], value) for k, value in values]),
        match=match,
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
    )


class _Ordered(NamedTuple):
    """Orders of the latents [N, D], which are computed once for all labels."""

    order: Array[np.int64]
    """Order of the examples by each latent [D, N]."""
    starts: list[Array[np.int64]]
    """Positions in that order at which another value begins, for each latent; the first is 0."""
    ranks: Array[np.float64]
    """Centred ranks [N, D]."""

    @classmethod
    def of(cls, codes: Array[np.float64]) -> Self:
        order = np.argsort(codes.T, axis=1, kind="stable")
        steps = [np.diff(code[row]) > 0 for code, row in zip(codes.T, order, strict=True)]
        ranks = rankdata(codes, axis=0)
        starts = [np.concatenate([[0], np.flatnonzero(step) + 1]) for step in steps]
        return cls(order, starts, ranks - ranks.mean(axis=0))


def _similarities(ordered: _Ordered, bins: Array[np.int64], member: Array[np.bool_]) -> dict[str, Array[np.float64]]:
    """Computes all similarities of latents and classes [N, C], each [D, C]."""
    y, each = member.astype(np.int64), list(zip(ordered.order, ordered.starts, strict=True))
    return {
        "SMI": mutual_information_matrix(bins, y) / entropy(y),
        "SPN": np.array([_followed(member[row], starts) for row, starts in each]),
        "BMMI": np.array([_best_threshold(member[row], starts) for row, starts in each]),
        "ASC": _rank_correlation(ordered.ranks, member),
    }


def _followed(member: Array[np.bool_], starts: Array[np.int64]) -> Array[np.float64]:
    """Computes SPN of a latent and classes [N, C], in its order: [C], NaN for a class of one example.

    Of n examples with one value, of which c are members, a random order has c (c - 1) / n pairs of neighbouring members
    on average, and its first and its last are members with probability c / n.
    """
    size = np.diff(starts, append=len(member))
    inside = np.add.reduceat(member.astype(np.float64), starts, axis=0)
    share = inside / size[:, None]
    pairs = (share * (inside - 1)).sum(axis=0) + (share[1:] * share[:-1]).sum(axis=0)
    total = member.sum(axis=0)
    chance = total / len(member)
    followed = np.where(total > 1, pairs / np.maximum(total - 1, 1), np.nan)
    return np.maximum(followed - chance, 0) / (1 - chance)


def _best_threshold(member: Array[np.bool_], starts: Array[np.int64]) -> Array[np.float64]:
    """Computes BMMI of a latent and classes [N, C], in its order: [C]."""
    cut = starts[1:] - 1
    total, count = member.sum(axis=0), len(member)
    whole = _entropy(total / count)
    if not len(cut):
        return np.zeros(len(total))
    below = member.cumsum(axis=0)[cut]
    left = (cut + 1)[:, None]
    conditional = left * _entropy(below / left) + (count - left) * _entropy((total - below) / (count - left))
    return np.maximum(1 - conditional.min(axis=0) / (count * whole), 0)


def _entropy(p: Array[np.float64]) -> Array[np.float64]:
    """Computes the entropy of a binary variable, in nats."""
    q = 1 - p
    return -(p * np.log(np.where(p > 0, p, 1)) + q * np.log(np.where(q > 0, q, 1)))


def _rank_correlation(ranks: Array[np.float64], member: Array[np.bool_]) -> Array[np.float64]:
    """Computes absolute Spearman correlations from centred ranks [N, D]: [D, C]; 0 for a constant latent."""
    classes = member.astype(np.float64)
    classes = classes - classes.mean(axis=0)
    lengths = np.linalg.norm(ranks, axis=0)[:, None] * np.linalg.norm(classes, axis=0)
    return np.abs(ranks.T @ classes) / np.where(lengths > 0, lengths, 1)
