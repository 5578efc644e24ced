"""A finished or interrupted run, loaded from its folder, and its scores."""

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxvae.analysis import Representation, encode_samples
from jaxvae.config import Config, build
from jaxvae.data.source import Source
from jaxvae.method import Method
from jaxvae.metrics import METRICS
from jaxvae.training import TrainState, compile_method
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.run_folder import RunFolderError, read_config, read_history, write_json

EVALUATION_STREAM = 0x6576616C
"""Keeps the evaluation's keys apart from the training's, which `split` and small numbers lead to."""


class Run(NamedTuple):
    """What there is to know about a run."""

    folder: Path
    config: Config[Any, Any]
    source: Source
    method: Method
    state: TrainState
    history: list[dict[str, Any]]
    """Rows of metrics.jsonl."""

    @property
    def evaluation_key(self) -> jax.Array:
        """Key of the evaluation's randomness: every run draws its own examples."""
        return jax.random.fold_in(jax.random.key(self.config.seed), EVALUATION_STREAM)


def load_run(folder: Path, checkpoint: str = "latest") -> Run:
    """Loads a run.

    Args:
      folder: of the run.
      checkpoint: "latest", "best" (lowest training loss) or a step.

    Raises:
      RunFolderError: no run there, no checkpoint in it yet, or none of that step.
    """
    config: Config[Any, Any] = Config.from_json(read_config(folder))
    source, method = build(config)
    init, _ = compile_method(method, dataset_size=source.size)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        steps = checkpoints.steps()
        if not steps:
            raise RunFolderError(
                f"the run in {folder} has no checkpoint yet: go on with `jaxvae train --run {folder} --resume`"
            )
        step: int | None
        match checkpoint:
            case "latest":
                step = steps[-1]
            case "best":
                step = checkpoints.best_step()
            case _:
                step = int(checkpoint) if checkpoint.isdecimal() else None
        if step not in steps:
            raise RunFolderError(
                f"no checkpoint {checkpoint!r} in {folder}: there are latest, best, {', '.join(map(str, steps))}"
            )
        state = checkpoints.restore(step, jax.eval_shape(init, jax.random.key(config.seed)))
    history = [row for row in read_history(folder) if row["step"] <= step]
    return Run(folder, config, source, method, state, history)


def represent(run: Run, num_samples: int) -> Representation:
    """The codes of `num_samples` random examples of the run's data. ValueError for less than 1."""
    if num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {num_samples}")
    return encode_samples(run.method, run.state.params, run.source, run.evaluation_key, num_samples)


def evaluate(run: Run, codes: Representation) -> dict[str, Any]:
    """All metrics on the posterior means, none where the factors are not known; also written to scores.json."""
    scores: dict[str, Any] = {
        "step": int(run.state.step),
        "representation": "posterior mean",
        "num_samples": len(codes.mean),
        "metrics": {},
    }
    for name, metric in METRICS.items() if codes.factors is not None else ():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = metric(codes.mean, codes.factors)
        scores["metrics"][name] = {**result.to_json(), "warnings": [str(w.message) for w in caught]}
    write_json(run.folder / "scores.json", scores)
    return scores


def read_scores(folder: Path) -> dict[str, Any] | None:
    """What `evaluate` wrote last, or None."""
    path = folder / "scores.json"
    return json.loads(path.read_text()) if path.exists() else None
