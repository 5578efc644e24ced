"""From a method to a trained model: `compile_method`, then `train`, or `train_population` for many at once."""

from jaxvae.training.devices import Devices, choose_devices
from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.loop import NonFiniteLoss, NothingToTrain, check, train
from jaxvae.training.members import train_members
from jaxvae.training.memory import keep_freed_memory
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
    "compile_method",
    "evaluation_params",
    "in_microbatches",
    "keep_freed_memory",
    "make_optimizer",
    "make_schedule",
    "plan",
    "train",
    "train_members",
    "train_population",
    "with_average",
    "with_optimizer",
]
