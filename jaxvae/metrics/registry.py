"""Metrics by name: those of this package, of other packages, and of the user."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.choose import choose_or_import
from jaxvae.metrics.class_matching import class_matching
from jaxvae.metrics.dci import dci
from jaxvae.metrics.dci_es import dci_es
from jaxvae.metrics.downstream import downstream
from jaxvae.metrics.infomec import infomec
from jaxvae.metrics.information_gaps import dcimig, jemmig, mig_sup
from jaxvae.metrics.interventions import beta_vae_score, factor_vae_score, z_max_variance
from jaxvae.metrics.irs import irs
from jaxvae.metrics.mcc import mcc
from jaxvae.metrics.med import med
from jaxvae.metrics.mig import mig
from jaxvae.metrics.modularity import explicitness, modularity
from jaxvae.metrics.pipe import pipe
from jaxvae.metrics.results import Result
from jaxvae.metrics.sap import sap
from jaxvae.metrics.support import support
from jaxvae.metrics.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    mutual_information_score,
)
from jaxvae.metrics.wasserstein import wasserstein_dependency_gap

METRICS: dict[str, Callable[..., Result]] = {
    "mig": mig,
    "mig_sup": mig_sup,
    "jemmig": jemmig,
    "dcimig": dcimig,
    "med": med,
    "wasserstein_dependency_gap": wasserstein_dependency_gap,
    "sap": sap,
    "dci": dci,
    "modularity": modularity,
    "explicitness": explicitness,
    "irs": irs,
    "infomec": infomec,
    "mcc": mcc,
    "class_matching": class_matching,
    "beta_vae_score": beta_vae_score,
    "factor_vae_score": factor_vae_score,
    "z_max_variance": z_max_variance,
    "downstream": downstream,
    "dci_es": dci_es,
}
"""Metrics of codes [N, D] and factors [N, K]. The first line of a docstring is the description of its metric."""

USUAL_BINS = 20
"""Least number of bins per code of the metrics with bins."""
EXPENSIVE = ("downstream", "dci_es", "pipe")
"""Metrics that take longest: tens of seconds, or minutes on a busy machine."""

UNSUPERVISED: dict[str, Callable[..., Result]] = {
    "gaussian_total_correlation": gaussian_total_correlation,
    "gaussian_wasserstein_correlation": gaussian_wasserstein_correlation,
    "mutual_information_score": mutual_information_score,
    "support": support,
}
"""Metrics of codes [N, D] alone."""


OF_DECODERS: dict[str, Callable[..., Result]] = {"pipe": pipe}
"""Metrics of codes [N, D] and a decoder, without factors."""


def _of_values(metric: Callable[..., Result]) -> Callable[..., Result]:
    """Makes the form of a metric with bins in which each value of a latent [N, D] is a category of its own."""

    def compute(codes: ArrayLike, *factors: ArrayLike) -> Result:
        numbers = np.stack([np.unique(latent, return_inverse=True)[1] for latent in np.asarray(codes).T], axis=1)
        result = metric(numbers, *factors, num_bins=max(USUAL_BINS, int(numbers.max(initial=0)) + 1))
        return replace(result, definition=f"{result.definition}; values of quantised codes as categories")

    return compute


OF_QUANTISED: dict[str, Callable[..., Result]] = {
    "infomec": partial(infomec, discrete_codes=True),
    **{
        metric.__name__: _of_values(metric)
        for metric in (mig, mig_sup, jemmig, dcimig, med, modularity, mutual_information_score)
    },
    "pipe": partial(pipe, resampling="permuted"),
}
"""Forms of metrics for quantised codes, whose latents have few values each (`jaxvae.method.Method.quantised`): values
are categories, and recombinations for PIPE are of values that the latents have."""

BY_NAME = {**METRICS, **UNSUPERVISED, **OF_DECODERS}
"""All metrics of this package."""


class Metric(NamedTuple):
    """A metric of the command line."""

    compute: Callable[..., Result]
    """Function (codes [N, D]), (codes, factors [N, K]) or (codes, decoder) -> result."""
    needs_factors: bool
    needs_decoder: bool = False
    reads_values: bool = False
    """Whether it is a form for quantised codes, which means each value and not a sample near it."""


def metric_named(name: str, *, quantised: bool = False) -> Metric:
    """Finds a metric by name.

    Args:
      name: Key of `BY_NAME`, an entry point of another package, or "package.module:NAME" for a function of your own. It
        takes codes and factors, or codes alone, and returns a `Result` or a number.
      quantised: Whether it is for quantised codes, for which some metrics have a form of their own: `OF_QUANTISED`.

    Raises:
      ValueError: The metric does not exist, or an import fails.
    """
    reads_values = quantised and name in OF_QUANTISED
    function = OF_QUANTISED[name] if reads_values else choose_or_import("metric", name, BY_NAME)

    def compute(*arrays: Any) -> Result:
        result = function(*arrays)
        return result if isinstance(result, Result) else Result(float(result), name)

    needs_factors = name in METRICS or (name not in BY_NAME and _takes_factors(function))
    return Metric(compute, needs_factors, name in OF_DECODERS, reads_values)


def _takes_factors(function: Callable[..., Result]) -> bool:
    """Whether a function of one's own has a second argument without a default."""
    parameters = inspect.signature(function).parameters.values()
    if "factors" in inspect.signature(function).parameters:
        return True
    return sum(each.default is each.empty and each.kind is not each.KEYWORD_ONLY for each in parameters) > 1
