"""Builds the data and the method of a configuration."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax

from jaxvae.data import InClasses, Parts, Source
from jaxvae.data.source import S, on_device, sharing_arrays
from jaxvae.method import Method, Network
from jaxvae.methods import likelihood_of, method_named
from jaxvae.runs.config import Config, check_config


def kept_once(source: S) -> S:
    """The source with its arrays where a CPU computes with them, without another copy each time; on accelerators, and
    where the data is read from files, the source itself.
    """
    return on_device(source) if jax.default_backend() == "cpu" else source


def parts_kept_once(parts: Parts) -> Parts:
    """The same for the parts of a data set, which have their arrays in common."""
    training = kept_once(parts.training)
    held_out = (None if part is None else sharing_arrays(part, parts.training, training) for part in parts[1:])
    return Parts(training, *held_out)


class CannotOpen(ValueError):
    """The data does not exist, or cannot be read."""


class Experiment(NamedTuple):
    """The data and the method of a configuration."""

    source: Source
    """Examples to train on, wrapped as the method needs them."""
    method: Method


class SplitExperiment(NamedTuple):
    """The data and the method of a configuration, with the examples that are held out."""

    parts: Parts
    """Parts of the data, wrapped as the method needs them."""
    method: Method


def build(config: Config[Any, Any, Any, Any]) -> Experiment:
    """Builds the examples to train on and the method of a configuration.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    parts, method = build_parts(config)
    return Experiment(parts.training, method)


def build_parts(config: Config[Any, Any, Any, Any]) -> SplitExperiment:
    """Builds all parts of the data and the method of a configuration.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    check_config(config)
    try:
        opened = config.source.open_parts()
    except ValueError as error:
        raise CannotOpen(str(error)) from error
    source = config.batches.wrap(opened.training, config.method)
    held_out = (
        None if part is None else config.batches.wrap_held_out(part, config.method)
        for part in (opened.validation, opened.test)
    )
    return SplitExperiment(Parts(source, *held_out), build_method(config, config.networks.make(source), source))


def build_without_data(config: Config[Any, Any, Any, Any], source: Source) -> Experiment:
    """Builds the experiment with a source that has no examples.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    check_config(config)
    batches = config.batches
    if isinstance(batches, InClasses):
        batches = replace(
            batches, label_noise=0.0
        )  # label noise needs the examples, and the networks do not depend on it
    with suppress(ValueError):  # some wrappers need the examples, and no network needs those wrappers
        source = batches.wrap(source, config.method)
    return Experiment(source, build_method(config, config.networks.make(source), source))


def moved(config: Config[Any, Any, Any, Any], error: Exception) -> str:
    """Returns the error message for a run whose data cannot be opened."""
    kind, colon, _ = config.data.partition(":")
    where = f"{kind}:PLACE" if colon else "DATA"
    return f"{error}. If the data of the run lies elsewhere now, add --data {where}"


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
