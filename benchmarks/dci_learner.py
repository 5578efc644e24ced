"""Compares DCI with its default learner to DCI with the reference's learner, on random codes: scores and CPU seconds.

    python -m benchmarks.dci_learner                # 200 cases, a quarter of an hour on one core
    python -m benchmarks.dci_learner --cases 20

A case has 150 to 15,000 rows (two thirds are learned from), 2 to 4 factors of 2 to 6 values, and codes of one kind:
"noise"; "mixed", which are tanh of random mixtures of the factors plus noise; "clean", one code per factor with
little or no noise. "copies", "flipped", "monotone" and "noisy copies" are mixed or clean codes beside one or two copies
of them: equal, negated, raised to the third power, or with noise of their own. Each learner uses one core.

The reference's scores depend on its seed. Cases that differ by more than 0.02 from those of its seed 0 are also
compared with the mean of ten seeds.
"""

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from benchmarks.record import record
from jaxvae.metrics import DCI, dci

KINDS = ("noise", "mixed", "clean", "copies", "flipped", "monotone", "noisy copies")
SPREAD_ROWS = 1000
"""Rows up to which the reference is also run with a second seed, to see how far it agrees with itself."""
FAR, SEEDS = 0.02, 10
"""Difference from one seed of the reference above which this many seeds are run."""
SIZES = (150, 500, 1500, 5000, 15_000)
"""Bounds of the groups of rows that the summary lists."""
SCORES = ("disentanglement", "completeness", "informativeness")


@dataclass
class Args:
    """Flags of the benchmark."""

    cases: int = 200
    """Number of random cases."""
    most_rows: int = 15_000
    """Cases with more rows are left out."""


def case(number: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Kind, codes [N, D] and factors [N, K] of a case."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    rows = int(np.exp(rng.uniform(np.log(SIZES[0]), np.log(SIZES[-1]))))
    sizes = rng.integers(2, 7, size=rng.integers(2, 5))
    factors = np.stack([rng.integers(size, size=rows) for size in sizes], axis=1)
    scaled = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    width = int(rng.integers(2, 6))
    if kind == "noise":
        return kind, rng.normal(size=(rows, width)), factors
    if kind == "clean" or (kind != "mixed" and rng.random() < 0.5):
        codes = scaled + rng.choice([0, 0.02, 0.3]) * rng.normal(size=scaled.shape)
    else:
        mixing = rng.normal(size=(len(sizes), width)) * (rng.random((len(sizes), width)) < 0.6)
        codes = np.tanh(scaled @ mixing) + rng.choice([0.01, 0.1, 0.3]) * rng.normal(size=(rows, width))
    for _ in range(rng.integers(1, 3) if kind not in ("mixed", "clean") else 0):
        first = codes[:, : len(sizes)]
        copied = {
            "copies": first,
            "flipped": -first,
            "monotone": first**3,
            "noisy copies": first + rng.choice([0.02, 0.3]) * rng.normal(size=first.shape),
        }[kind]
        codes = np.concatenate([codes, copied], axis=1)
    return kind, codes, factors


def timed(codes: np.ndarray, factors: np.ndarray, **settings: Any) -> tuple[DCI, float]:
    """The result and its CPU seconds."""
    start = time.process_time()
    result = dci(codes, factors, jobs=1, **settings)
    return result, time.process_time() - start


def main(args: Args) -> None:
    """Prints the cases and writes results/dci_learner.json."""
    rows = []
    for number in range(args.cases):
        kind, codes, factors = case(number)
        if len(codes) > args.most_rows:
            continue
        ours, seconds = timed(codes, factors)
        reference, their_seconds = timed(codes, factors, learner="scikit-learn")
        other = None
        if len(codes) <= SPREAD_ROWS:
            other, _ = timed(codes, factors, learner="scikit-learn", seed=1)
        apart, from_mean, spread = _apart(ours, reference), None, None
        if apart > FAR:
            further = [timed(codes, factors, learner="scikit-learn", seed=seed)[0] for seed in range(1, SEEDS)]
            scores = np.array([[getattr(each, name) for name in SCORES] for each in (reference, *further)])
            from_mean = np.abs(scores.mean(axis=0) - [getattr(ours, name) for name in SCORES]).max()
            spread = scores.std(axis=0, ddof=1).max()
        row = {
            "case": number,
            "kind": kind,
            "rows": len(codes),
            "codes": codes.shape[1],
            "factors": factors.shape[1],
            **{name: round(getattr(ours, name), 4) for name in SCORES},
            **{f"reference_{name}": round(getattr(reference, name), 4) for name in SCORES},
            "difference": round(apart, 4),
            "difference_from_ten_seeds": None if from_mean is None else round(from_mean, 4),
            "deviation_of_ten_seeds": None if spread is None else round(spread, 4),
            "reference_between_seeds": None if other is None else round(_apart(other, reference), 4),
            "seconds": round(seconds, 3),
            "reference_seconds": round(their_seconds, 3),
        }
        rows.append(row)
        print(row, flush=True)
    summary = summarise(rows)
    record(
        "dci_learner", vars(args), rows, {f"{s['group']}, CPU seconds": s["speedup"] for s in summary}, summary=summary
    )
    for line in summary:
        print(line)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Largest differences and speeds, of all cases, by kind and by number of rows."""
    groups = {"all": rows}
    for kind in KINDS:
        groups[kind] = [row for row in rows if row["kind"] == kind]
    for low, high in itertools.pairwise(SIZES):
        groups[f"{low} to {high} rows"] = [row for row in rows if low <= row["rows"] < high]
    summary = []
    for group, part in groups.items():
        if not part:
            continue
        far = [row["difference_from_ten_seeds"] for row in part if row["difference_from_ten_seeds"] is not None]
        near = [row["difference"] for row in part if row["difference_from_ten_seeds"] is None]
        seeds = [row["reference_between_seeds"] for row in part if row["reference_between_seeds"] is not None]
        summary.append(
            {
                "group": group,
                "cases": len(part),
                "largest_difference": max(row["difference"] for row in part),
                "largest_difference_from_ten_seeds": max(far + near),
                "mean_difference": round(float(np.mean([row["difference"] for row in part])), 4),
                "largest_between_seeds_of_the_reference": max(seeds, default=None),
                "speedup": round(
                    sum(row["reference_seconds"] for row in part) / sum(row["seconds"] for row in part), 1
                ),
            }
        )
    return summary


def _apart(one: DCI, two: DCI) -> float:
    """Largest difference of the three scores."""
    return max(abs(getattr(one, name) - getattr(two, name)) for name in SCORES)


if __name__ == "__main__":
    main(tyro.cli(Args))
