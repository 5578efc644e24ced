"""From a method to a trained model: `compile_method`, then `train`."""

from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.loop import NonFiniteLoss, check, train

__all__ = ["NonFiniteLoss", "TrainState", "check", "compile_method", "train"]
