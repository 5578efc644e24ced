"""The parameters of an estimator as the configuration of a run, and back."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from sklearn.utils import check_scalar

from jaxvae.choose import choose
from jaxvae.methods import METHODS
from jaxvae.networks import groups_as_text
from jaxvae.runs.config import Config, check_config, default_config, default_flags
from jaxvae.runs.options import options_of
from jaxvae.schema import Schema

VECTORS, TABLE = "arrays:X", "table:X"
"""Names of the data in the configuration, which is not in a file."""
RENAMED = {"n_components": "latents", "max_iter": "steps", "validation_fraction": "validation"}
STOPPING = ("validation_fraction", "validate_every", "patience")
"""Parameters of early stopping."""
IN_UNIT_INTERVAL = ("bernoulli", "continuous-bernoulli")
"""Likelihoods of values in [0, 1], which are not standardized."""
OWN = ("standardize", "kinds", "verbose", "random_state", "early_stopping")
"""Parameters that are not those of a run."""


def defaults_of(estimator: type) -> dict[str, Any]:
    """Returns the default of each keyword parameter of an estimator's class."""
    parameters = inspect.signature(estimator).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def config_of(
    name: str, params: Mapping[str, Any], *, schema: Schema | None, seed: int, labels: tuple[str, ...] = ()
) -> Config[Any, Any, Any, Any]:
    """Converts the parameters of an estimator to a configuration.

    Args:
      name: Name of the method in `METHODS`.
      params: Parameters of the estimator.
      schema: Columns of X if it is a table, or None for vectors.
      seed: Random seed.
      labels: Names of the labels that y holds.

    Raises:
      TypeError: A parameter has the wrong type.
      ValueError: A parameter has an invalid value.
    """
    entry, vectors = METHODS[name], schema is None
    for size in ("n_components", "max_iter", "batch_size", "components", "validate_every", "patience"):
        if size in params:
            check_scalar(params[size], size, Integral, min_val=1)
    for field, default in {**entry.hyperparameters()._asdict(), "scale": 1.0}.items():
        if field in params and (default is not None or params[field] is not None):
            check_scalar(params[field], field, Real)
    for option, kind in get_type_hints(options_of(entry)).items():
        if get_origin(kind) is Literal:
            choose(option, params[option], dict.fromkeys(get_args(kind)))
    if not isinstance(groups := params.get("groups"), str | None):
        params = {**params, "groups": groups_as_text({str(name): str(group) for name, group in groups.items()})}
    params = {key: value.item() if isinstance(value, np.generic) else value for key, value in params.items()}
    if vectors and params.get("likelihood") == "auto":
        params["likelihood"] = "gaussian"
    if vectors and params.get("likelihood") in IN_UNIT_INTERVAL and params["standardize"]:
        raise ValueError(
            f"the {params['likelihood']} likelihood is for values in [0, 1] as they are: set standardize=False"
        )
    if not vectors and params.get("noise") == "learned":
        raise ValueError("noise='learned' is for vectors: the real columns of a table have learned scales already")
    _check_library(name, params, schema)
    left_out = (*OWN, *(() if params["early_stopping"] else STOPPING))
    flags = {RENAMED.get(key, key): value for key, value in params.items() if key not in left_out}
    flags |= {"data": VECTORS, "seed": seed} if vectors else {"data": TABLE, "label_columns": labels, "seed": seed}
    idle = default_config(name).with_flags(**flags).idle()
    config = default_config(name).with_flags(**{flag: flags[flag] for flag in flags if flag not in idle})
    check_config(config)
    return replace(config, networks=config.networks.settled())


def _check_library(name: str, params: Mapping[str, Any], schema: Schema | None) -> None:
    """Raises ValueError for a sum of expected counts that was asked for where a row has no sum of counts."""
    if "library" not in params or params["library"] == default_flags(name)["library"]:
        return
    counts = 0 if schema is None else sum(column.kind == "count" for column in schema.used)
    if counts < 2:
        raise ValueError(
            f"library={params['library']!r} is for several columns of counts, and X has {counts or 'none'}: set "
            "kinds='count' if the columns of X are counts, or leave library out"
        )


def params_of(config: Config[Any, Any, Any, Any], names: list[str]) -> dict[str, Any]:
    """Returns the values of those parameters of an estimator that a configuration knows.

    Args:
      config: Configuration of a run.
      names: Names of the parameters of the estimator.
    """
    flags = config.flags()
    left_out = () if config.source.is_validated and config.training.patience else STOPPING
    known = {name: RENAMED.get(name, name) for name in names if name not in left_out}
    stops = {"early_stopping": not left_out} if "early_stopping" in names else {}
    return {name: flags[flag] for name, flag in known.items() if flag in flags} | stops
