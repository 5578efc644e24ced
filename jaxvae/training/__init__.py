"""From a method to a trained model: `make_train_step`, then `train`, or `train_population` for many at once."""

from typing import Any

from jaxvae.choose import renamed
from jaxvae.training.devices import Devices, choose_devices
from jaxvae.training.engine import TrainState, make_train_step
from jaxvae.training.loop import NonFiniteLoss, NothingToTrain, check, train
from jaxvae.training.members import train_members
from jaxvae.training.memory import tune_allocator
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.optimizers import evaluation_params, make_optimizer, make_schedule, with_average, with_optimizer
from jaxvae.training.plan import Plan, plan
from jaxvae.training.population import train_population

__all__ = [
    "Devices",
    "NonFiniteLoss",
    "NothingToTrain",
    "Plan",
    "TrainState",
    "check",
    "choose_devices",
    "evaluation_params",
    "in_microbatches",
    "make_optimizer",
    "make_schedule",
    "make_train_step",
    "plan",
    "train",
    "train_members",
    "train_population",
    "tune_allocator",
    "with_average",
    "with_optimizer",
]


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"compile_method": "make_train_step", "keep_freed_memory": "tune_allocator"})
