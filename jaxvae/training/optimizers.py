"""Optimizers and learning-rate schedules by name, and methods with another optimizer than their own.

Optimizers are those of Optax: functions of the learning rate that return a gradient transformation. A schedule is a
function of the step whose value multiplies the learning rate, so a sweep over learning rates is still compiled once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from jaxvae.choose import choose
from jaxvae.method import Method, Objective, Optimizer, Params, are_weights
from jaxvae.training.engine import TrainState, built

OptimizerName: TypeAlias = Literal["adam", "adamw", "sgd", "rmsprop", "lion", "muon", "schedule-free"]
ScheduleName: TypeAlias = Literal["constant", "cosine", "linear", "exponential"]
Schedule: TypeAlias = Callable[[Any], jax.Array]
DECAYING = ("adamw", "lion", "muon", "schedule-free")
LAST_SHARE = 0.01
"""Final value of an exponential schedule, as a share of the learning rate."""


@dataclass(frozen=True)
class Optimization:
    """Optimizer and learning-rate schedule."""

    optimizer: OptimizerName | None = None
    """Optimizer of all networks; by default, the method's own, which is Adam in most."""
    schedule: ScheduleName = "constant"
    """Learning-rate schedule: constant, or falling to 0 along half a cosine or a line, or exponentially to 1 %."""
    warmup_steps: int = 0
    """Number of steps over which the learning rate grows linearly from 0."""
    clip_norm: float | None = None
    """Largest norm of a network's gradient; longer gradients are scaled down to it. By default, none is."""
    clip_value: float | None = None
    """Largest absolute value of an entry of a gradient; larger ones are cut off to it, before --clip-norm. By default,
    none is."""
    weight_decay: float | None = None
    """Weight decay per step, relative to the learning rate, of weights but not of biases, for adamw, lion, muon and
    schedule-free. By default, that of the optimizer."""
    ema: float | None = None
    """Decay of a running average of the parameters, such as 0.999; the average is what is scored. By default, none."""

    def of(self, method: Method, steps: int) -> Method:
        """Returns the method with these settings applied, for a run of `steps` steps.

        Raises:
          ValueError: The settings are invalid. The message is one line.
        """
        if self == Optimization():
            return method
        if self.optimizer is None and self.weight_decay is not None:
            raise ValueError(f"--weight-decay needs an optimizer that has it: add --optimizer {' or '.join(DECAYING)}")
        return with_optimizer(
            method,
            None if self.optimizer is None else make_optimizer(self.optimizer, weight_decay=self.weight_decay),
            schedule=make_schedule(self.schedule, steps, warmup_steps=self.warmup_steps),
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            ema=self.ema,
        )


def make_optimizer(
    name: OptimizerName, *, weight_decay: float | None = None
) -> Callable[[Any], optax.GradientTransformation]:
    """Returns an optimizer by name, as a function of the learning rate.

    Args:
      name: Name of the optimizer: adam, adamw, sgd (without momentum), rmsprop, lion, muon (Muon for matrices, Adam for
        all other arrays) or schedule-free (AdamW that needs no schedule).
      weight_decay: Decoupled weight decay per step, relative to the learning rate. It applies to
        `jaxvae.method.are_weights`, so not to biases and scales. By default, that of the optimizer: 1e-4 for adamw,
        1e-3 for lion and 0 for all others.

    Raises:
      ValueError: The name is unknown, weight_decay < 0, or the optimizer has no weight decay.
    """
    choose("optimizer", name, dict.fromkeys(get_args(OptimizerName)))
    if weight_decay is not None and not 0 <= weight_decay < math.inf:
        raise ValueError(f"the weight decay must be a number >= 0, got {weight_decay}")
    given = {} if weight_decay is None else {"weight_decay": weight_decay}
    match name:
        case "adamw":
            return partial(optax.adamw, mask=are_weights, **given)
        case "lion":
            return partial(optax.lion, mask=are_weights, **given)
        case "muon":
            return partial(optax.contrib.muon, weight_decay_mask=are_weights, **given)
        case "schedule-free":
            return partial(_schedule_free, weight_decay=weight_decay or 0.0)
    if weight_decay:
        raise ValueError(f"{name} has no weight decay; {', '.join(DECAYING)} have")
    return {"adam": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}[name]


def make_schedule(name: ScheduleName, steps: int, *, warmup_steps: int = 0) -> Schedule | None:
    """Returns a learning-rate schedule with maximum 1, or None if the learning rate is constant from the first step.

    The learning rate grows linearly over the first `warmup_steps`. After that, it stays constant ("constant"), decays
    to 0 at the end along half a cosine ("cosine") or a line ("linear"), or decays exponentially to 1 % ("exponential").

    Args:
      name: Name of the schedule: constant, cosine, linear or exponential.
      steps: Total number of steps.
      warmup_steps: Number of warmup steps, less than `steps`.

    Raises:
      ValueError: The name is unknown, or warmup_steps is negative or not less than steps.
    """
    choose("schedule", name, dict.fromkeys(get_args(ScheduleName)))
    if not 0 <= warmup_steps < steps:
        raise ValueError(f"the warmup must have at least 0 and fewer than {steps} steps, got {warmup_steps}")
    if name == "constant" and warmup_steps == 0:
        return None

    def schedule(step: Any) -> jax.Array:
        done = jnp.asarray(step, jnp.float32)
        share = jnp.clip((done - warmup_steps) / (steps - warmup_steps), 0.0, 1.0)
        match name:
            case "constant":
                height = jnp.float32(1.0)
            case "cosine":
                height = 0.5 * (1.0 + jnp.cos(jnp.pi * share))
            case "linear":
                height = 1.0 - share
            case "exponential":
                height = LAST_SHARE**share
        return height if warmup_steps == 0 else height * jnp.minimum(1.0, (done + 1.0) / warmup_steps)

    return schedule


def with_optimizer(
    method: Method,
    optimizer: Optimizer | None = None,
    *,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    ema: float | None = None,
) -> Method:
    """Returns the method with another optimizer, or with additions to its own optimizer.

    Plain gradient descent (`optax.sgd`) that a method itself chose is not replaced. It is a running average of weights
    or the integral of a controller, which keep their constant rate, or a proximal step, which follows the schedule of
    the objective that it belongs to.

    Args:
      method: Method whose objectives are changed.
      optimizer: Optimizer, as in `Objective.optimizer`; by default, the method's own.
      schedule: Learning-rate schedule, as in `Objective.schedule`; by default, the method's own.
      clip_norm: Largest global norm of a network's gradient; longer gradients are scaled down to it.
      clip_value: Largest absolute value of an entry of a gradient; larger ones are cut off to it, before the norm is
        taken.
      ema: Decay of a running average of the parameters; see `with_average`.

    Raises:
      ValueError: clip_norm or clip_value is not positive, or ema is outside [0, 1).
    """
    if clip_value is not None and not 0 < clip_value < math.inf:
        raise ValueError(f"the value that gradients are clipped to must be a positive number, got {clip_value}")
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ValueError(f"the norm that gradients are clipped to must be a positive number, got {clip_norm}")

    @cache
    def wrapped(own: Optimizer) -> Optimizer:
        """Wraps each optimizer once, so that objectives which share an optimizer still do."""
        if own is optax.sgd:
            return own
        new = own if optimizer is None else optimizer
        if clip_norm is not None:
            new = _clipped(new, optax.clip_by_global_norm(clip_norm))
        if clip_value is not None:
            new = _clipped(new, optax.clip(clip_value))
        return new if ema is None else with_average(new, ema)

    def changed(objective: Objective) -> Objective:
        new = {name: wrapped(objective.optimizer_of(name)) for name in objective.trains}
        all_plain = all(objective.optimizer_of(name) is optax.sgd for name in objective.trains)
        return objective._replace(
            optimizer=new, schedule=objective.schedule if schedule is None or all_plain else schedule
        )

    return method._replace(objectives=tuple(map(changed, method.objectives)))


def _clipped(optimizer: Optimizer, clip: optax.GradientTransformation) -> Optimizer:
    return lambda rate: optax.chain(clip, built(optimizer, rate))


class AverageState(NamedTuple):
    """Running average of a network's parameters."""

    average: Params
    steps: jax.Array


def with_average(optimizer: Optimizer, decay: float) -> Callable[[Any], optax.GradientTransformation]:
    """Returns the same optimizer with a running average of the parameters, which `evaluation_params` reads.

    At step t, the average moves by 1 - min(decay, (1 + t) / (10 + t)) of the distance to the parameters, so that the
    initialization is soon forgotten. Training itself does not depend on the average.

    Raises:
      ValueError: The decay is outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"the decay of the average must be in [0, 1), got {decay}")

    def init(params: Params) -> AverageState:
        return AverageState(params, jnp.int32(0))

    def update(updates: Any, state: AverageState, params: Params | None = None) -> tuple[Any, AverageState]:
        kept = jnp.minimum(decay, (1.0 + state.steps) / (10.0 + state.steps))
        moved = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, new: kept * old + (1.0 - kept) * new, state.average, moved)
        return updates, AverageState(average, state.steps + 1)

    averaging = optax.GradientTransformation(init, update)

    def averaged(rate: Any) -> optax.GradientTransformation:
        return optax.chain(built(optimizer, rate), averaging)

    return averaged


def evaluation_params(state: TrainState) -> dict[str, Params]:
    """Returns the parameters to evaluate, by network: running averages if the optimizer keeps them, otherwise the
    trained ones.

    The optimizers of `with_average` and the schedule-free optimizers of Optax keep averages.
    """
    params = dict(state.params)
    for memories in state.opt_state:
        for network, memory in memories.items():
            for part in jax.tree.leaves(memory, is_leaf=_keeps_an_average):
                if isinstance(part, AverageState):
                    params[network] = part.average
                elif isinstance(part, optax.contrib.ScheduleFreeState):
                    params[network] = optax.contrib.schedule_free_eval_params(part, state.params[network])
    return params


def _keeps_an_average(part: Any) -> bool:
    return isinstance(part, AverageState | optax.contrib.ScheduleFreeState)


def _schedule_free(rate: Any, *, weight_decay: float) -> optax.GradientTransformation:
    decay = optax.masked(optax.add_decayed_weights(weight_decay), are_weights)
    squares = optax.scale_by_rms(decay=0.999, eps_in_sqrt=False, bias_correction=True)
    inner = optax.chain(squares, decay, optax.scale_by_learning_rate(rate))
    return optax.contrib.schedule_free(inner, rate, b1=0.9)
