"""From a method to a trained model: `compile_method`, then `train`, or `train_population` for many at once."""

from jaxvae.training.devices import Devices, choose_devices
from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.loop import NonFiniteLoss, NothingToTrain, check, train
from jaxvae.training.members import train_members
from jaxvae.training.memory import keep_freed_memory
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.population import train_population

__all__ = [
    "Devices",
    "NonFiniteLoss",
    "NothingToTrain",
    "TrainState",
    "check",
    "choose_devices",
    "compile_method",
    "in_microbatches",
    "keep_freed_memory",
    "train",
    "train_members",
    "train_population",
]
