"""Scores of a run: metrics of its codes of random examples, and properties of these codes."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from jaxvae.analysis import Representation, encode_samples, latent_effects, random_examples
from jaxvae.data import Groups
from jaxvae.data.origin import origin_of
from jaxvae.data.source import Source
from jaxvae.data.splits import recombinations_in_words
from jaxvae.data.table import MISSING
from jaxvae.files import printable, read_json, write_json
from jaxvae.losses import negentropy
from jaxvae.method import Nets, no_code
from jaxvae.metrics import EXPENSIVE, METRICS, UNSUPERVISED, Metric, metric_named
from jaxvae.runs.config import Config
from jaxvae.runs.load import Run
from jaxvae.schema import schema_of
from jaxvae.training.run_folder import RunFolderError
from jaxvae.training.validation import PosteriorCollapse

DEPENDENCE = ("gaussian_total_correlation", "gaussian_wasserstein_correlation", "mutual_information_score")
QUICK = ("mig", "sap", "modularity", "irs", "mcc", "beta_vae_score", "factor_vae_score", *DEPENDENCE)
"""Metrics that take a second or two in total."""
GAPS = ("mig_sup", "jemmig", "dcimig", "med", "wasserstein_dependency_gap")
RESAMPLED = (*QUICK[:5], *GAPS, *DEPENDENCE)
"""Metrics that are fast enough to be recomputed on resampled examples, for their intervals."""
THOROUGH = tuple(name for name in (*METRICS, *UNSUPERVISED) if name not in EXPENSIVE)
"""All metrics except the expensive ones."""
SCORES = "scores.json"
RESAMPLES = 20
MOST_RESAMPLED = 64
"""Largest number of latents for which intervals are computed, as hundreds of latents would take minutes."""
SAME_CODES = ("step", "representation", "num_samples", "num_examples")
"""Keys of `Scores` whose values are equal in any two sets of scores of the same codes."""
REBUILT = 512
"""Number of examples over which the reconstruction error is averaged."""


ACTIVE_KL = 0.1
"""KL in nats below which a latent counts as inactive."""
TRAINED_STEPS = 1000
"""Number of steps before which inactive latents cause no warning."""
LOWERED = ("beta", "rate", "kl_weight", "prior_weight")
"""Hyperparameters that weigh the prior against the reconstruction."""
RAISED = ("target", "c_end", "a")
"""Hyperparameters that let codes say more: set points of the KL, and the weight of the reconstruction of iVAE."""


class Scored(TypedDict):
    """What scores.json holds of a metric, besides numbers of its own."""

    score: float | None
    definition: str
    interval: NotRequired[tuple[float, float] | None]
    error: NotRequired[str]


class Scores(TypedDict):
    """Content of scores.json, see `score`."""

    step: int
    representation: str
    num_samples: int
    num_examples: NotRequired[int]
    """Number of examples available. Scores without it are from examples that were drawn with replacement."""
    rows: NotRequired[str]
    """Part of the data that the examples are from, with the combinations of factors that it holds out, and their
    number, such as "test, 180 examples"."""
    asked: list[str]
    properties: dict[str, float | None]
    metrics: dict[str, Scored]
    sampled: dict[str, Scored]


def represent(run: Run, num_samples: int) -> Representation:
    """Encodes `num_samples` different random examples, or all of them if there are fewer; see `scored_examples`.

    Raises:
      ValueError: `num_samples` is less than 1.
    """
    if num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {num_samples}")
    if run.method.encode is no_code:
        return Representation(np.zeros((num_samples, 0)), np.zeros((num_samples, 0)), None)
    return encode_samples(run.method, run.state.params, scored_examples(run), run.evaluation_key, num_samples)


def scored_examples(run: Run) -> Source:
    """Returns the examples that a run is scored on: the held-out ones (test set, or validation set), or else all."""
    return independent(run.source if run.held_out is None else run.held_out.source)


def independent(source: Source) -> Source:
    """Returns the source without groups, because members of a group are not independent examples."""
    return source.source if isinstance(source, Groups) else source


def evaluate(run: Run, codes: Representation, metrics: Sequence[str] = QUICK) -> dict[str, Any]:
    """Scores the codes as `score` does, and writes the result to scores.json.

    Scores of the same codes that the file already holds are kept. Warns with PosteriorCollapse if no latent of a model
    that was trained for at least 1,000 steps is active.

    Args:
      run: Run that produced the codes.
      codes: Codes of random examples of its data, from `represent`.
      metrics: Names of metrics, see `jaxvae.metrics.metric_named`.

    Returns:
      The content of scores.json, as described for `score`.

    Raises:
      ValueError: A metric does not exist.
    """
    if collapse := collapse_in_words(run, codes):
        warnings.warn(collapse, PosteriorCollapse, stacklevel=2)
    scores = score(run, codes, metrics)
    try:
        earlier = read_scores(run.folder)
    except RunFolderError:
        earlier = None
    if earlier is not None and all(earlier.get(name) == scores[name] for name in SAME_CODES):
        scores["asked"] = list(dict.fromkeys([*earlier["asked"], *scores["asked"]]))
        for kind in ("metrics", "sampled"):
            scores[kind] = {**earlier[kind], **scores[kind]}
    write_json(run.folder / SCORES, scores)
    return scores


def score(run: Run, codes: Representation, metrics: Sequence[str] = QUICK) -> dict[str, Any]:
    """Scores the posterior means, and one sample of each posterior.

    Args:
      run: Run that produced the codes.
      codes: Codes of random examples of its data, from `represent`.
      metrics: Names of metrics, see `jaxvae.metrics.metric_named`. Metrics that need factors are left out if the
        factors are unknown, and all metrics are left out if the method learns no code.

    Returns:
      {"step", "representation", "num_samples", "num_examples" (number available), "rows" (part of the data and number
      of examples), "asked" (the metrics), "properties" (see `properties`), "metrics": {name: result}, "sampled": {name:
      result}}. Results for means have a 95 % "interval" from resampled examples if the metric is fast and there are at
      most 64 latents. A metric that cannot be computed has the reason as its "error" instead of a score.

    Raises:
      ValueError: A metric does not exist.
    """
    for name in metrics:
        metric_named(name)
    known = metrics if codes.mean.shape[1] else ()
    return {
        "step": int(run.state.step),
        "representation": "posterior mean",
        "num_samples": len(codes.mean),
        "num_examples": scored_examples(run).size,
        "rows": _rows_in_words(run, len(codes.mean)),
        "asked": list(metrics),
        "properties": properties(run, codes),
        **score_arrays(
            codes.mean,
            codes.sample(run.config.seed),
            known_factors(run.source, codes.factors),
            known,
            run.decoder,
            quantised=run.method.quantised,
        ),
    }


def score_arrays(
    means: np.ndarray,
    sampled: np.ndarray | None,
    factors: np.ndarray | None,
    metrics: Sequence[str],
    decoder: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    quantised: bool = False,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores codes from any program.

    Args:
      means: Codes [N, D], such as posterior means.
      sampled: One sample of each posterior [N, D], or None.
      factors: Factors as integers [N, K], or as floats with NaN where a value is missing: metrics leave out these
        examples for that factor. If None, metrics that need factors are left out.
      metrics: Names of metrics, see `jaxvae.metrics.metric_named`.
      decoder: Function from codes to expected examples. If None, metrics that need it are left out; samples are never
        scored by them.
      quantised: Whether each latent of the codes has one of few values. Metrics of information then take values as
        categories, see `jaxvae.metrics.registry.OF_QUANTISED`. They score the codes in place of samples, whose nominal
        noise would give each example a value of its own.

    Returns:
      {"metrics": {name: result}, "sampled": {name: result}}, as in `score`.

    Raises:
      ValueError: A metric does not exist.
    """
    found = {name: metric_named(name, quantised=quantised) for name in metrics}
    known = [name for name in metrics if not found[name].needs_factors or factors is not None]
    of_codes = [name for name in known if not found[name].needs_decoder]
    computed = known if decoder is not None else of_codes
    of_means = {name: _score_and_interval(name, found[name], means, factors, decoder) for name in computed}
    if sampled is None:
        return {"metrics": of_means, "sampled": {}}
    of_samples = {
        name: dict(of_means[name]) if found[name].reads_values else score_codes(found[name], sampled, factors)
        for name in of_codes
    }
    return {"metrics": of_means, "sampled": of_samples}


def known_factors(source: Source, factors: np.ndarray | None) -> np.ndarray | None:
    """Returns factors [N, K] as float64 with NaN for missing labels of a table, or as they are if none can be missing.

    A missing label of a table has a number of its own, whose text is `jaxvae.data.table.MISSING`. It is no value that a
    metric should be about.
    """
    texts = origin_of(source).label_values
    if factors is None or not any(MISSING in values for values in texts):
        return factors
    known = factors.astype(np.float64)
    for column, values in zip(known.T, texts, strict=True):
        if MISSING in values:
            column[column == values.index(MISSING)] = np.nan
    return known


def collapse_in_words(run: Run, codes: Representation) -> str | None:
    """Describes a posterior collapse and what to change, or returns None if a latent is active or training has just
    begun.
    """
    if not isinstance(run.config, Config) or run.state.step < TRAINED_STEPS or not codes.mean.shape[1]:
        return None
    if codes.kl_per_latent().max() > ACTIVE_KL:
        return None
    return (
        f"no latent is active: the posterior of every latent is within {ACTIVE_KL} nats of the prior on average "
        f"(posterior collapse); {_advice(run.config, run.source)}"
    )


def _advice(config: Config[Any, Any, Any, Any], source: Source) -> str:
    """Says which setting of a method gives the code more weight, for data such as these."""
    known = config.hyperparameters._asdict()
    for verb, names in (("lower", LOWERED), ("raise", RAISED)):
        if name := next((name for name in names if known.get(name)), None):
            return f"{verb} --{name.replace('_', '-')}, which is {known[name]:g}"
    schema, likelihood = schema_of(source), getattr(config.options, "likelihood", None)
    if likelihood is not None and "likelihood" not in config.idle():
        if schema is None or len(schema.entries("real")):
            return "give the reconstruction more weight, as --likelihood gaussian with a smaller --scale does"
        if len(schema.entries("count")) and likelihood != "poisson":
            return "give the reconstruction more weight, as --likelihood poisson does, which has no dispersion"
    return "train longer (--steps), with another --learning-rate, or beta-vae with a --beta below 1"


def _rows_in_words(run: Run, count: int) -> str:
    name, size = "all" if run.held_out is None else run.held_out.name, scored_examples(run).size
    combinations = run.config.source.hold_out if isinstance(run.config, Config) else None
    if run.held_out is not None and combinations is not None:
        name = f"{name} ({printable(recombinations_in_words(combinations))})"
    return f"{name}, {size:,} examples" if count >= size else f"{name}, {count:,} of {size:,} examples"


def properties(run: Run, codes: Representation) -> dict[str, float | None]:
    """Computes the reconstruction error and other properties of the codes.

    Args:
      run: Run that produced the codes.
      codes: Codes of random examples of its data, from `represent`.

    Returns:
      "reconstruction_error": mean squared error per observed value of x; "overlap", "parts" and "exclusive": see
      `jaxvae.analysis.latent_effects`; "negentropy": mean negentropy in nats of the latents that vary
      (`jaxvae.losses.negentropy`, log cosh). Properties that cannot be computed are None.
    """
    found: dict[str, float | None] = dict.fromkeys(("reconstruction_error", "overlap", "parts", "exclusive"))
    found["negentropy"] = None
    varies = codes.mean.std(axis=0) > 0
    if varies.any():
        normality = negentropy(jnp.asarray(codes.mean[:, varies], jnp.float32))
        found["negentropy"] = float(normality.mean())
    if run.decoder is None or not codes.mean.shape[1] or len(codes.mean) < 2:
        return found
    rebuilt = rebuilt_of(run, codes.mean[:REBUILT])
    found["reconstruction_error"] = float(np.nanmean((rebuilt - examples_of(run, len(rebuilt))) ** 2))
    effects = latent_effects(run.decoder, codes.mean)
    for name in ("overlap", "parts", "exclusive"):
        value = getattr(effects, name)
        found[name] = value if np.isfinite(value) else None
    return found


def rebuilt_of(run: Run, means: np.ndarray) -> np.ndarray:
    """Decodes the posterior means [count, D] of the first examples that `represent` encodes into expected examples."""
    if run.method.decode_with is None:
        assert run.decoder is not None
        return run.decoder(means)
    batch = random_examples(scored_examples(run), run.evaluation_key, len(means))
    decode = jax.jit(lambda params, code, batch: run.method.expected(Nets(run.method.networks, params), code, batch))
    starts = range(0, len(means), REBUILT)
    parts = [jax.tree.map(lambda leaf, at=at: leaf[at : at + REBUILT], (means, batch)) for at in starts]
    return np.concatenate([np.asarray(decode(run.state.params, *part)) for part in parts])


def examples_of(run: Run, count: int) -> np.ndarray:
    """Returns the first `count` of the examples that `represent` encodes: float64 [count, *event_shape]."""
    return np.asarray(random_examples(scored_examples(run), run.evaluation_key, count)["x"], np.float64)


def score_codes(
    metric: Metric,
    codes: np.ndarray,
    factors: np.ndarray | None,
    decoder: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, Any]:
    """Computes one metric of codes; one that cannot be computed has the reason as its "error" instead of a score."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            second = [factors] if metric.needs_factors else [decoder] if metric.needs_decoder else []
            result = metric.compute(codes, *second)
        except ValueError as error:
            return {"score": None, "definition": "not computed", "error": str(error), "warnings": [str(error)]}
    warned = sorted({str(w.message) for w in caught})
    undefined = {"error": "; ".join(warned) or "undefined for these codes"} if not np.isfinite(result.score) else {}
    return {**result.to_json(), **undefined, "warnings": warned}


def _score_and_interval(
    name: str,
    metric: Metric,
    codes: np.ndarray,
    factors: np.ndarray | None,
    decoder: Callable[[np.ndarray], np.ndarray] | None,
) -> dict[str, Any]:
    """Computes a score and, for fast metrics, its 95 % "interval" [low, high] by resampling examples.

    Scores of random halves of the examples, drawn without replacement, vary as much around the score of all examples as
    that varies around its expectation: the score of a half has twice the variance, and shares half of it with the score
    of all.
    """
    result = score_codes(metric, codes, factors, decoder)
    half = len(codes) // 2
    if name not in RESAMPLED:
        return result
    if result["score"] is None or codes.shape[1] > MOST_RESAMPLED:
        return {**result, "interval": None}
    rng = np.random.default_rng(0)
    rows = [rng.permutation(len(codes))[:half] for _ in range(RESAMPLES)] if half > 1 else []
    parts = [score_codes(metric, codes[row], None if factors is None else factors[row])["score"] for row in rows]
    if not parts or any(part is None for part in parts):
        return {**result, "interval": None}
    # The score itself is the middle, because scores of fewer examples have a larger bias.
    middle = result["score"]
    spread = 1.96 * float(np.std(parts, ddof=1)) * (half / (len(codes) - half)) ** 0.5
    return {**result, "interval": [middle - spread, middle + spread]}


def read_scores(folder: Path, name: str = SCORES) -> dict[str, Any] | None:
    """Returns the scores that `evaluate` wrote last, or None if there are none.

    Raises:
      RunFolderError: The file cannot be read.
    """
    path = folder / name
    if not path.exists():
        return None
    try:
        scores = read_json(path)
        msgspec.convert(scores, Scores)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"can't read {path}: {error}") from error
    return scores
