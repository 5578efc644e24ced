"""Scores during training: a few fast metrics of the codes of the state."""

import math
from collections.abc import Sequence

from jaxvae.analysis import make_encoder
from jaxvae.data.source import Source
from jaxvae.data.splits import HeldOut
from jaxvae.method import Method, no_code
from jaxvae.metrics import metric_named
from jaxvae.runs.load import evaluation_key
from jaxvae.runs.score import independent, known_factors, score_codes
from jaxvae.training.engine import TrainState
from jaxvae.training.observers import Observation, Observer

WITH_FACTORS = ("mig", "dci")
"""Metrics during training of data with known factors."""
WITHOUT_FACTORS = ("gaussian_total_correlation", "mutual_information_score")
"""Metrics during training of other data."""
OBSERVED = 2000
"""Number of examples that they are computed on."""


def score_observer(
    method: Method,
    source: Source,
    every: int,
    *,
    seed: int = 0,
    held_out: HeldOut | None = None,
    metrics: Sequence[str] | None = None,
) -> Observer:
    """Returns an observer that scores the posterior means of 2,000 random examples, always the same ones.

    Args:
      method: Method that is trained.
      source: Data that it is trained on.
      every: Number of steps between scores.
      seed: Seed of the run. The examples are the first ones of those that `represent` encodes.
      held_out: Examples to score on; by default, those of `source`.
      metrics: Names of metrics of codes, see `jaxvae.metrics.metric_named`. By default, MIG and DCI, or without known
        factors the total correlation of a Gaussian and the mutual information of the codes.

    Returns:
      Observer for `jaxvae.training.train`. A metric that is undefined for the codes is NaN.

    Raises:
      ValueError: The method learns no code, or a metric does not exist, needs a decoder, or needs factors that the data
        does not have.
    """
    if method.encode is no_code:
        raise ValueError(f"{method.name} learns no code that could be scored during training")
    scored = independent(source if held_out is None else held_out.source)
    names = metrics if metrics is not None else WITH_FACTORS if scored.factor_names else WITHOUT_FACTORS
    named = {name: metric_named(name, quantised=method.quantised) for name in names}
    for name, metric in named.items():
        if metric.needs_decoder:
            raise ValueError(f"the metric {name} needs a decoder, and only codes are scored during training")
        if metric.needs_factors and not scored.factor_names:
            raise ValueError(f"the metric {name} needs factors, and those of {scored.name} are not known")
    codes_of = make_encoder(method, scored, evaluation_key(seed))

    def observe(state: TrainState) -> Observation:
        codes = codes_of(state.params, OBSERVED)
        factors = known_factors(scored, codes.factors)
        found = {name: score_codes(metric, codes.mean, factors)["score"] for name, metric in named.items()}
        return Observation(scores={name: math.nan if value is None else value for name, value in found.items()})

    return Observer(every, observe)
