"""The splits of a trained additive decoder."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis import SplitEffects, split_effects
from jaxvae.method import Params
from jaxvae.methods.drvi import Networks
from jaxvae.networks import decoder_params
from jaxvae.networks.options import Examples
from jaxvae.runs.build import likelihood_of_run
from jaxvae.runs.config import Config
from jaxvae.runs.load import Run

Parts = Callable[[np.ndarray], np.ndarray]


def parts_of(run: Run) -> Parts | None:
    """Returns the function from codes [B, K] to raw outputs of the splits [B, S, P]; None if the decoder has no splits.

    The raw outputs of counts are logarithms of rates, up to a number that all splits and columns of a row share.
    Covariates are at their centre.
    """
    return _parts(run.config, run.source, run.state.params)


def split_effects_of(run: Run, means: np.ndarray) -> SplitEffects | None:
    """Computes `jaxvae.analysis.split_effects` of a run and posterior means [N, K]; None without a split per latent.

    Covariates of the decoder, such as the batch, are at their centre for all rows.
    """
    return effects_of(run.config, run.source, run.state.params, means)


def effects_of(config: Any, source: Examples, params: Mapping[str, Params], means: np.ndarray) -> SplitEffects | None:
    """Computes the same of a configuration, data and parameters."""
    parts = _parts(config, source, params)
    if parts is None or not len(means) or config.networks.splits not in (None, config.networks.latents):
        return None
    return split_effects(parts, means, pooling=config.networks.pooling)


def _parts(config: Any, source: Examples, params: Mapping[str, Params]) -> Parts | None:
    if not isinstance(config, Config) or not isinstance(config.networks, Networks):
        return None
    decoder, of_decoder = config.networks.split_decoder(source), decoder_params(params["decoder"])
    likelihood = likelihood_of_run(config, source)
    counts = None if likelihood is None else likelihood.counts
    parts = jax.jit(decoder.parts)

    def outputs(codes: np.ndarray) -> np.ndarray:
        raw = np.array(parts(of_decoder, jnp.asarray(codes, jnp.float32)))
        if counts is not None:
            raw[:, :, counts.entries] += counts.log_means
        return raw

    return outputs
