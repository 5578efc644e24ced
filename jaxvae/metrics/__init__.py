"""Scores of codes [N, D] against known factors [N, K]: functions of arrays that know nothing of models."""

from collections.abc import Callable
from typing import Any

from jaxvae.metrics.mig import MIG, mig
from jaxvae.metrics.mutual_information import discretise, entropy, mutual_information_matrix

METRICS: dict[str, Callable[..., Any]] = {"mig": mig}
"""Metrics by their name on the command line. The first line of a docstring is its description."""

__all__ = ["METRICS", "MIG", "discretise", "entropy", "mig", "mutual_information_matrix"]
