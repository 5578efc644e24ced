"""A finished or interrupted run, loaded from its folder, and its scores."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from typeguard import TypeCheckError, check_type

from jaxvae.analysis import Representation, encode_samples, latent_effects
from jaxvae.config import Config, build
from jaxvae.data import Groups
from jaxvae.data.source import Source
from jaxvae.fields import typed
from jaxvae.fitted import BaselineConfig, fit_baseline
from jaxvae.losses import negentropy
from jaxvae.method import Method, Nets, Posterior, no_code, no_image
from jaxvae.metrics import EXPENSIVE, METRICS, UNSUPERVISED
from jaxvae.training import TrainState, compile_method
from jaxvae.training.checkpoints import best_step, newest_step, restore, saved_steps
from jaxvae.training.optimizers import evaluation_params
from jaxvae.training.run_folder import (
    TRAINED,
    RunFolderError,
    check_data,
    check_trained,
    read_config,
    read_history,
    read_trained,
    write_json,
)
from jaxvae.training.steps import described, described_data

RESAMPLED = ("mig", "sap", "modularity", "irs", "mcc", *UNSUPERVISED)
"""Metrics that are quick enough to be computed again on resampled examples, for their intervals."""
QUICK = (*RESAMPLED[:5], "beta_vae_score", "factor_vae_score", *UNSUPERVISED)
"""Metrics of a second or two, all together."""
THOROUGH = tuple(name for name in (*METRICS, *UNSUPERVISED) if name not in EXPENSIVE)
"""All metrics but those that take longest."""
SCORES = "scores.json"
RESAMPLES = 20
ENCODED = 512
"""Images that are encoded at a time."""
REBUILT = 512
"""Examples that the reconstruction error is the mean of."""
EVALUATION_STREAM = 0x6576616C
"""Keeps the evaluation's keys apart from the training's, which `split` and small numbers lead to."""


class Scores(TypedDict):
    """What scores.json holds, see `score`."""

    step: int
    representation: str
    num_samples: int
    asked: list[str]
    properties: dict[str, float | None]
    metrics: dict[str, dict[str, Any]]
    sampled: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class OwnConfig:
    """What `train` was given in Python; the method itself is known there alone."""

    method: str
    hp: Mapping[str, Any]
    data: Mapping[str, Any]
    batch_size: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """What trained.json holds."""
        return asdict(self)


class Run(NamedTuple):
    """What there is to know about a run."""

    folder: Path
    config: Config[Any, Any] | BaselineConfig | OwnConfig
    source: Source
    method: Method
    state: TrainState
    """Its parameters are those to evaluate: running averages, where the optimizer keeps them."""
    history: list[dict[str, Any]]
    """Rows of metrics.jsonl."""

    @property
    def evaluation_key(self) -> jax.Array:
        """Key of the evaluation's randomness: every run draws its own examples."""
        return jax.random.fold_in(jax.random.key(self.config.seed), EVALUATION_STREAM)

    def encode(self, images: np.ndarray) -> Posterior:
        """The posteriors of images, in their order.

        Args:
          images: [N, H, W, C] in [0, 1], one at least, of the shape that the run was trained on.

        Returns:
          mean and log-variance, [N, D] each.

        Raises:
          ValueError: images of another shape or range; the encoder sees more than the image.
        """
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or not len(images) or images.shape[1:] != self.source.image_shape:
            wanted = ", ".join(map(str, self.source.image_shape))
            raise ValueError(f"images must have the shape [N, {wanted}], got {list(images.shape)}")
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images must be in [0, 1], got {images.min():g} to {images.max():g}: divide bytes by 255")

        def encode(params: dict[str, Any], part: jax.Array) -> Posterior:
            return self.method.encode(Nets(self.method.networks, params), {"image": part})

        compiled = jax.jit(encode) if self.method.networks else encode
        try:
            starts = range(0, len(images), ENCODED)
            parts = [compiled(self.state.params, jnp.asarray(images[at : at + ENCODED])) for at in starts]
        except KeyError as error:
            raise ValueError(f"the encoder of {self.method.name} sees {error} besides the image") from error
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)

    @property
    def decoder(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Codes [B, D] -> expected images [B, H, W, C]; None where codes alone make no images."""
        method, params = self.method, self.state.params
        if method.decode is no_image:
            return None

        def decode(params: dict[str, Any], codes: jax.Array) -> jax.Array:
            return method.decode(Nets(method.networks, params), codes)

        compiled = jax.jit(decode) if method.networks else decode
        return lambda codes: np.asarray(compiled(params, jnp.asarray(codes, jnp.float32)))


def load_run(folder: Path | str, checkpoint: str | int = "latest") -> Run:
    """Loads a run. A baseline is fitted again: its run holds no more than what was asked for.

    Args:
      folder: of the run.
      checkpoint: "latest", "best" (lowest training loss) or a step.

    Raises:
      RunFolderError: no run there, no checkpoint in it yet, none of that step, or one that is damaged; with "latest"
        and "best" those that are damaged are passed over, with a DamagedCheckpoint warning.
    """
    folder = Path(folder)
    config = config_of(folder)
    if isinstance(config, BaselineConfig):
        if checkpoint != "latest":
            raise RunFolderError(f"the run in {folder} is of a baseline, which has no checkpoints: leave them out")
        fit = fit_baseline(config)
        return Run(folder, config, fit.source, fit.method, fit.state, read_history(folder))
    source, method = build(config)
    check_data(folder, described_data(source))
    return _restored(folder, config, source, method, checkpoint)


def load_own_run(folder: Path | str, method: Method, source: Source, checkpoint: str | int = "latest") -> Run:
    """Loads what `jaxvae.training.train(method, source, folder=folder, ...)` left there, to score and report it.

    Args:
      folder: of the run.
      method: that was trained, made again: a folder holds no code.
      source: that it was trained on.
      checkpoint: as in `load_run`.

    Raises:
      RunFolderError: as `load_run`; or what was trained there has another name or other hyperparameters.
    """
    folder = Path(folder)
    given = read_trained(folder)
    try:
        config = typed(OwnConfig, given)
        check_trained(folder, described(method, source, config.batch_size, config.seed))
    except (TypeError, TypeCheckError) as error:
        raise RunFolderError(f"can't read {folder / TRAINED}: {error}") from error
    return _restored(folder, config, source, method, checkpoint)


def _restored(
    folder: Path, config: Config[Any, Any] | OwnConfig, source: Source, method: Method, checkpoint: str | int
) -> Run:
    init, _ = compile_method(method, dataset_size=source.size)
    saved = folder / "checkpoints"
    step: int | None
    match checkpoint:
        case "latest":
            step = newest_step(saved)
        case "best":
            step = best_step(saved)
        case _:
            step = int(checkpoint) if str(checkpoint).isdecimal() else None
    steps = saved_steps(saved)
    if not steps or (step is None and checkpoint == "latest"):
        command = "`train`" if isinstance(config, OwnConfig) else f"`jaxvae train --run {folder} --resume`"
        raise RunFolderError(f"the run in {folder} has no checkpoint yet: go on with {command}")
    if step not in steps:
        raise RunFolderError(
            f"no checkpoint {checkpoint!r} in {folder}: there are latest, best, {', '.join(map(str, steps))}"
        )
    state = restore(saved, step, jax.eval_shape(init, jax.random.key(config.seed)))
    state = state._replace(params=evaluation_params(state))
    history = [row for row in read_history(folder) if row["step"] <= step]
    return Run(folder, config, source, method, state, history)


def config_of(folder: Path) -> Config[Any, Any] | BaselineConfig:
    """What the run in a folder was asked to do. RunFolderError where there is none, or one that can't be."""
    asked = read_config(folder)
    try:
        return BaselineConfig.from_json(asked) if "baseline" in asked else Config.from_json(asked)
    except ValueError as error:
        raise RunFolderError(f"{folder / 'config.json'}: {error}") from error


def represent(run: Run, num_samples: int) -> Representation:
    """The codes of `num_samples` random examples of the run's data. ValueError for less than 1."""
    if num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {num_samples}")
    if run.method.encode is no_code:
        return Representation(np.zeros((num_samples, 0)), np.zeros((num_samples, 0)), None)
    return encode_samples(run.method, run.state.params, independent(run.source), run.evaluation_key, num_samples)


def independent(source: Source) -> Source:
    """The source, or that of its groups: members of a group are no independent examples."""
    return source.source if isinstance(source, Groups) else source


def evaluate(run: Run, codes: Representation, metrics: Sequence[str] = QUICK) -> dict[str, Any]:
    """What `score` returns, also written to scores.json."""
    scores = score(run, codes, metrics)
    write_json(run.folder / SCORES, scores)
    return scores


def score(run: Run, codes: Representation, metrics: Sequence[str] = QUICK) -> dict[str, Any]:
    """Scores of the posterior means, and of one sample of each posterior.

    Args:
      run: that the codes are of.
      codes: of random examples of its data, from `represent`.
      metrics: names in `METRICS` and `UNSUPERVISED`. Those that need factors are left out where none are known, and all
        are where no code is learned; one that can't be computed has the reason as its "error", and no score.

    Returns:
      {"step", "representation", "num_samples", "asked" (the metrics), "properties", "metrics": {name: result},
      "sampled": {name: result}}. Results of means have a 95 % "interval" from resampled examples where the metric is
      quick. "properties" are those of `properties`.

    Raises:
      ValueError: no such metric.
    """
    for name in metrics:
        if name not in METRICS and name not in UNSUPERVISED:
            raise ValueError(f"unknown metric {name!r}. There are: {', '.join([*METRICS, *UNSUPERVISED])}")
    known = [name for name in metrics if name in UNSUPERVISED or codes.factors is not None]
    known = known if codes.mean.shape[1] else []
    sampled = codes.sample(run.config.seed)
    return {
        "step": int(run.state.step),
        "representation": "posterior mean",
        "num_samples": len(codes.mean),
        "asked": list(metrics),
        "properties": properties(run, codes),
        "metrics": {name: _score_and_interval(name, codes.mean, codes.factors) for name in known},
        "sampled": {name: _score(name, sampled, codes.factors) for name in known},
    }


def properties(run: Run, codes: Representation) -> dict[str, float | None]:
    """What a code is like, and how well it stands for the image: None for what it does not have.

    Args:
      run: that the codes are of.
      codes: from `represent`.

    Returns:
      "reconstruction_error": mean squared error of a value of the image; "overlap", "parts" and "exclusive" of
      `jaxvae.analysis.latent_effects`; "negentropy": of the latents that vary, their mean (`jaxvae.losses.negentropy`,
      log cosh).
    """
    found: dict[str, float | None] = dict.fromkeys(("reconstruction_error", "overlap", "parts", "exclusive"))
    found["negentropy"] = None
    varies = codes.mean.std(axis=0) > 0
    if varies.any():
        normality = negentropy(jnp.asarray(codes.mean[:, varies], jnp.float32))
        found["negentropy"] = float(normality.mean())
    if run.decoder is None or not codes.mean.shape[1] or len(codes.mean) < 2:
        return found
    rebuilt = run.decoder(codes.mean[:REBUILT])
    images = independent(run.source).sample(run.evaluation_key, len(rebuilt))["image"]
    found["reconstruction_error"] = float(((rebuilt - np.asarray(images, np.float64)) ** 2).mean())
    effects = latent_effects(run.decoder, codes.mean)
    for name in ("overlap", "parts", "exclusive"):
        value = getattr(effects, name)
        found[name] = value if np.isfinite(value) else None
    return found


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


def read_scores(folder: Path, name: str = SCORES) -> dict[str, Any] | None:
    """What `evaluate` wrote last, or None. RunFolderError for a file that can't be read."""
    path = folder / name
    if not path.exists():
        return None
    try:
        scores = json.loads(path.read_text())
        check_type(scores, Scores)
    except (OSError, ValueError, TypeCheckError, RecursionError) as error:
        raise RunFolderError(f"can't read {path}: {error}") from error
    return scores
