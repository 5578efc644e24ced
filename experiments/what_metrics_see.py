"""Which metric sees what? The synthetic experiments of a review of metrics, with all metrics (Carbonneau et al., 2020).

    python experiments/what_metrics_see.py          2 cores: about 15 minutes
    python experiments/what_metrics_see.py --full   the rows of the review
    python experiments/what_metrics_see.py --forms  seconds: the forms of InfoMEC alone, into the results of all

All of them write the tables of what_metrics_see.md from the results.

Nothing is trained: codes are computed from eight factors that are uniform in [0, 1], with noise, mixed linearly, as
angles or in copies, bent by a monotone function, or with few of the factors known to the metric. Numbers of factors and
strengths are those of the review.
"""

import json
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, print_rows, shown

from jaxvae.files import write_json
from jaxvae.metrics import (
    METRICS,
    UNSUPERVISED,
    Binning,
    Result,
    beta_vae_score,
    dci,
    dci_es,
    downstream,
    explicitness,
    factor_vae_score,
    infomec,
    mig,
    pipe,
    sap,
    z_max_variance,
)

CLAIM = (
    "No metric sees noise, mixing and copies of codes at once and ignores a monotone bend of each code: every one is "
    "blind to some of the first three, or takes the last for a fault."
)
FACTORS = 8
BLIND = 0.1
"""Share of the difference between perfect and independent codes below which a metric does not see a change."""
NOISE, MIXING, BENT, KNOWN = (0.2, 0.4, 0.6, 0.8, 1.0), (0.2, 0.35, 0.5), (0.5, 1.0), (2, 4, 6)
FORMS = {
    "latent_quantization": (10, "range/20"),
    "latent_quantization, training logs": (3, "range/8"),
    "Tripod": (10, "iqr/10"),
    "FactorQVAE": (3, "range/20"),
}
"""Public forms of InfoMEC: number of neighbours, and rule for active codes."""
ON_A_GRID = {"quantised noise 0.6": "noise 0.6", "quantised weak codes": "weak codes"}
"""Codes that are rounded to a grid in the table of the forms of InfoMEC, by the codes they are made from."""
VALUES = 12
"""Number of values of a latent on the grid, as in Tripod."""
PAGE = Path(__file__).with_suffix(".md")
ON_THE_PAGE = ("perfect", "noise 0.6", "mixing 0.5", "2 copies", "bent 1", f"2 of {FACTORS} factors", "noise 1")
"""Situations in the table of the page; the figure has all."""
TEN = Binning(10)
VOTES = {"num_train": 1000, "num_eval": 1000}
Score = Callable[[np.ndarray, np.ndarray], float]
Codes = tuple[np.ndarray, np.ndarray]


@dataclass
class Args:
    """Flags of the experiment."""

    rows: int = 1000
    seeds: int = 3
    full: bool = False
    forms: bool = False
    """computes the table of the forms of InfoMEC alone, and keeps the rest of the results"""
    runs: str = ""
    """folder for the scores, which are not computed again if they are there"""
    results: Path = RESULTS
    """folder for the table and the figure"""


def bend(factors: np.ndarray, strength: float) -> np.ndarray:
    """Bends values in [0, 1] monotonically, from nearly a line (0) to nearly a step with flat middle (1)."""
    scale = 1000 ** (strength - 0.25)
    return np.tan(2 * np.arctan(scale / 2) * (factors - 0.5)) / scale + 0.5


def situations(rng: np.random.Generator, rows: int) -> dict[str, Codes]:
    """Codes [N, D] and the known factors [N, K] of every situation."""
    factors, other = rng.random((rows, FACTORS)), rng.random((rows, FACTORS))
    four, two = factors[:, :4], factors[:, :2]
    angles = 2 * np.pi * four
    found = {"perfect": (factors, factors)}
    found |= {f"noise {a:g}": ((1 - a) * factors + a * other, factors) for a in NOISE}
    found |= {f"mixing {a:g}": ((1 - a) * factors + a * np.roll(factors, 1, axis=1), factors) for a in MIXING}
    found["cos and sin"] = np.concatenate([np.cos(angles), np.sin(angles)], axis=1), four
    found["2 copies"] = np.tile(four, 2), four
    found["4 copies"] = np.tile(two, 4), two
    found |= {f"bent {s:g}": (bend(factors, s), factors) for s in BENT}
    found |= {f"{known} of {FACTORS} factors": (factors, factors[:, :known]) for known in KNOWN}
    return found


def with_weak_codes(rng: np.random.Generator, rows: int) -> Codes:
    """Noisy codes, one of a tenth of their range, and one that is constant but for one in a hundred examples."""
    factors = rng.random((rows, FACTORS))
    codes = 0.7 * factors + 0.3 * rng.random((rows, FACTORS))
    weak, rare = 0.1 * rng.random((rows, 1)), rng.random((rows, 1)) * (np.arange(rows)[:, None] % 100 == 0)
    return np.concatenate([codes, weak, rare], axis=1), factors


def scores() -> dict[str, Score]:
    """All metrics by name, and their variants, as functions of codes and factors."""
    special = ("beta_vae_score", "factor_vae_score", "z_max_variance", "downstream", "dci", "dci_es", "mcc", "infomec")
    boosted, information = _once(partial(dci, binning=TEN)), _once(partial(infomec, convention="paper", binning=TEN))
    plain = {name: partial(metric, binning=TEN) for name, metric in METRICS.items() if name not in special}
    settings = {
        **plain,
        "mig, over code entropy": partial(mig, normalise="code", binning=TEN),
        "sap, classifiers": partial(sap, kind="discrete", binning=TEN),
        "dci, Lasso": partial(dci, learner="lasso", binning=TEN),
        "dci, random forest": partial(dci, learner="random-forest", binning=TEN),
        "explicitness, per class": partial(explicitness, per="class", binning=TEN),
        "mcc": METRICS["mcc"],
        "beta_vae_score": partial(beta_vae_score, **VOTES, binning=TEN),
        "factor_vae_score": partial(factor_vae_score, **VOTES, binning=TEN),
        "z_max_variance": partial(z_max_variance, **VOTES, binning=Binning(3)),
        "downstream": partial(downstream, sizes=(100,), binning=TEN),
        "dci_es": partial(dci_es, depths=(1, 2, 4, 8, 16), trees=20, binning=TEN),
    }
    more: dict[str, Score] = {
        "dci": lambda z, y: boosted(z, y).score,
        "dci, completeness": lambda z, y: boosted(z, y).completeness,
        "dci, informativeness": lambda z, y: boosted(z, y).informativeness,
        "infomec": lambda z, y: information(z, y).infom,
        "infomec, InfoE": lambda z, y: information(z, y).infoe,
        "infomec, InfoC": lambda z, y: information(z, y).infoc,
        "pipe, of codes": lambda z, y: pipe(z, lambda codes: codes, learning_rate=1e-3, interval=2000).score,
    }
    of_codes = {name: (lambda z, y, metric=metric: metric(z).score) for name, metric in UNSUPERVISED.items()}
    named = {name: (lambda z, y, metric=metric: metric(z, y).score) for name, metric in settings.items()}
    return dict(sorted((named | more).items())) | of_codes


def _once(metric: Callable[..., Result]) -> Callable[..., Any]:
    """Computes a metric with several scores once, for codes that are given several times in a row."""
    last: list[Any] = []

    def compute(codes: np.ndarray, factors: np.ndarray) -> Any:
        if not last or last[0] is not codes or last[1] is not factors:
            last[:] = codes, factors, metric(codes, factors)
        return last[2]

    return compute


def _cell(values: list[float]) -> str:
    return shown(values) if np.isfinite(values).all() else str(np.mean(values))


def _listed(names: list[str]) -> str:
    return " / ".join(map(code_name, names)) or "no metric"


def one(score: Score, codes: Codes) -> float:
    """Computes a score; NaN if it is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(score(*codes))
        except ValueError:
            return float("nan")


def kept(args: Args, seed: int, name: str, codes: Codes, metrics: dict[str, Score]) -> dict[str, float]:
    """Scores of codes by metric, from the folder for scores if they are there, and otherwise into it."""
    path = Path(args.runs) / f"{FACTORS} {args.rows} {seed} {name}.json".replace(" ", "-")
    found = json.loads(path.read_text("utf-8")) if args.runs and path.exists() else {}
    missing = {metric: score for metric, score in metrics.items() if metric not in found}
    found |= {metric: one(score, codes) for metric, score in missing.items()}
    if args.runs and missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    return found


def relative(table: np.ndarray, metrics: list[str], names: list[str]) -> np.ndarray:
    """Scales scores [metrics, situations] so that perfect codes have 1 and independent ones (noise 1) have 0.

    Metrics of codes alone do not tell these apart. They are 0 in the situation that is farthest from perfect codes.
    """
    best, chance = (table[:, names.index(name), None] for name in ("perfect", "noise 1"))
    away = np.abs(np.where(np.isfinite(table), table, np.nan) - best)
    alone = 1 - away / np.maximum(np.nanmax(away, axis=1, keepdims=True), 1e-12)
    scaled = (table - chance) / np.where(best == chance, np.nan, best - chance)
    of_codes = np.array([name in UNSUPERVISED or name.startswith("pipe") for name in metrics])
    return np.where(of_codes[:, None], np.where(np.isinf(table), 0, alone), scaled)


def four_forms(seeds: int, rows: int) -> list[dict[str, str]]:
    """InfoM, InfoE and InfoC of the same codes in each public form, also of codes that are rounded to a grid."""
    table = []
    for kind in ("noise 0.6", "mixing 0.35", "weak codes", *ON_A_GRID):
        made_from = ON_A_GRID.get(kind, kind)
        for form, (neighbours, active) in FORMS.items():
            found = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                weak = made_from == "weak codes"
                codes, factors = with_weak_codes(rng, rows) if weak else situations(rng, rows)[made_from]
                settings = {"train_fraction": None, "convention": "paper", "binning": TEN}
                if kind in ON_A_GRID:
                    steps = np.round(codes * (VALUES - 1))
                    codes, settings["discrete_codes"] = 2 * steps / (VALUES - 1) - 1, True
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = infomec(codes, factors, neighbours=neighbours, active=active, **settings)
                found.append((result.infom, result.infoe, result.infoc, result.active.sum()))
            columns = np.array(found).T
            parts = zip(("InfoM", "InfoE", "InfoC"), columns, strict=False)
            table.append(
                {"codes": kind, "form": form}
                | {"neighbours": "plug-in" if kind in ON_A_GRID else neighbours, "active by": active}
                | {"active codes": f"{columns[3].mean():.1f}"}
                | {name: shown(values, 3) for name, values in parts}
            )
    return table


def code_name(metric: str) -> str:
    """Name of a metric and its variant, with the name of the function as code."""
    name, comma, variant = metric.partition(",")
    return f"`{name}`{comma}{variant}"


def page_with(text: str, record: dict[str, Any]) -> str:
    """The page [text] with the tables and findings of the results, each between two comments that name it."""
    lines = [f"- {part}" for part in record["found"].split("; ")]
    parts = {
        "found": "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines),
        "scores": _table(
            [{"metric": code_name(row["metric"])} | {name: row[name] for name in ON_THE_PAGE} for row in record["rows"]]
        ),
        "infomec": _table(record["infomec"]),
    }
    for name, part in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{start}{part}\n{end}{after}"
    return text


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [list(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    head, *cells = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *cells])


def heat_map(table: np.ndarray, share: np.ndarray, metrics: list[str], names: list[str]) -> plt.Figure:
    """Draws the scores, coloured from independent (0) to perfect codes (1)."""
    figure, axes = plt.subplots(figsize=(0.62 * len(names) + 3, 0.3 * len(metrics) + 1.6))
    picture = axes.imshow(np.clip(share, 0, 1), cmap="viridis", aspect="auto", vmin=0, vmax=1)
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            dark = not share[i, j] > 0.6
            text = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color="white" if dark else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(metrics)), metrics, fontsize=8)
    figure.colorbar(picture, ax=axes, label="0: score of independent codes, 1: of perfect ones", pad=0.01)
    figure.tight_layout()
    return figure


def write_page(args: Args) -> None:
    """Puts the results of the committed size into the page."""
    if args.results == RESULTS:
        record = json.loads((args.results / "what_metrics_see.json").read_text("utf-8"))
        PAGE.write_text(page_with(PAGE.read_text("utf-8"), record), "utf-8")


def main(args: Args) -> None:
    """Scores all situations, and lists the metrics that do not see them."""
    if args.full:
        args.rows = 20_000
    if args.forms:
        path = args.results / "what_metrics_see.json"
        record = json.loads(path.read_text("utf-8"))
        record["infomec"] = four_forms(args.seeds, args.rows)
        print_rows(record["infomec"])
        path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        write_page(args)
        return
    metrics, values = scores(), {}
    for seed in range(args.seeds):
        for name, codes in situations(np.random.default_rng(seed), args.rows).items():
            for metric, value in kept(args, seed, name, codes, metrics).items():
                values.setdefault((metric, name), []).append(value)
            print(f"seed {seed}: {name}", flush=True)
    names = list(dict.fromkeys(name for _, name in values))
    table = np.array([[np.mean(values[metric, name]) for name in names] for metric in metrics])
    share = relative(table, list(metrics), names)
    rows = [{"metric": metric} | {name: _cell(values[metric, name]) for name in names} for metric in metrics]
    about = {"noise": "noise 0.6", "mixing": "mixing 0.5", "copies": "2 copies", "a bend": "bent 1"}
    seen = {what: dict(zip(metrics, share[:, names.index(name)], strict=True)) for what, name in about.items()}
    with_factors = [m for m in metrics if m not in UNSUPERVISED and not m.startswith("pipe")]
    blind = {what: [m for m in with_factors if of[m] > 1 - BLIND] for what, of in seen.items()}
    faults = ("noise", "mixing", "copies")
    all_seen = [m for m in with_factors if m in blind["a bend"] and all(m not in blind[what] for what in faults)]
    found = "; ".join(
        [f"{about[what]} is missed by {_listed(blind[what])}" for what in faults]
        + [f"{about['a bend']} changes nothing for {_listed(blind['a bend'])}"]
        + [f"no fault is missed, and the bend ignored, by {_listed(all_seen)}"]
    )
    figure = heat_map(table, share, list(metrics), names)
    tables = {"infomec": four_forms(args.seeds, args.rows)}
    conclude("what_metrics_see", CLAIM, rows, found, figure, args, tables)
    write_page(args)


if __name__ == "__main__":
    main(tyro.cli(Args))
