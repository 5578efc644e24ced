"""Validation during training: the terms of a method on examples that are held out, and what follows from them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source, pytree_of
from jaxvae.method import END, Method, Terms
from jaxvae.streams import Stream
from jaxvae.training.devices import Devices
from jaxvae.training.dropout import without_dropout
from jaxvae.training.engine import TrainState, make_train_step
from jaxvae.training.optimizers import evaluation_params
from jaxvae.training.steps import batch_of_step

MOST = 2000
"""Largest number of examples that a validation looks at, up to a whole batch."""
PREFIX = "validation_"
"""Start of the names of validation terms in a row of metrics."""
LOSS = PREFIX + "loss"
RISING = 3
"""Number of validations in a row above the lowest one that may be called a rise."""
RISE = 0.05
"""Smallest rise that is reported, as a share of the range of all validation losses."""


class StoppedEarly(UserWarning):
    """Training ended before its last step: the validation loss no longer improves, or the time is up."""


class Overfitting(UserWarning):
    """The validation loss rises while the training loss falls."""


class PosteriorCollapse(UserWarning):
    """No latent of a model depends on the example. Models that were trained for less than 1,000 steps are not looked
    at.
    """


def check_limits(validated: bool, validate_every: int, patience: int | None, max_minutes: float | None) -> None:
    """Checks when a run validates and stops.

    Raises:
      ValueError: A number is below the least one that makes sense, or there is a patience without validation examples.
    """
    if validate_every < 1:
        raise ValueError(f"validate_every must be at least 1, got {validate_every}")
    if patience is not None and patience < 1:
        raise ValueError(f"patience must be at least 1, got {patience}")
    if patience is not None and not validated:
        raise ValueError("patience counts validations without improvement: give validation examples, or leave it out")
    if max_minutes is not None and not 0 < max_minutes < math.inf:
        raise ValueError(f"max_minutes must be a positive number, got {max_minutes}")


def make_validation(
    method: Method, source: Source, *, batch_size: int, dataset_size: int, devices: Devices
) -> Callable[[TrainState], dict[str, float]]:
    """Returns a function that computes the terms of the objectives on held-out examples, without a gradient step.

    All calls use the same examples and the same noise, which follow from the key of the run, and the loss as it is at
    the end of all warmups, without dropout. The result depends on the state only. The parameters are those to evaluate:
    running averages where the optimizer keeps them.

    Args:
      method: Method that is trained.
      source: Held-out examples, wrapped as the method needs them. 2,000 of them at most, rounded up to whole batches,
        are used; those in `Epochs` come once each, except for examples that fill up the last batch.
      batch_size: Number of examples per batch.
      dataset_size: Number of training examples, as for `make_train_step`.
      devices: Devices of the run, each of which computes the same.

    Returns:
      Function state -> means over the batches, by name: "validation_loss" and "validation_TERM".
    """
    _, update = make_train_step(without_dropout(method), dataset_size=dataset_size)
    no_gradient = (False,) * len(method.objectives)
    batches = math.ceil(min(source.size, MOST) / batch_size)

    @jax.jit
    def terms_of(state: TrainState, source: Source, number: jax.Array) -> Terms:
        key = jax.random.fold_in(state.key, Stream.VALIDATION)
        batch = batch_of_step(method, source, batch_size, key, number)
        at_end = state._replace(
            params=evaluation_params(state), key=jax.random.fold_in(key, number), step=jnp.int32(END)
        )
        return update(at_end, batch, None, no_gradient)[1]

    held_out = devices.place(pytree_of(source))
    numbers = [devices.place(jnp.int32(number)) for number in range(batches)]

    def validate(state: TrainState) -> dict[str, float]:
        if devices.backend == "pmap":  # its arrays are on a separate mesh
            state = devices.place(state)
        terms = jax.device_get([terms_of(state, held_out, number) for number in numbers])
        return {PREFIX + name: float(np.mean([each[name] for each in terms], dtype=np.float64)) for name in terms[0]}

    return validate


def validation_rows(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the rows of metrics that hold a validation."""
    return [row for row in history if LOSS in row]


def best_row(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the first row with the lowest validation loss, or None if there is no finite one."""
    finite = [row for row in validation_rows(history) if math.isfinite(row[LOSS])]
    return min(finite, key=lambda row: row[LOSS], default=None)


def validations_since_best(history: Sequence[Mapping[str, Any]], every: int) -> int:
    """Returns the number of validations after the lowest one, or of all if none was finite.

    Only those at multiples of `every` steps count: a run that ended in between had one more at its last step.
    """
    best = best_row(history)
    after = -1 if best is None else best["step"]
    return sum(row["step"] > after and row["step"] % every == 0 for row in validation_rows(history))


def is_out_of_patience(history: Sequence[Mapping[str, Any]], every: int, patience: int | None) -> bool:
    """Whether the validation loss has not improved in `patience` validations; False without a patience."""
    return patience is not None and validations_since_best(history, every) >= patience


def patience_in_words(history: Sequence[Mapping[str, Any]], step: int, patience: int) -> str:
    """Says that and why a run stopped early, and what to do to go on."""
    best = best_row(history)
    lowest = "" if best is None else f", lowest at step {best['step']},"
    return (
        f"training stopped early at step {step}: the validation loss{lowest} has not improved in {patience} "
        f"validation{'s' if patience > 1 else ''}. Resume with a larger patience (--patience) to go on"
    )


def best_in_words(history: Sequence[Mapping[str, Any]]) -> str:
    """Says at which step the validation loss was lowest; "" if there were no validations."""
    best = best_row(history)
    return "" if best is None else f"; the validation loss was lowest at step {best['step']} (--checkpoint best)"


def rise_in_words(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Describes a validation loss that rises while the training loss falls, or returns None if it does not."""
    rows, best = validation_rows(history), best_row(history)
    if best is None:
        return None
    last, losses = rows[-1], [row[LOSS] for row in rows if math.isfinite(row[LOSS])]
    rise, reach = last[LOSS] - best[LOSS], max(losses) - min(losses)
    after = [row for row in rows if row["step"] > best["step"]]
    if len(after) < RISING or not rise > RISE * reach or not last["loss"] < best["loss"]:
        return None
    return (
        f"the validation loss has risen from {best[LOSS]:.4g} at step {best['step']} to {last[LOSS]:.4g} at step "
        f"{last['step']}, while the training loss fell from {best['loss']:.4g} to {last['loss']:.4g}: the model "
        "overfits. Load the checkpoint 'best', stop early with a patience, or train a smaller network on more data"
    )
