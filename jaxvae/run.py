"""A finished or interrupted run, loaded from its folder, and its scores."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae.analysis import Representation, encode_samples
from jaxvae.config import Config, build
from jaxvae.data import Groups
from jaxvae.data.source import Source
from jaxvae.method import Method, no_code
from jaxvae.metrics import EXPENSIVE, METRICS, UNSUPERVISED
from jaxvae.training import TrainState, compile_method
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.run_folder import RunFolderError, read_config, read_history, write_json

RESAMPLED = ("mig", "sap", "modularity", "irs", "mcc", *UNSUPERVISED)
"""Metrics that are quick enough to be computed again on resampled examples, for their intervals."""
QUICK = (*RESAMPLED[:5], "beta_vae_score", "factor_vae_score", *UNSUPERVISED)
"""Metrics of a second or two, all together."""
THOROUGH = tuple(name for name in (*METRICS, *UNSUPERVISED) if name not in EXPENSIVE)
"""All metrics but those that take longest."""
RESAMPLES = 20
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
    if run.method.encode is no_code:
        return Representation(np.zeros((num_samples, 0)), np.zeros((num_samples, 0)), None)
    # Members of a group are no independent examples.
    source = run.source.source if isinstance(run.source, Groups) else run.source
    return encode_samples(run.method, run.state.params, source, run.evaluation_key, num_samples)


def evaluate(run: Run, codes: Representation, metrics: Sequence[str] = QUICK) -> dict[str, Any]:
    """Scores of the posterior means, and of one sample of each posterior; also written to scores.json.

    Args:
      run: that the codes are of.
      codes: of random examples of its data.
      metrics: names in `METRICS` and `UNSUPERVISED`. Those that need factors are left out where none are known, and all
        are where no code is learned; one that can't be computed has the reason as its "error", and no score.

    Returns:
      {"step", "representation", "num_samples", "metrics": {name: result}, "sampled": {name: result}}. Results of means
      have a 95 % "interval" from resampled examples where the metric is quick.

    Raises:
      ValueError: no such metric.
    """
    for name in metrics:
        if name not in METRICS and name not in UNSUPERVISED:
            raise ValueError(f"unknown metric {name!r}. There are: {', '.join([*METRICS, *UNSUPERVISED])}")
    known = [name for name in metrics if name in UNSUPERVISED or codes.factors is not None]
    known = known if codes.mean.shape[1] else []
    sampled = codes.sample(run.config.seed)
    scores: dict[str, Any] = {
        "step": int(run.state.step),
        "representation": "posterior mean",
        "num_samples": len(codes.mean),
        "metrics": {name: _score_and_interval(name, codes.mean, codes.factors) for name in known},
        "sampled": {name: _score(name, sampled, codes.factors) for name in known},
    }
    write_json(run.folder / "scores.json", scores)
    return scores


def _score(name: str, codes: np.ndarray, factors: np.ndarray | None) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = UNSUPERVISED[name](codes) if name in UNSUPERVISED else METRICS[name](codes, factors)
        except ValueError as error:
            return {"score": None, "definition": "not computed", "error": str(error), "warnings": [str(error)]}
    return {**result.to_json(), "warnings": sorted({str(w.message) for w in caught})}


def _score_and_interval(name: str, codes: np.ndarray, factors: np.ndarray | None) -> dict[str, Any]:
    """With the score's 95 % "interval" [low, high] by resampling examples, for quick metrics."""
    result = _score(name, codes, factors)
    if name not in RESAMPLED:
        return result
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(codes), size=len(codes)) for _ in range(RESAMPLES)]
    parts = [_score(name, codes[row], None if factors is None else factors[row])["score"] for row in rows]
    middle = result["score"]
    if middle is None or any(part is None for part in parts):
        return {**result, "interval": None}
    # The score itself is the middle: repeated examples push resampled information upwards.
    half = 1.96 * float(np.std(parts, ddof=1))
    return {**result, "interval": [middle - half, middle + half]}


def read_scores(folder: Path) -> dict[str, Any] | None:
    """What `evaluate` wrote last, or None."""
    path = folder / "scores.json"
    return json.loads(path.read_text()) if path.exists() else None
