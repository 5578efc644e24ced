"""Published settings, by name: what `--preset` starts from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxvae.method import Hyperparameters


class Preset(NamedTuple):
    """Hyperparameters, and the command's other settings that belong to them."""

    hyperparameters: Hyperparameters
    settings: Mapping[str, Any]
    """Flag -> value: network, latents, batch_size, steps, likelihood, scale, discriminator, options of the method."""


DSPRITES = {"data": "sprites", "image_size": 64}
"""The data set most papers share, as drawn here."""


def study(hyperparameters: Hyperparameters, **options: Any) -> Preset:
    """The settings of the large-scale study (Locatello et al., 2019), all methods alike but for what is given.

    Conv nets, 10 latents, Bernoulli, 300,000 updates of 64 images, Adam at 1e-4. The study swept six values of each
    method's weight; a preset holds one of the middle ones, and the method's file names all six.
    """
    settings = {
        **DSPRITES,
        "network": "conv",
        "latents": 10,
        "batch_size": 64,
        "steps": 300_000,
        "discriminator": (1000,) * 6,
        **options,
    }
    return Preset(hyperparameters, settings)
