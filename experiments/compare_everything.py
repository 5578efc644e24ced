"""Trains every method and baseline on the same data with the same budget, and compares scores and codes.

    python experiments/compare_everything.py      2 cores: about an hour; with --runs FOLDER it resumes

The data are upright sprites, of which all images are known; `--worlds` adds the landscape of first runs. Deep methods
get the same number of steps, the same networks as far as they take them, and their own default settings; baselines get
all images. All codes have the same size. Each model is a run of `jaxvae train` or `jaxvae fit`, and the table is that
of `jaxvae compare`. VA-GAN, ICAM and equivariant rendering are left out: they learn from cases and controls, or from
clips, and have no code of an image.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, interval, known_sprites, shown

from jaxvae.cli.main import main as jaxvae
from jaxvae.methods import METHODS
from jaxvae.report.comparison_page import comparison_html
from jaxvae.runs.baseline import BASELINES, BaselineConfig, fit_baseline
from jaxvae.runs.compare import COMPARED, Column, Line, compare, find_runs
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import Run
from jaxvae.runs.score import evaluate, represent
from jaxvae.training.run_folder import write_history

CLAIM = (
    "PCA's directions are orthogonal, ICA's codes less Gaussian than PCA's, NMF's components smaller parts, and with "
    "MCVQ and OI-VAE a pixel belongs more to one latent than with the VAE; of codes that see images alone, deep ones "
    "disentangle more than the others, and those that are told more than images disentangle most."
)
NO_CODE = ("va-gan", "icam", "equivariant-rendering")
TOLD = {
    "ada-gvae": "pairs",
    "group-vae": "groups",
    "constrained-autoencoder": "a relation",
    "semi-supervised-vae": "100 labels",
    "ivae": "a factor",
    "mcr2": "a factor",
    "multilinear": "all factors",
    "canonical-polyadic": "all factors",
}
"""What else than images a method learns from."""
OTHER_NETWORKS = {"alae": "mlp", "mcr2": "mlp", "tripod": "gelu"}
"""Networks of methods that have their own, or whose loss needs smooth ones."""
LATENTS = 6


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 3000
    batch_size: int = 128
    samples: int = 5000
    full: bool = False
    worlds: tuple[str, ...] = ("upright sprites",)
    """also: scene"""
    runs: str = ""
    """folder for the runs, which are gone on with if it is there; one that is thrown away if not given"""
    results: Path = RESULTS
    """folder for the table and the figure"""


def train_all(data: str, image_size: int, folder: Path, args: Args) -> None:
    """Runs of all seeds of everything, a folder for each method; those that are there are left as they are."""
    world = ["--data", data, "--image-size", str(image_size)]
    budget = ["--steps", str(args.steps), "--batch-size", str(args.batch_size), "--latents", str(LATENTS)]
    for name in METHODS:
        if name not in NO_CODE:
            runs = [
                "--network",
                OTHER_NETWORKS.get(name, "mlp-small"),
                "--seeds",
                f"0:{args.seeds}",
                "--run",
                str(folder / name),
                "--resume",
            ]
            jaxvae(["train", name, *world, *budget, *runs])
    for name in BASELINES:
        for seed in range(args.seeds):
            run = folder / name / f"seed-{seed}"
            if not (run / "scores.json").exists():
                config = BaselineConfig(name, data=data, image_size=image_size, latents=LATENTS, seed=seed)
                fit = fit_baseline(config)
                history = [{"step": 0, "seconds": fit.seconds}]
                open_run(run, config, resume=True)
                write_history(run, history)
                fitted = Run(run, config, fit.source, fit.method, fit.state, history)
                evaluate(fitted, represent(fitted, args.samples), COMPARED)


def draw(columns: list[Column], tables: dict[str, list[Line]]) -> plt.Figure:
    """MIG against the error of the reconstruction, a panel for each data set."""
    figure, axes = plt.subplots(1, len(tables), figsize=(7 * len(tables), 6), squeeze=False)
    for axis, (world, lines) in zip(axes[0], tables.items(), strict=True):
        for line in lines:
            x, y = (interval(line.values[name]) for name in ("reconstruction_error", "mig"))
            if np.isfinite(x[0]):
                colour = "tab:orange" if line.name in BASELINES else "tab:green" if line.name in TOLD else "tab:blue"
                axis.errorbar(x[0], y[0], xerr=x[1], yerr=y[1], fmt="o", color=colour, alpha=0.6, ms=4, lw=0.8)
                axis.annotate(line.name, (x[0], y[0]), fontsize=7, xytext=(3, 3), textcoords="offset points")
        axis.set(title=world, xlabel="mean squared error of a pixel", ylabel="MIG", xscale="log")
    axes[0][0].legend(
        handles=[
            plt.Line2D([], [], marker="o", ls="", color=colour, label=label)
            for colour, label in (("tab:blue", "images alone"), ("tab:green", "told more"), ("tab:orange", "baseline"))
        ],
        fontsize=8,
    )
    return figure


def tell(lines: dict[str, Line], world: str) -> str:
    """What the claim is about, from the numbers: means and intervals over the seeds, as they are paired."""

    def minus(name: str, other: str, column: str) -> str:
        return f"{name} - {other} {shown(lines[name].values[column] - lines[other].values[column], 3)}"

    unsupervised = [line for name, line in lines.items() if name in METHODS and name not in TOLD]
    told = [line for name, line in lines.items() if name in METHODS and name in TOLD]
    linear = [lines[name] for name in BASELINES if name not in TOLD]
    best = [max(group, key=lambda line: np.nanmean(line.values["mig"])) for group in (linear, unsupervised, told)]
    others = [np.nanmean(line.values["overlap"]) for name, line in lines.items() if known(line) and name != "pca"]
    return (
        f"{world}: overlap of PCA {shown(lines['pca'].values['overlap'], 4)}, of the next lowest {min(others):.3f}; "
        f"negentropy {minus('fast-ica', 'pca', 'negentropy')}, {minus('infomax', 'pca', 'negentropy')}; "
        f"parts {minus('nmf', 'pca', 'parts')}; "
        f"exclusive {minus('multiple-cause-vq', 'vae', 'exclusive')}, {minus('oi-vae', 'vae', 'exclusive')}; "
        "best MIG of a baseline without factors / of a method that sees images alone / that is told more: "
        + " / ".join(f"{line.name} {shown(line.values['mig'])}" for line in best)
    )


def known(line: Line) -> bool:
    """Whether more than one of its latents changes the image."""
    return bool(np.isfinite(line.values["overlap"]).all())


def main(args: Args) -> None:
    """Trains, compares and tells what was found."""
    with TemporaryDirectory() as thrown_away:
        folder = Path(args.runs or thrown_away)
        folder.mkdir(parents=True, exist_ok=True)
        columns, tables = compare_worlds(folder, args)
    rows = [
        {"data": world, "method": line.name, "told": TOLD.get(line.name, "")}
        | {column.title: shown(v, 3) if np.isfinite(v := line.values[column.name]).all() else "" for column in columns}
        for world, lines in tables.items()
        for line in lines
    ]
    found = ". ".join(tell({line.name: line for line in lines}, world) for world, lines in tables.items())
    everything = [line for lines in tables.values() for line in lines]
    page = comparison_html(columns, everything, title="Every method and baseline of jaxvae")
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "compare_everything.html").write_text(page, encoding="utf-8")
    conclude("compare_everything", CLAIM, rows, found, draw(columns, tables), args)


def compare_worlds(folder: Path, args: Args) -> tuple[list[Column], dict[str, list[Line]]]:
    """The table of each data set."""
    source = known_sprites()
    images, factors = np.asarray(all_images(source)), np.asarray(source.at(np.arange(source.size))["factors"])
    sprites = folder / "upright-sprites.npz"
    np.savez(sprites, images=np.rint(255 * images).astype(np.uint8), factors=factors, factor_names=source.factor_names)
    tables: dict[str, list[Line]] = {}
    data = {"upright sprites": f"arrays:{sprites}", "scene": "scene"}
    for world in args.worlds:
        runs = folder / world.replace(" ", "-")
        train_all(data[world], 16, runs, args)
        found = find_runs([runs / name for name in (*METHODS, *BASELINES) if name not in NO_CODE])
        columns, tables[world] = compare(found, num_samples=args.samples, progress=print)
    return columns, tables


if __name__ == "__main__":
    main(tyro.cli(Args))
