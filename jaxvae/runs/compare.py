"""Comparison of runs in a table. Runs that differ only by their seed share a line."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from jaxvae.analysis import latent_effects, random_examples
from jaxvae.method import Nets
from jaxvae.metrics import metric_named
from jaxvae.runs.config import names_with_role
from jaxvae.runs.folder import newest_saved, read_config
from jaxvae.runs.load import Run, config_of, load_run, own_config_of, stopped_early
from jaxvae.runs.score import SCORES, read_scores, represent, score, scored_examples
from jaxvae.training.members import DIVERGED
from jaxvae.training.run_folder import (
    TRAINED,
    RunFolderError,
    differences,
    flatten,
    read_history,
    read_trained,
    write_json,
)

COMPARED = ("mig", "dci", "sap", "modularity", "irs", "mcc", "factor_vae_score")
COMPARED_SCORES = "compared.json"
SEPARATOR = " · "
"""Separator of the parts of a line's name: the method, and settings as "name value"."""
NAMED = ("config.json", TRAINED)
"""Files that identify a run of the command and a run in Python, respectively."""
BROKEN = (ValueError, OSError, KeyError, TypeError)
"""Errors that a damaged folder or changed data can raise. RunFolderError is a ValueError."""
PICTURED = 1000
"""Number of examples whose codes determine the range of a latent traversal."""
SHOWN_LATENTS, SHOWN_VALUES = 6, 6


class Column(NamedTuple):
    """A column of the table, with one number per run."""

    name: str
    title: str
    better: float
    """1 if higher is better, -1 if lower is better, and 0 otherwise."""
    about: str
    """Definition of the number; "" for metrics."""


PROPERTIES = (
    Column("reconstruction_error", "error", -1, "mean squared error of a value of the image, rebuilt from its code"),
    Column("overlap", "overlap", 0, "absolute cosine of what two latents change: 0 is orthogonal"),
    Column("parts", "parts", 0, "Hoyer sparsity of what a latent changes: 1 is a single pixel, 0 all of them alike"),
    Column("exclusive", "exclusive", 0, "share of a pixel's change that is by the latent which changes it most"),
    Column("negentropy", "negentropy", 0, "of a latent, nats: 0 is Gaussian"),
    Column("seconds", "seconds", 0, "of training; of runs trained together, an equal share"),
)


class Line(NamedTuple):
    """A line of the table: the runs of one method with one set of settings, which differ by their seed."""

    name: str
    data: str
    folders: tuple[Path, ...]
    values: dict[str, np.ndarray]
    """Values of each column, by name, one per run; NaN if a run has none."""
    note: str
    """Remarks, such as the number of runs that have diverged; "" without any."""
    picture: np.ndarray | None
    """Rows of images [R, T, H, W, C]: examples, reconstructions, then one latent traversal per row, from low to high
    values."""
    rows: tuple[str, ...]
    """Names of the rows of the picture."""


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Returns each folder that holds a run, or the runs up to two levels below a folder that does not.

    Raises:
      RunFolderError: There is no run in a folder or below it.
    """
    found: list[Path] = []
    for folder in folders:
        below = sorted(
            {path.parent for deep in ("*", "*/*") for name in NAMED for path in folder.glob(f"{deep}/{name}")}
        )
        here = [folder] if _has_run(folder) else [path for path in below if _may_be_run(path)]
        if not here:
            raise RunFolderError(f"there is no run in {folder}, nor below it: {' or '.join(NAMED)} is missing")
        found += [path for path in here if path.resolve() not in {other.resolve() for other in found}]
    return found


def compare(
    folders: Sequence[Path],
    *,
    num_samples: int = 10_000,
    metrics: Sequence[str] = COMPARED,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[Column], list[Line]]:
    """Compares runs in a table, in the order in which they are given.

    Runs are scored unless their scores.json holds the metrics on enough examples. The new scores are stored in
    compared.json. A line's note counts the runs that cannot be loaded, have diverged or are not finished. Lines without
    a run that can be loaded, and runs whose settings cannot be read, are left out. If several runs of a line have the
    same seed, only the last one is used, and the note says so.

    Args:
      folders: Folders of the runs.
      num_samples: Smallest number of examples to score a run on.
      metrics: Names of metrics, see `jaxvae.metrics.metric_named`.
      progress: Called with a text for every line that is scored or left out.

    Returns:
      The columns of the table, and its lines.

    Raises:
      RunFolderError: A folder holds something other than a run, or no run can be loaded.
      ValueError: A metric does not exist.
    """
    for name in metrics:
        metric_named(name)
    groups: dict[str, dict[int, Path]] = {}
    repeated: dict[str, list[str]] = {}
    failed: Exception | None = None
    for folder in folders:
        try:
            settings = _settings(folder)
            known = config_of(folder) if (folder / NAMED[0]).exists() else own_config_of(folder)
        except RunFolderError as error:
            if len(folders) == 1:
                raise
            failed = error
            progress(f"left out: {error}")
            continue
        if not _is_run(settings):
            raise RunFolderError(f"{folder / 'config.json'} is not of a run of jaxvae")
        apart = ("seed", *names_with_role("replicate", "bookkeeping", "limit"))
        settings = {name: value for name, value in flatten(known.to_json()).items() if name not in apart}
        key = json.dumps(settings, sort_keys=True)
        members = groups.setdefault(key, {})
        if known.seed in members:
            note = f"seed {known.seed} is there more than once: {folder} counts, {members[known.seed]} does not"
            repeated.setdefault(key, []).append(note)
        members[known.seed] = folder
    configs = [json.loads(key) for key in groups]
    columns = [Column(name, name.replace("_", " "), float(metric_named(name).needs_factors), "") for name in metrics]
    lines = []
    for name, config, (key, members) in zip(_names(configs), configs, groups.items(), strict=True):
        progress(f"{name}: {len(members)} run{'s' if len(members) > 1 else ''}")
        try:
            line = _line(name, config, list(members.values()), num_samples, metrics)
            notes = [note for note in (line.note, *repeated.get(key, ())) if note]
            lines.append(line._replace(note=", ".join(notes)))
        except BROKEN as error:
            failed = error
            progress(f"left out: {error}")
    if failed is not None and not lines:
        raise failed if isinstance(failed, ValueError) else RunFolderError(f"no run can be loaded: {failed}")
    return [*columns, *PROPERTIES], lines


def _line(name: str, config: dict[str, Any], folders: list[Path], num_samples: int, metrics: Sequence[str]) -> Line:
    rows: list[dict[str, float]] = []
    shown: tuple[np.ndarray | None, tuple[str, ...]] | None = None
    notes, failed = [], None
    for folder in folders:
        try:
            stored = _stored(folder, num_samples, metrics)
            if not (folder / NAMED[0]).exists():
                if stored is None:
                    raise RunFolderError(_to_be_scored(folder, num_samples, metrics))
                rows.append(_values_of(folder, None, num_samples, metrics))
                shown = shown or (None, ())
                continue
            run = load_run(folder) if shown is None or stored is None else None
            rows.append(_values_of(folder, run, num_samples, metrics))
            if shown is None and run is not None:
                shown = _picture(run)
        except BROKEN as error:
            failed = error
            rows.append({})
    if shown is None:
        raise RunFolderError(str(failed))
    states = {
        "diverged": [(folder / DIVERGED).exists() for folder in folders],
        "can't be loaded": [not row for row in rows],
        "not finished": [
            newest_saved(folder) < config.get("training.steps", 0)
            and not (folder / DIVERGED).exists()
            and not stopped_early(folder)
            for folder in folders
        ],
    }
    for state, which in states.items():
        if any(which):
            notes.append(f"{sum(which)} of {len(folders)} {state}")
    there = [folder for folder, row in zip(folders, rows, strict=True) if row]
    if "infomec" in metrics and any(_takes_values(folder, num_samples, metrics) for folder in there):
        notes.append("infomec of quantised codes, which is not comparable with that of continuous ones")
    names = [*metrics, *(column.name for column in PROPERTIES)]
    values = {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}
    return Line(name, _data_name(_data_of(config)), tuple(folders), values, ", ".join(notes), *shown)


def _to_be_scored(folder: Path, num_samples: int, metrics: Sequence[str]) -> str:
    scores = read_scores(folder, SCORES)
    if scores is not None and set(metrics) <= set(scores["asked"]) and scores["num_samples"] < num_samples:
        there = scores["num_samples"]
        return f"the run in {folder} has scores on {there} examples only: add --num-samples {there} to compare by them"
    if scores is not None and (lacking := [name for name in metrics if name not in scores["asked"]]):
        there, which = scores["num_samples"], [name for name in metrics if name not in lacking]
        asked = f"--metrics {' '.join(which)} --num-samples {there} to compare by those it has" if which else ""
        return (
            f"the run in {folder} was trained in Python and has no scores of {', '.join(lacking)}: compute them there "
            f"with jaxvae.runs.evaluate" + (f", or add {asked}" if asked else "")
        )
    return (
        f"the run in {folder} was trained in Python and has no scores: compute them there, with "
        f"jaxvae.runs.evaluate(run, codes, {list(metrics)}) and {num_samples} examples"
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """Computes the mean of the finite values, and half the width of its 95 % interval by Student's t distribution.

    The width is NaN for fewer than two finite values, and the mean for none.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float(known.mean()) if len(known) else math.nan, math.nan
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5
    return float(known.mean()), float(half)


def _names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the names of the lines: the method, and the settings in which the lines of that method differ."""
    methods = [config.get("method") or config["baseline"] for config in configs]
    varying: dict[str, dict[str, None]] = {}
    first: dict[str, dict[str, Any]] = {}
    for method, config in zip(methods, configs, strict=True):
        for name, _, _ in differences(first.setdefault(method, config), config):
            if name not in ("data", "source.data") and not name.startswith("data."):
                varying.setdefault(method, {})[name] = None
    return [
        SEPARATOR.join(
            [
                method,
                *(f"{name.rpartition('.')[2]} {_words(config.get(name))}" for name in varying.get(method, ())),
            ]
        )
        for method, config in zip(methods, configs, strict=True)
    ]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _data_name(data: str) -> str:
    """Returns the name of the data without the folders of a path."""
    kind, _, where = data.partition(":")
    return Path(where).name if where else kind


def _data_of(config: Mapping[str, Any]) -> str:
    """Returns the data in the settings of a method, of a run in Python, or of a baseline."""
    return config.get("source.data") or config.get("data.name") or config["data"]


def _has_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in NAMED)


def _settings(folder: Path) -> dict[str, Any]:
    return read_config(folder) if (folder / NAMED[0]).exists() else read_trained(folder)


def _may_be_run(folder: Path) -> bool:
    """Whether the settings are those of a run, or cannot be read; in the latter case, `compare` reports the reason."""
    try:
        return _is_run(_settings(folder))
    except RunFolderError:
        return True


def _is_run(config: Any) -> bool:
    return isinstance(config, dict) and ("method" in config or "baseline" in config)


def _values_of(folder: Path, run: Run | None, num_samples: int, metrics: Sequence[str]) -> dict[str, float]:
    """Returns the values of a run's columns, from stored scores if there are any; otherwise, the run is scored."""
    scores = _stored(folder, num_samples, metrics)
    if scores is None:
        run = run or load_run(folder)
        scores = score(run, represent(run, num_samples), metrics)
        write_json(folder / COMPARED_SCORES, scores)
    numbers = {name: scores["metrics"].get(name, {}).get("score") for name in metrics} | scores["properties"]
    numbers["seconds"] = sum(row.get("seconds", math.nan) for row in read_history(folder))
    return {name: math.nan if value is None else float(value) for name, value in numbers.items()}


def _stored(folder: Path, num_samples: int, metrics: Sequence[str]) -> dict[str, Any] | None:
    """Returns stored scores of the newest checkpoint that hold the metrics on enough examples, or None."""
    for file in (SCORES, COMPARED_SCORES):
        scores = read_scores(folder, file)
        if (
            scores is not None
            and set(metrics) <= set(scores["asked"])
            and scores["step"] == newest_saved(folder)
            and scores["num_samples"] >= min(num_samples, scores.get("num_examples", math.inf))
            and "num_examples" in scores
        ):
            return scores
    return None


def _takes_values(folder: Path, num_samples: int, metrics: Sequence[str]) -> bool:
    """Whether the stored InfoMEC took the values of quantised codes as categories."""
    scores = _stored(folder, num_samples, metrics)
    return scores is not None and "plug-in" in scores["metrics"].get("infomec", {}).get("definition", "")


def _picture(run: Run) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if len(run.source.event_shape) != 3 or run.source.event_shape[2] not in (1, 3):
        return None, ()
    if run.decoder is None:
        if run.method.pictures is None:
            return None, ()
        source = run.source if run.held_out is None else run.held_out.source
        few = source.batch(run.evaluation_key, jax.numpy.int32(0), SHOWN_VALUES)
        shown = run.method.pictures(Nets(run.method.networks, run.state.params), run.evaluation_key, few)
        drawn = {"image": few["x"], **{name: rows for name, rows in shown.items() if not name.endswith("map")}}
        return _same_channels(list(drawn.values())), tuple(drawn)
    images = random_examples(scored_examples(run), run.evaluation_key, SHOWN_VALUES)["x"]
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
