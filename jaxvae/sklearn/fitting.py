"""Training in memory, with or without early stopping."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data import Source, Table, split
from jaxvae.method import Method, Params
from jaxvae.training import StoppedEarly, TrainState, train


class Fit(NamedTuple):
    """The result of a training."""

    state: TrainState
    history: list[dict[str, Any]]
    """Rows of metrics."""


def rows_to_train_on(count: int, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows at random: indices of those for training and of those for validation, int32.

    Raises:
      ValueError: The fraction is not in (0, 1), or leaves one of the parts without rows.
    """
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be above 0 and below 1, got {validation_fraction}")
    places = Table("X", np.zeros((count, 1), np.float32), None, (1,), (), (), "floats")
    parts: Any = split(places, validation=validation_fraction, seed=seed)
    return np.asarray(parts.training.index), np.asarray(parts.validation.index)


def fit(
    method: Method, training: Source, held_out: Source | None, params: Mapping[str, Any], *, batch_size: int, seed: int
) -> Fit:
    """Trains a method.

    Args:
      method: Method to train.
      training: Data, wrapped as the method needs them.
      held_out: Validation data, or None for training until the last step. With them, training stops when the validation
        loss no longer falls, and the parameters are those of the lowest validation loss.
      params: Parameters of the estimator: max_iter, verbose, validate_every and patience.
      batch_size: Number of rows per step.
      seed: Random seed.

    Raises:
      NonFiniteLoss: Training diverged.
    """
    history: list[dict[str, Any]] = []
    lowest: float = math.inf
    best: dict[str, Params] | None = None

    def keep(step: int, state: TrainState, row: Mapping[str, float]) -> None:
        nonlocal lowest, best
        history.append({"step": step, **row})
        if row.get("validation_loss", math.inf) < lowest:
            lowest, best = row["validation_loss"], jax.tree.map(jnp.copy, state.params)

    early = {} if held_out is None else {name: params[name] for name in ("validate_every", "patience")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoppedEarly)
        state = train(
            method,
            training,
            steps=params["max_iter"],
            batch_size=batch_size,
            seed=seed,
            progress=bool(params["verbose"]),
            on_row=keep,
            validation=held_out,
            **early,
        )
    return Fit(state if best is None else state._replace(params=best), history)
