"""Builds the data and the method of a configuration."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxvae.data import InClasses, Parts, Source
from jaxvae.data.batches import refuse_empty_rows
from jaxvae.data.series import channels_of
from jaxvae.data.source import S, Wrapper, on_device, sharing_arrays
from jaxvae.data.splits import conditions
from jaxvae.method import Method, Network
from jaxvae.methods import Likelihood, given_library, likelihood_for, method_named, reading_library
from jaxvae.networks import neighbour_features, with_parameters
from jaxvae.networks.options import Examples
from jaxvae.runs.config import Config, check_config, default_flags
from jaxvae.schema import Schema, schema_of
from jaxvae.training import with_dropout


def kept_once(source: S) -> S:
    """Places the arrays of the source on the device if that is a CPU, so that they are not copied at every use. On
    accelerators, the source itself is returned.
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
    """The data and the method of a configuration, with the held-out examples."""

    parts: Parts
    """Parts of the data, wrapped as the method needs them."""
    method: Method


def build(config: Config[Any, Any, Any, Any], schema: Schema | None = None) -> Experiment:
    """Builds the examples to train on and the method of a configuration, as `build_parts` does.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    parts, method = build_parts(config, schema)
    return Experiment(parts.training, method)


def build_parts(
    config: Config[Any, Any, Any, Any],
    schema: Schema | None = None,
    opened: Callable[[Schema | None], Source] | None = None,
) -> SplitExperiment:
    """Builds all parts of the data and the method of a configuration.

    Args:
      config: Configuration of the run.
      schema: Columns of the table that the run was trained on; by default, they are found in the data.
      opened: Function that opens data in memory, with the columns that it is given; by default, `--data` is opened.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    check_config(config)
    try:
        parts = config.source.open_parts(schema) if opened is None else config.source.parts(opened, schema)
    except ValueError as error:
        raise CannotOpen(str(error)) from error
    if parts.validation is None and config.training.patience is not None:
        raise ValueError(
            f"--patience counts validations without improvement, and the column {config.source.split_column!r} has no "
            "rows for validation: leave it out"
        )
    source = config.batches.wrap(parts.training, config.method)
    if schema is None:  # older runs open as they were trained
        _check_library(config, source)
    held_out = (
        None if part is None else config.batches.wrap_held_out(part, config.method)
        for part in (parts.validation, parts.test)
    )
    method = build_method(config, networks_of(config, source), source)
    _check_clips(config, parts.training, method)
    return SplitExperiment(Parts(source, *held_out), method)


def _check_clips(config: Config[Any, Any, Any, Any], source: Source, method: Method) -> None:
    """Raises ValueError for a method of clips if factors that change within a clip are held out by its first frame."""
    asked = config.source.hold_out
    if asked is None or "video" not in method.needs:
        return
    while isinstance(source, Wrapper):
        source = source.source
    moving = getattr(source, "moving_factors", ())
    if moved := [name for name in conditions(source, asked) if name in moving]:
        still = ", ".join(name for name in source.factor_names if name not in moving)
        raise ValueError(
            f"{config.method} learns from all frames of a clip, in which {moved[0]!r} changes, and would see what "
            f"--hold-out {asked!r} holds out: choose among {still}"
        )


def networks_of(config: Config[Any, Any, Any, Any], source: Examples) -> dict[str, Network]:
    """Makes the networks of a configuration for a source that is already wrapped.

    Raises:
      ValueError: Sizes or the likelihood are incompatible with the data. The message is one line.
    """
    _check_columns(config, source)
    networks = config.networks.make(source)
    likelihood = likelihood_of_run(config, source)
    if likelihood is not None and len(likelihood.start):
        networks["decoder"] = with_parameters(networks["decoder"], likelihood.start)
    return networks


def _check_columns(config: Config[Any, Any, Any, Any], source: Examples) -> None:
    """Raises ValueError for a table with columns that the method cannot learn from."""
    schema = schema_of(source)
    if channels_of(source) is not None:
        _check_scale(config)
    if schema is None:
        return
    if getattr(config.options, "output", "linear") == "sigmoid":
        raise ValueError(
            "--output sigmoid is for images; a table has a likelihood for each kind of column: leave it out"
        )
    if hasattr(config.options, "likelihood"):
        return
    for column in schema.used:
        if column.has_missing or column.kind == "count":
            what = "has missing values" if column.has_missing else "is a count"
            raise ValueError(
                f"{config.method} takes neither missing values nor counts, and column {column.name!r} {what}: choose a "
                f"method with a likelihood, such as vae, or --drop {column.name}"
            )


def _check_scale(config: Config[Any, Any, Any, Any]) -> None:
    """Raises ValueError for a method of values in [0, 1], where the channels of series are standardized."""
    likelihood, output = (getattr(config.options, name, "") for name in ("likelihood", "output"))
    if likelihood in ("bernoulli", "continuous-bernoulli"):
        raise ValueError(
            f"the {likelihood} likelihood is for values in [0, 1], and the channels of series are standardized: choose "
            "--likelihood gaussian or laplace"
        )
    if output == "sigmoid":
        raise ValueError("--output sigmoid is for values in [0, 1], and series are standardized: leave it out")


def _check_library(config: Config[Any, Any, Any, Any], source: Source) -> None:
    """Raises ValueError for a sum of expected counts that was asked for where the rows have no sums of counts, or a row
    has no counts.
    """
    schema, asked = schema_of(source), getattr(config.options, "library", None)
    if schema is None or asked is None or asked == default_flags(config.method)["library"]:
        return
    counts = sum(column.kind == "count" for column in schema.used)
    if counts < 2:
        columns = "no column of counts" if not counts else "one column of counts only"
        raise ValueError(f"--library {asked} is for tables with several columns of counts, got {columns}: leave it out")
    if asked == "rows":
        refuse_empty_rows(source, f"{config.method} with --library rows")


def library_of(config: Any, source: Examples) -> str | None:
    """Returns where the sums of the expected counts of rows come from, "none" or "rows"; None for a configuration of
    another kind, and for data without several columns of counts.
    """
    schema, options = schema_of(source), getattr(config, "options", None)
    counts = 0 if schema is None else sum(column.kind == "count" for column in schema.used)
    return getattr(options, "library", None) if counts > 1 else None


def with_likelihood(config: Config[Any, Any, Any, Any], source: Examples) -> Config[Any, Any, Any, Any]:
    """Returns the configuration with the name of the likelihood that suits the data, if none was asked for.

    Tables keep "auto", which stands for a likelihood for each kind of column.
    """
    if getattr(config.options, "likelihood", "") != "auto" or schema_of(source) is not None:
        return config
    return config.with_flags(likelihood="bernoulli" if len(source.event_shape) == 3 else "gaussian")


def likelihood_of_run(config: Config[Any, Any, Any, Any], source: Examples) -> Likelihood | None:
    """Returns the likelihood of a configuration for the examples of a source; None if the method has none."""
    options = config.options
    if not hasattr(options, "likelihood"):
        return None
    schema = schema_of(source)
    if schema is not None and (own := config.idle().get("likelihood")):  # noise that the method learns itself
        if any(column.kind != "real" or column.has_missing for column in schema.used):
            raise ValueError(f"not all columns of the table are real numbers without missing values: choose {own}")
        schema = None
    return likelihood_for(options.likelihood, options.scale, source.event_shape, schema)


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
    return Experiment(source, build_method(config, networks_of(config, source), source))


def moved(data: str, error: Exception) -> str:
    """Returns the error message for a run whose data, as its configuration names it, cannot be opened."""
    kind, colon, _ = data.partition(":")
    where = f"{kind}:PLACE" if colon else "DATA"
    return f"{error}. If the data of the run lies elsewhere now, add --data {where}"


def build_method(
    config: Config[Any, Any, Any, Any], networks: Mapping[str, Network], source: Source, *, raw: bool = False
) -> Method:
    """Builds the method of a configuration with the given networks, for a source that is already wrapped.

    Args:
      config: Configuration of the run.
      networks: Networks by name.
      source: Data, wrapped as the method needs it.
      raw: Whether the method's `decode` returns what its likelihood takes, instead of expected examples.

    Raises:
      ValueError: Settings are incompatible. The message is one line.
    """
    choices = asdict(config.options)
    build = method_named(config.method).build
    taken = inspect.signature(build).parameters
    likelihood, schema, of_rows = likelihood_of_run(config, source), schema_of(source), False
    if likelihood is not None:
        likelihood = likelihood._replace(mean=lambda outputs: outputs) if raw else likelihood
        del choices["scale"]
        of_rows = "library" not in taken and choices.pop("library") == "rows"
        choices["likelihood"] = given_library(likelihood) if of_rows else likelihood
    if schema is not None and "features" in taken:
        choices["features"] = partial(neighbour_features, schema)
    told = config.batches.told(source, config.training.batch_size)
    method = build(networks, hyperparameters=config.settled().hyperparameters, **choices, **told)
    if likelihood is not None and of_rows:
        method = reading_library(method, likelihood, raw=raw)
    if config.networks.noisy:
        method = with_dropout(method, config.networks.noisy)
    return config.optimization.of(method, config.training.steps)
