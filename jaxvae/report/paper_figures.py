"""The figures of runs for a paper: which are drawn, of which numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxvae.data import origin_of
from jaxvae.files import printable, write_bytes
from jaxvae.report import paper
from jaxvae.report.encoding import gif
from jaxvae.report.figures import logged_terms, term_values
from jaxvae.report.pictures import FRAME_MILLISECONDS, Label, back_and_forth, in_colours, traversal_frames
from jaxvae.report.sections import shown_metric
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.compare import COMPARED_SCORES, SEPARATOR, Column, Line
from jaxvae.runs.config import Config
from jaxvae.runs.folder import history_of
from jaxvae.runs.latents import Latents, latents_by_size
from jaxvae.runs.load import Run, config_of, load_run
from jaxvae.runs.score import SCORES, known_factors, read_scores, represent, score_arrays

NUM_SAMPLES = 2000
SHOWN_VALUES = 9
FRAMES = 17
MOST_ROWS = 10
"""Largest number of latents in a figure of traversals."""
PRIOR_WEIGHTS = ("beta", "rate", "gamma", "prior_weight")
"""Hyperparameters that scores are drawn against. The first one that a method has is used."""
LOW, HIGH = 0.02, 0.98
"""Quantiles of the codes between which a latent is moved."""


def draw_figures(
    columns: Sequence[Column],
    lines: Sequence[Line],
    out: Path,
    *,
    score: str,
    formats: Sequence[str] = ("pdf", "png"),
    num_samples: int = NUM_SAMPLES,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Draws the figures of a comparison, and those of the first run of each line.

    Args:
      columns: Columns of the comparison, from `jaxvae.runs.compare.compare`.
      lines: Its lines.
      out: Folder for the files, with a folder per line if there are several.
      score: Name of the column that the reconstruction error is compared with.
      formats: Formats of the files: pdf, svg or png.
      num_samples: Number of examples whose codes are drawn.
      progress: Function that is called with a text for every figure that is left out.

    Returns:
      The files.
    """
    files: list[Path] = []
    out.mkdir(parents=True, exist_ok=True)
    lines = in_order(lines)
    terms = curves_of(lines)
    if terms:
        files += paper.save(paper.curves(terms), out / "training", formats)
    spots = spots_of(lines, score)
    title = shown_metric(next((column.title for column in columns if column.name == score), score))
    if len(spots) > 1:
        files += paper.save(paper.pareto(spots, title), out / "pareto", formats)
        files += paper.save(paper.violins(spots, title), out / "scores", formats)
    else:
        progress(
            f"left out: figures of {title} against the reconstruction error, which need two runs or more with both"
        )
    for number, line in enumerate(lines):
        place = out if len(lines) == 1 else out / f"{number + 1:02}"
        try:
            run = load_run(line.folders[0])
        except (OSError, ValueError) as error:
            progress(f"left out: the figures of {line.name}: {error}")
            continue
        place.mkdir(exist_ok=True)
        files += figures_of_run(run, place, formats, num_samples)
    return files


def figures_of_run(run: Run, out: Path, formats: Sequence[str], num_samples: int = NUM_SAMPLES) -> list[Path]:
    """Draws traversals (with an animation), the sizes of latents, maps of latents and factors, and the codes.

    What a run does not have is left out.
    """
    codes = represent(run, num_samples)
    if not codes.mean.shape[1]:
        return []
    scores = score_arrays(codes.mean, None, known_factors(run.source, codes.factors), ["mig"])["metrics"]
    latents = latents_by_size(run, codes, scores.get("mig", {}))
    files = _traversals(run, codes.mean, latents, out, formats)
    order = latents.order
    unit = "KL, nats" if latents.change is None else "mean change of an output value"
    names = [name_of(latents, d) for d in order]
    bars = paper.sizes_of_latents(latents.sizes[order], names, [bool(on) for on in latents.active[order]], unit)
    files += paper.save(bars, out / "latents", formats)
    short = [f"z{d}" for d in order]
    if latents.information is not None and latents.factor_entropy is not None:
        share = latents.information[order] / np.where(latents.factor_entropy > 0, latents.factor_entropy, np.nan)
        label = "mutual information / entropy of the factor"
        files += paper.save(
            paper.heat_map(share, short, run.source.factor_names, label), out / "mutual_information", formats
        )
    importance = _importance(run)
    if importance.shape == (len(order), len(run.source.factor_names)):
        dci = paper.hinton(importance[order], short, run.source.factor_names, "importance for each factor (DCI)")
        files += paper.save(dci, out / "dci", formats)
    if len(order) > 1:
        files += _embeddings(run, codes.mean, codes.factors, latents, out, formats)
    return files


def _importance(run: Run) -> np.ndarray:
    """Returns the importances of the metric DCI [D, K] from stored scores of this checkpoint; empty without them."""
    for file in (SCORES, COMPARED_SCORES):
        scores = read_scores(run.folder, file) if run.folder.exists() else None
        if scores is None or scores["step"] != int(run.state.step):
            continue
        if "importance" in scores["metrics"].get("dci", {}):
            return np.array(scores["metrics"]["dci"]["importance"], float)
    return np.zeros((0, 0))


def name_of(latents: Latents, d: int) -> str:
    """Returns the name of a latent with the factor that it carries."""
    factor = latents.factors[d]
    return printable(f"z{d} {factor}" if factor else f"z{d}")


def curves_of(lines: Sequence[Line]) -> dict[str, list[paper.Curve]]:
    """Returns the logged terms of the lines by name; runs of baselines have none."""
    terms: dict[str, list[paper.Curve]] = {}
    for line in lines:
        histories = [history for folder in line.folders if len(history := history_of(folder)) > 1]
        names = dict.fromkeys(name for history in histories for name in logged_terms(history))
        steps = np.array(sorted({int(row["step"]) for history in histories for row in history}))
        for name in names:
            values = np.full((len(histories), len(steps)), np.nan)
            for seed, history in enumerate(histories):
                places = np.searchsorted(steps, [int(row["step"]) for row in history])
                values[seed, places] = term_values(history, name)
            there = np.isfinite(values).any(axis=0)
            terms.setdefault(name, []).append(paper.Curve(line.name, steps[there], values[:, there]))
    return terms


def in_order(lines: Sequence[Line]) -> list[Line]:
    """Returns the lines by group, in the order in which the groups appear, and by strength: 1, 4, 16."""
    keys = [_group(line, lines) for line in lines]
    groups = list(dict.fromkeys(group for group, _ in keys))

    def place(number: int) -> tuple[int, float]:
        group, strength = keys[number]
        return groups.index(group), strength if np.isfinite(strength) else 0.0

    return [lines[number] for number in sorted(range(len(lines)), key=place)]


def spots_of(lines: Sequence[Line], score: str) -> list[paper.Spot]:
    """Returns the lines that have the score and a reconstruction error.

    Spots have the same `method` if they differ by their strength alone. Otherwise, that names their other settings too.
    """
    spots = []
    for line in lines:
        error, value = line.values["reconstruction_error"], line.values[score]
        if np.isfinite(error).any() and np.isfinite(value).any():
            group, strength = _group(line, lines)
            name = group if not np.isfinite(strength) else f"{group} {strength:g}"
            spots.append(paper.Spot(name, group, strength, error, value))
    return spots


def _group(line: Line, lines: Sequence[Line]) -> tuple[str, float]:
    """Returns the name of a line without its strength, with the data if there are several, and its strength or NaN."""
    method, weight, strength = _strength(line)
    settings = line.name.split(SEPARATOR)[1:]
    others = [part for part in settings if not weight or part.split(" ")[0] != weight]
    several = len({each.data for each in lines}) > 1
    return SEPARATOR.join([method, *others, *([line.data] if several else [])]), strength


def _strength(line: Line) -> tuple[str, str, float]:
    """Returns the method of a line, and the name and value of the weight of its prior, or "" and NaN without one."""
    try:
        config = config_of(line.folders[0])
    except (OSError, ValueError):  # a run in Python
        return line.name.split(SEPARATOR)[0], "", np.nan
    if isinstance(config, BaselineConfig):
        return config.baseline, "", np.nan
    assert isinstance(config, Config)
    hyperparameters = config.hyperparameters._asdict()
    weight = next((name for name in PRIOR_WEIGHTS if name in hyperparameters), "")
    return config.method, weight, float(hyperparameters[weight]) if weight else np.nan


def _traversals(run: Run, means: np.ndarray, latents: Latents, out: Path, formats: Sequence[str]) -> list[Path]:
    decode = run.decoder
    if decode is None or len(run.source.event_shape) != 3:
        return []
    order = [int(d) for d in latents.order if latents.active[d]][:MOST_ROWS] or [int(latents.order[0])]

    def swept(count: int) -> tuple[np.ndarray, np.ndarray]:
        values = np.quantile(means, np.linspace(LOW, HIGH, count), axis=0, method="nearest")
        codes = np.repeat(means[:1][None], len(order), axis=0).repeat(count, axis=1)
        for row, d in enumerate(order):
            codes[row, :, d] = values[:, d]
        images = decode(codes.reshape(-1, codes.shape[-1]))
        shown = in_colours(np.clip(np.asarray(images, np.float32), 0, 1))
        return shown.reshape(len(order), count, *shown.shape[1:]), np.linspace(LOW, HIGH, count)

    images, levels = swept(SHOWN_VALUES)
    names = [name_of(latents, d) for d in order]
    headers = [f"{100 * level:.0f}%" for level in levels]
    files = paper.save(paper.traversals(images, names, headers), out / "traversals", formats)
    moving, levels = swept(FRAMES)
    frames = traversal_frames(moving, levels, [Label(name) for name in names])
    write_bytes(out / "traversals.gif", gif(back_and_forth(frames), FRAME_MILLISECONDS))
    return [*files, out / "traversals.gif"]


def _embeddings(
    run: Run, means: np.ndarray, factors: np.ndarray | None, latents: Latents, out: Path, formats: Sequence[str]
) -> list[Path]:
    """Draws the two latents that carry most, coloured by each of the first factors."""
    first, second = (int(d) for d in latents.order[:2])
    points, names = means[:, [first, second]], (name_of(latents, first), name_of(latents, second))
    if factors is None:
        return paper.save(paper.embedding(points, names, "", None, ()), out / "codes", formats)
    told = origin_of(run.source).label_values
    files = []
    for k, factor in enumerate(run.source.factor_names[:6]):
        values = told[k] if k < len(told) else [str(value) for value in range(run.source.factor_sizes[k])]
        drawn = paper.embedding(points, names, factor, factors[:, k], values)
        safe = "".join(letter if letter.isalnum() else "_" for letter in factor)[:40]
        files += paper.save(drawn, out / f"codes_{k}_{safe}", formats)
    return files
