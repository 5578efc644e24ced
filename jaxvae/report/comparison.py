"""Runs beside each other: those that differ by their seed are a line of the table."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from jaxvae.analysis import latent_effects
from jaxvae.method import Nets
from jaxvae.metrics import METRICS, UNSUPERVISED
from jaxvae.run import Run, evaluate, load_run, read_scores, represent
from jaxvae.training.members import DIVERGED
from jaxvae.training.run_folder import RunFolderError, differences, read_config, read_history

COMPARED = ("mig", "dci", "sap", "modularity", "irs", "mcc", "factor_vae_score")
SEEDS_APART = ("seed", "log_every", "checkpoint_every", "microbatch")
"""Settings that make no other line."""
PICTURED = 1000
"""Examples whose codes say where a latent's values lie."""
SHOWN_LATENTS, SHOWN_VALUES = 6, 6


class Column(NamedTuple):
    """A number of each run."""

    name: str
    title: str
    better: float
    """1 if high is better, -1 if low is, 0 if it is neither."""
    about: str


PROPERTIES = (
    Column("reconstruction_error", "error", -1, "mean squared error of a value of the image, rebuilt from its code"),
    Column("overlap", "overlap", 0, "absolute cosine of what two latents change: 0 is orthogonal"),
    Column("parts", "parts", 0, "Hoyer sparsity of what a latent changes: 1 is a single pixel, 0 all of them alike"),
    Column("exclusive", "exclusive", 0, "share of a pixel's change that is by the latent which changes it most"),
    Column("negentropy", "negentropy", 0, "of a latent, nats: 0 is Gaussian"),
    Column("seconds", "seconds", -1, "of training; of runs that were trained together, of all of them"),
)


class Line(NamedTuple):
    """One method with one set of settings."""

    name: str
    data: str
    folders: tuple[Path, ...]
    values: dict[str, np.ndarray]
    """Of each column, one per run; NaN where there is none."""
    note: str
    """What to know of it; "" for nothing."""
    picture: np.ndarray | None
    """Rows of images [R, T, H, W, C]: examples, reconstructions, then one latent each, from low values to high ones."""
    rows: tuple[str, ...]
    """What each row shows."""


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The folders themselves, or the runs right below them. RunFolderError for one without any."""
    found = []
    for folder in folders:
        below = sorted(path.parent for path in folder.glob("*/config.json"))
        here = [folder] if (folder / "config.json").exists() else below
        if not here:
            raise RunFolderError(f"there is no run in {folder}, nor right below it: config.json is missing")
        found += here
    return list(dict.fromkeys(found))


def compare(
    folders: Sequence[Path],
    *,
    num_samples: int = 10_000,
    metrics: Sequence[str] = COMPARED,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[Column], list[Line]]:
    """The table of some runs, in the order in which they are given. Runs that have no such scores yet are scored.

    Args:
      folders: of runs.
      num_samples: examples that runs are scored on.
      metrics: names in `METRICS` and `UNSUPERVISED`.
      progress: is told what is scored.

    Raises:
      RunFolderError: a folder that holds no run that can be loaded.
      ValueError: no such metric.
    """
    for name in metrics:
        if name not in METRICS and name not in UNSUPERVISED:
            raise ValueError(f"unknown metric {name!r}. There are: {', '.join([*METRICS, *UNSUPERVISED])}")
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        config = read_config(folder)
        key = json.dumps({name: value for name, value in config.items() if name not in SEEDS_APART}, sort_keys=True)
        groups.setdefault(key, []).append(folder)
    names = _names([json.loads(key) for key in groups])
    columns = [Column(name, name.replace("_", " "), 1 if name in METRICS else 0, "") for name in metrics]
    lines = []
    for name, (key, members) in zip(names, groups.items(), strict=True):
        progress(f"{name}: {len(members)} run{'s' if len(members) > 1 else ''}")
        config = json.loads(key)
        first = load_run(members[0])
        rows = [_values_of(members[0], num_samples, metrics, first)]
        rows += [_values_of(folder, num_samples, metrics) for folder in members[1:]]
        values = {column.name: np.array([row[column.name] for row in rows]) for column in (*columns, *PROPERTIES)}
        diverged = sum((folder / DIVERGED).exists() for folder in members)
        note = f"{diverged} of {len(members)} diverged" if diverged else ""
        picture, shown = _picture(first)
        lines.append(Line(name, _data_name(config["data"]), tuple(members), values, note, picture, shown))
    return [*columns, *PROPERTIES], lines


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of what is not NaN, and half the width of its 95 % interval by Student's t: NaN for fewer than two."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float(known.mean()) if len(known) else math.nan, math.nan
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5
    return float(known.mean()), float(half)


def _names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Of lines: the method, and in which settings it differs from the first line of the same."""
    first: dict[str, dict[str, Any]] = {}
    names = []
    for config in configs:
        method = config.get("method") or config["baseline"]
        other = first.setdefault(method, config)
        changed = [(name, new) for name, _, new in differences(other, config) if name != "data"]
        apart = [f"{name.removeprefix('hp.')} {new}" for name, new in changed]
        names.append(" · ".join([method, *apart]))
    return names


def _data_name(data: str) -> str:
    """Without the folders of a path."""
    kind, _, where = data.partition(":")
    return Path(where).name if where else kind


def _values_of(folder: Path, num_samples: int, metrics: Sequence[str], loaded: Run | None = None) -> dict[str, float]:
    scores, history = read_scores(folder), read_history(folder)
    step = history[-1]["step"] if history else None
    if (
        scores is None
        or "properties" not in scores
        or scores["step"] != step
        or scores["num_samples"] != num_samples
        or not _all_there(scores, metrics)
    ):
        run = loaded or load_run(folder)
        known = () if scores is None else (*scores["metrics"],)
        scores = evaluate(run, represent(run, num_samples), tuple(dict.fromkeys((*metrics, *known))))
    numbers = {name: scores["metrics"].get(name, {}).get("score") for name in metrics} | scores["properties"]
    numbers["seconds"] = sum(row["seconds"] for row in history)
    return {name: math.nan if value is None else float(value) for name, value in numbers.items()}


def _all_there(scores: dict[str, Any], metrics: Sequence[str]) -> bool:
    """Whether metrics are scored, as far as they can be: those of factors are left out where none are known."""
    found = scores["metrics"]
    some_code = bool(found) or scores["properties"]["negentropy"] is not None
    known = any(name in METRICS for name in found)
    return all(name in found for name in metrics if some_code and (known or name in UNSUPERVISED))


def _picture(run: Run) -> tuple[np.ndarray | None, tuple[str, ...]]:
    batch = run.source.sample(run.evaluation_key, PICTURED)
    images = np.asarray(batch["image"][:SHOWN_VALUES])
    if run.decoder is None:
        if run.method.pictures is None:
            return None, ()
        few = run.source.batch(run.evaluation_key, jax.numpy.int32(0), SHOWN_VALUES)
        shown = run.method.pictures(Nets(run.method.networks, run.state.params), run.evaluation_key, few)
        drawn = {"image": few["image"], **{name: rows for name, rows in shown.items() if not name.endswith("map")}}
        return _same_channels(list(drawn.values())), tuple(drawn)
    codes = represent(run, PICTURED).mean
    size = latent_effects(run.decoder, codes).size
    order = [d for d in np.argsort(-size)[:SHOWN_LATENTS] if size[d] > 0.01 * size.max()]
    values = np.quantile(codes, np.linspace(0.05, 0.95, SHOWN_VALUES), axis=0, method="nearest")
    rows = [images, run.decoder(codes[:SHOWN_VALUES])]
    for d in order:
        swept = np.repeat(codes[:1], SHOWN_VALUES, axis=0)
        swept[:, d] = values[:, d]
        rows.append(run.decoder(swept))
    return _same_channels(rows), ("examples", "reconstructions", *(f"z{d}" for d in order))


def _same_channels(rows: Sequence[Any]) -> np.ndarray:
    images = [np.clip(np.asarray(row, np.float32), 0, 1) for row in rows]
    channels = max(row.shape[-1] for row in images)
    return np.stack([np.broadcast_to(row, (*row.shape[:3], channels)) for row in images])
