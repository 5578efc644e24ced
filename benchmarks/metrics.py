"""Compares the metrics of jaxvae with plain NumPy and scikit-learn versions of the reference code: seconds and scores.

    python -m benchmarks.metrics                        # the DCI of the reference takes minutes
    python -m benchmarks.metrics --train 1000 --test 500
    python -m benchmarks.metrics --only dci_es          # measures one row of the results again

The codes have 10 dimensions for the factor sizes of dSprites: five factors with noise, and five mixtures of them.
Each metric runs once. The reference is the version that large-scale studies use, written directly from its
definition; it runs in one process.
"""

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score, roc_auc_score
from sklearn.preprocessing import label_binarize
from sklearn.svm import LinearSVC

from benchmarks.record import earlier_rows, record
from jaxvae.metrics import (
    GridCodes,
    beta_vae_score,
    dci,
    dci_es,
    downstream,
    explicitness,
    factor_vae_score,
    infomec,
    irs,
    mig,
    modularity,
    sap,
)
from jaxvae.metrics.dci import disentanglement_of
from jaxvae.metrics.modularity import modularity_of

GOLDEN = Path(__file__).parents[1] / "tests" / "metrics" / "golden"
SIZES = (3, 6, 40, 32, 32)


@dataclass
class Args:
    """Flags of the benchmark."""

    train: int = 10_000
    """rows to learn from"""
    test: int = 5000
    """rows to test on"""
    votes: int = 10_000
    """points of the scores by intervention; half as many are tested on"""
    only: tuple[str, ...] = ()
    """metrics to measure again; the other rows of the results stay"""


def information(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[D, K] by scikit-learn, one pair of columns at a time."""
    bins = [np.digitize(code, np.histogram(code, 20)[1][:-1]) for code in z.T]
    return np.array([[mutual_info_score(factor, code) for factor in y.T] for code in bins])


def plain_mig(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """The gap of the two largest informations over the entropy."""
    second, first = np.sort(information(z, y), axis=0)[-2:]
    return float(np.mean((first - second) / [mutual_info_score(factor, factor) for factor in y.T]))


def plain_sap(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """Classifiers on one code at a time."""
    a, b = slice(0, args.train), slice(args.train, None)
    scores = [
        [
            LinearSVC(C=0.01, class_weight="balanced", random_state=0)
            .fit(code[a, None], f[a])
            .score(code[b, None], f[b])
            for f in y.T
        ]
        for code in z.T
    ]
    second, first = np.sort(scores, axis=0)[-2:]
    return float((first - second).mean())


def plain_explicitness(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """Logistic regression for one factor after another."""
    a, b = slice(0, args.train), slice(args.train, None)
    scaled = (z - z[a].mean(axis=0)) / z[a].std(axis=0)
    areas = []
    for factor in y.T:
        predicted = LogisticRegression().fit(scaled[a], factor[a]).predict_proba(scaled[b])
        areas.append(roc_auc_score(label_binarize(factor[b], classes=range(predicted.shape[1])), predicted))
    return float(np.mean(areas))


def plain_irs(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """Loops over codes, factors and values."""
    widest = np.abs(z - z.mean(axis=0)).max(axis=0)
    scores = np.full(z.shape[1], -np.inf)
    for d, code in enumerate(z.T):
        for factor in y.T:
            binned = np.digitize(factor, np.histogram(factor, 20)[1][:-1])
            groups = [code[binned == value] for value in np.unique(binned)]
            spread = np.mean([np.percentile(np.abs(group - group.mean()), 99) for group in groups])
            scores[d] = max(scores[d], 1 - spread / widest[d])
    return float((scores * widest).sum() / widest.sum())


def plain_infomec(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """InfoM by scikit-learn's estimator; InfoE is computed as well, and not shown."""
    rows = [
        [mutual_info_classif(code[:, None], factor, n_neighbors=10, random_state=0)[0] for code in z.T]
        for factor in y.T
    ]
    normalised = np.array(rows) / np.array([mutual_info_score(factor, factor) for factor in y.T])[:, None]
    scaled = (z - z.mean(axis=0)) / z.std(axis=0)
    for factor in y.T:
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(scaled, factor)
        log_loss(factor, model.predict_proba(scaled))
    share = (normalised.max(axis=0) / normalised.sum(axis=0)).mean()
    return float((share - 1 / len(normalised)) / (1 - 1 / len(normalised)))


def plain_dci(z: np.ndarray, y: np.ndarray, args: Args) -> float:
    """Boosted trees for one factor after another."""
    a, b = slice(0, args.train), slice(args.train, None)
    columns = []
    for factor in y.T:
        model = GradientBoostingClassifier(random_state=0).fit(z[a], factor[a])
        model.score(z[a], factor[a]), model.score(z[b], factor[b])
        columns.append(np.abs(model.feature_importances_))
    return disentanglement_of(np.stack(columns, axis=1))[0]


def plain_votes(grid: np.ndarray, args: Args) -> float:
    """One FactorVAE vote at a time."""
    rng = np.random.default_rng(0)
    overall = grid[rng.integers(len(grid), size=10_000)].var(axis=0, ddof=1)
    votes = np.zeros((2, grid.shape[1], len(SIZES)), int)
    for part, number in enumerate((args.votes, args.votes // 2)):
        for _ in range(number):
            k = rng.integers(len(SIZES))
            factors = np.stack([rng.integers(size, size=64) for size in SIZES], axis=1)
            factors[:, k] = factors[0, k]
            local = grid[np.ravel_multi_index(tuple(factors.T), SIZES)].var(axis=0, ddof=1)
            votes[part, (local / overall).argmin(), k] += 1
    chosen = votes[0].argmax(axis=1)
    return float(votes[1, np.arange(len(chosen)), chosen].sum() / (args.votes // 2))


def plain_differences(grid: np.ndarray, args: Args) -> float:
    """One BetaVAE point at a time."""
    rng = np.random.default_rng(0)
    features, labels = [], []
    for _ in range(args.votes + args.votes // 2):
        k = rng.integers(len(SIZES))
        one, two = (np.stack([rng.integers(size, size=64) for size in SIZES], axis=1) for _ in range(2))
        two[:, k] = one[:, k]
        codes = [grid[np.ravel_multi_index(tuple(factors.T), SIZES)] for factors in (one, two)]
        features.append(np.abs(codes[0] - codes[1]).mean(axis=0))
        labels.append(k)
    model = LogisticRegression().fit(features[: args.votes], labels[: args.votes])
    return float(model.score(features[args.votes :], labels[args.votes :]))


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Score and seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = call()
    return getattr(result, "score", result), time.perf_counter() - start


def main(args: Args) -> None:
    """Prints the table and writes results/metrics.json."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))

    def encode(factors: np.ndarray) -> np.ndarray:
        centred = 2 * factors / (np.array(SIZES) - 1) - 1
        noise = 0.1 * np.random.default_rng(len(factors)).normal(size=centred.shape)
        return np.concatenate([np.tanh(centred @ mixing), centred + noise], axis=1).astype(np.float32)

    rows_of = args.train + args.test
    y = np.stack([rng.integers(size, size=rows_of) for size in SIZES], axis=1)
    z = encode(y).astype(np.float64)
    grid = encode(np.stack(np.unravel_index(np.arange(math.prod(SIZES)), SIZES), axis=1))
    split = {"train_fraction": (args.train - 0.5) / rows_of}
    draws, points = GridCodes.of_array(grid, SIZES), {"num_train": args.votes, "num_eval": args.votes // 2}
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "mig": (lambda: mig(z, y), lambda: plain_mig(z, y, args)),
        "sap, discrete": (lambda: sap(z, y, kind="discrete", **split), lambda: plain_sap(z, y, args)),
        "modularity": (lambda: modularity(z, y), lambda: float(modularity_of(information(z, y)).mean())),
        "explicitness": (lambda: explicitness(z, y, **split), lambda: plain_explicitness(z, y, args)),
        "irs": (lambda: irs(z, y), lambda: plain_irs(z, y, args)),
        "infomec": (lambda: infomec(z, y), lambda: plain_infomec(z, y, args)),
        "beta_vae_score": (lambda: beta_vae_score(draws, **points), lambda: plain_differences(grid, args)),
        "factor_vae_score": (lambda: factor_vae_score(draws, **points), lambda: plain_votes(grid, args)),
        "downstream": (lambda: downstream(z, y, num_test=args.test), None),
        "dci_es": (lambda: dci_es(z, y), None),
        "dci, lightgbm": (lambda: dci(z, y, **split), None),
        "dci, scikit-learn": (lambda: dci(z, y, learner="scikit-learn", **split), lambda: plain_dci(z, y, args)),
    }
    rows = earlier_rows("metrics") if args.only else []
    for name in args.only or pairs:
        ours, reference = pairs[name]
        score, seconds = timed(ours)
        expected, their_seconds = timed(reference) if reference else (None, None)
        row = {
            "metric": name,
            "score": score,
            "reference_score": expected,
            "seconds": round(seconds, 3),
            "reference_seconds": None if their_seconds is None else round(their_seconds, 3),
        }
        rows = [row if old["metric"] == name else old for old in rows] if args.only else [*rows, row]
        print(row, flush=True)
    settings = {name: value for name, value in vars(args).items() if name != "only"}
    ratios = {
        f"{row['metric']}, against the reference": row["reference_seconds"] / row["seconds"]
        for row in rows
        if row["reference_seconds"]
    }
    record("metrics", settings, rows, ratios, lightgbm_beside_the_reference=agreement())


def agreement() -> list[dict[str, Any]]:
    """DCI disentanglement with LightGBM's trees beside what the public reference code gave, on the tests' codes."""
    cases = json.loads((GOLDEN / "reference.json").read_text("utf-8"))["cases"]
    with np.load(GOLDEN / "reference.npz") as arrays:
        factors = arrays["factors"][:2000].astype(int)
        found = {
            case: dci(arrays[f"codes_{case}"][:2000], factors, train_fraction=0.5, shuffle=False) for case in cases
        }
    rows = [
        {
            "codes": case,
            "disentanglement": round(found[case].disentanglement, 3),
            "reference_disentanglement": round(values["dci"]["disentanglement"]["mean"], 3),
            "completeness": round(found[case].completeness, 3),
            "reference_completeness": round(values["dci"]["completeness"]["mean"], 3),
            "accuracy": round(found[case].informativeness, 3),
            "reference_accuracy": round(values["dci"]["informativeness_test"]["mean"], 3),
        }
        for case, values in cases.items()
    ]
    for row in rows:
        print(row)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Args))
