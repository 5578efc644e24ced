"""From a method to a trained model: `compile_method`, then `train`, or `train_population` for many at once."""

from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.loop import NonFiniteLoss, check, train
from jaxvae.training.population import train_population

__all__ = ["NonFiniteLoss", "TrainState", "check", "compile_method", "train", "train_population"]
