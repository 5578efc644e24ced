"""A shard of a study: its models are trained together and scored, and each becomes a row of a table."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxvae
from jaxvae.analysis import Representation, exact_kl_terms
from jaxvae.files import inside, read_json, write_json
from jaxvae.metrics import downstream
from jaxvae.metrics.downstream import Kind
from jaxvae.runs.build import build
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import load_run
from jaxvae.runs.score import evaluate, represent
from jaxvae.study.grid import GRIDS, Grid, Model, config_of, model_of
from jaxvae.study.table import same_but_for_order, write_table
from jaxvae.training import train_members
from jaxvae.training.members import DIVERGED
from jaxvae.training.processes import code_digest
from jaxvae.training.run_folder import read_history, read_settings

SCORED = ("mig", "sap", "dci", "modularity", "beta_vae_score", "factor_vae_score")
UNSUPERVISED = ("gaussian_total_correlation", "gaussian_wasserstein_correlation", "mutual_information_score")
LEARNERS: Mapping[str, Kind] = {"logistic": "logistic", "trees": "lightgbm"}
"""Kinds of downstream classifiers, by their names in columns."""
LABELS = (10, 100, 1000, 10_000)
"""Numbers of labels for the downstream classifiers. Numbers for which there are too few examples are left out."""
EXACT = 2000
"""Number of examples in the aggregate posterior by which the KL is decomposed."""
ROW, ABOUT = "row.json", "study.json"


def fingerprint(preset: str, num_samples: int) -> dict[str, str]:
    """Returns the settings and versions that all shards of a study share."""
    versions = {"code": code_digest(), "jaxvae": jaxvae.__version__, "jax": jax.__version__}
    grid = json.dumps(GRIDS[preset], default=str)
    return {"preset": preset, "grid": grid, "num_samples": str(num_samples), **versions}


def run_models(
    preset: str, numbers: Sequence[int], folder: Path, *, num_samples: int, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Trains and scores models of a study, each as a run in `folder`/models, or resumes where it was stopped.

    The models of one data set and method are trained as a population. Models that have a row already are skipped.

    Args:
      preset: Name of the grid, a key of `GRIDS`.
      numbers: Numbers of the models.
      folder: Folder of the study.
      num_samples: Number of examples that each model is scored on.
      progress: Called with a text for every population.

    Returns:
      A row for each model, see `row_of`.
    """
    grid = GRIDS[preset]
    rows = []
    for (data, method), group in groupby(
        (model_of(grid, n) for n in numbers), lambda model: (model.data, model.method)
    ):
        models = list(group)
        missing = [model for model in models if not (_folder(folder, model) / ROW).exists()]
        if missing:
            progress(f"{method} on {data}: {len(missing)} of {len(models)} models")
            _train(grid, missing, folder)
        for model in missing:
            write_json(_folder(folder, model) / ROW, row_of(model, _folder(folder, model), num_samples))
        rows += [read_json(_folder(folder, model) / ROW) for model in models]
    return rows


def row_of(model: Model, folder: Path, num_samples: int) -> dict[str, Any]:
    """Scores a trained model, and returns its row of numbers and words. Undefined numbers are None.

    A row contains the fields of `Model`; "failure", which is "" for a model that has not failed; "seconds" of training;
    and the last loss terms as "train/NAME". For models that have not failed, it also contains scores as "mean/NAME" and
    "sampled/NAME", the values of `jaxvae.runs.properties` as "property/NAME", the terms of the KL as "exact/NAME", and
    the accuracies of downstream classifiers on mean codes as "downstream/LEARNER/LABELS". For LABELS, "efficiency"
    stands for the accuracy with 100 labels divided by the accuracy with the largest number of labels.

    Args:
      model: Model to score.
      folder: Folder of its run.
      num_samples: Number of examples that it is scored on.
    """
    history = read_history(folder)
    row: dict[str, Any] = {**model._asdict(), "failure": "", "seconds": sum(entry["seconds"] for entry in history)}
    ignored = ("step", "seconds", "steps_per_second")
    last = history[-1] if history else {}
    row |= {f"train/{name}": value for name, value in last.items() if name not in ignored}
    row["steps"] = last.get("step", 0)
    if (folder / DIVERGED).exists():
        step = read_json(folder / DIVERGED)["step"]
        return {**row, "failure": f"diverged before update {step}"}
    run = load_run(folder)
    codes = represent(run, num_samples)
    scores = evaluate(run, codes, (*SCORED, *UNSUPERVISED))
    for kind, results in (("mean", scores["metrics"]), ("sampled", scores["sampled"])):
        row |= {f"{kind}/{name}": result["score"] for name, result in results.items()}
    row |= {f"property/{name}": value for name, value in scores["properties"].items()}
    return row | _exact(codes, model.seed) | _downstream(codes, model.seed)


def _train(grid: Grid, models: Sequence[Model], folder: Path) -> None:
    configs = [config_of(grid, model.number) for model in models]
    source, method = build(configs[0])
    folders = [_folder(folder, model) for model in models]
    for config, place in zip(configs, folders, strict=True):
        open_run(inside(inside(folder, "models"), place.name), config, resume=True)
    swept, training = configs[0].hyperparameters._fields, configs[0].training
    train_members(
        method,
        source,
        folders,
        seeds=[config.seed for config in configs],
        sweep={name: [getattr(config.hyperparameters, name) for config in configs] for name in swept},
        steps=training.steps,
        batch_size=training.batch_size,
        log_every=training.log_every,
        checkpoint_every=training.checkpoint_every,
    )


def _exact(codes: Representation, seed: int) -> dict[str, Any]:
    mean, logvar = (jnp.asarray(part[:EXACT]) for part in (codes.mean, codes.logvar))
    terms = exact_kl_terms(jax.random.key(seed), mean, logvar)._asdict()
    return {f"exact/{name}": float(value) if math.isfinite(value) else math.nan for name, value in terms.items()}


def _downstream(codes: Representation, seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    if codes.factors is None:
        return found
    for column, learner in LEARNERS.items():
        result = downstream(codes.mean, codes.factors, sizes=LABELS, learner=learner, seed=seed)
        found |= {f"downstream/{column}/{labels}": value for labels, value in result.accuracy.items()}
        if math.isfinite(result.sample_efficiency):
            found[f"downstream/{column}/efficiency"] = result.sample_efficiency
    return found


def _folder(folder: Path, model: Model) -> Path:
    return folder / "models" / f"{model.number:05d}"


def write_shard(
    preset: str, numbers: range, folder: Path, *, num_samples: int = 3000, progress: Callable[[str], None] = print
) -> Path:
    """Trains and scores models, and writes their table `folder`/shard-FIRST-LAST.parquet.

    Args:
      preset: Name of the grid, a key of `GRIDS`.
      numbers: Numbers of the models.
      folder: Folder of the study.
      num_samples: Number of examples that each model is scored on.
      progress: Called with a text for every population.

    Returns:
      The path of the table.

    Raises:
      ValueError: The models in the folder belong to another study or were trained with other code.
    """
    about, noted = fingerprint(preset, num_samples), folder / ABOUT
    before = read_settings(folder, ABOUT) if noted.exists() else about
    if changed := [name for name in about if before.get(name) != about[name]]:
        order = "grid" in changed and same_but_for_order(before.get("grid"), about["grid"])
        raise ValueError(
            f"{folder} holds models of another study ({', '.join(changed)} changed): choose another --folder"
            + (", as its models are numbered in the former order; `jaxvae study merge` still reads them" * order)
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(noted, about)
    rows = run_models(preset, numbers, folder, num_samples=num_samples, progress=progress)
    path = folder / f"shard-{numbers[0]:05d}-{numbers[-1]:05d}.parquet"
    write_table(path, rows, about)
    return path
