"""Builds the data and the method of a configuration."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from jaxvae.data import Source
from jaxvae.method import Method, Network
from jaxvae.methods import likelihood_of, method_named
from jaxvae.runs.config import Config, check_config


class Experiment(NamedTuple):
    """The data and the method of a configuration."""

    source: Source
    """Data, wrapped as the method needs it."""
    method: Method


def build(config: Config[Any, Any, Any, Any]) -> Experiment:
    """Builds the source and the method of a configuration.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    check_config(config)
    source = config.batches.wrap(config.source.open(), config.method)
    return Experiment(source, build_method(config, config.networks.make(source), source))


def build_method(config: Config[Any, Any, Any, Any], networks: Mapping[str, Network], source: Source) -> Method:
    """Builds the method of a configuration with the given networks, for a source that is already wrapped.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    choices = asdict(config.options)
    if "likelihood" in choices:
        choices["likelihood"] = likelihood_of(choices["likelihood"], choices.pop("scale"))
    told = config.batches.told(source, config.training.batch_size)
    build = method_named(config.method).build
    method = build(networks, hyperparameters=config.hyperparameters, **choices, **told)
    return config.optimization.of(method, config.training.steps)
