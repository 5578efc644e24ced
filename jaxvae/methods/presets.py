"""What the command line knows of a method: how it is built, and published settings, by name, to start from."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from jaxvae.method import Hyperparameters, Method


class Preset(NamedTuple):
    """Hyperparameters, and the command's other settings that belong to them."""

    hyperparameters: Hyperparameters
    settings: Mapping[str, Any]
    """Flag -> value: network, latents, batch_size, steps, likelihood, scale, discriminator, options of the method."""


class Entry(NamedTuple):
    """A method as the command line offers it."""

    build: Callable[..., Method]
    """(networks, *, likelihood, hyperparameters, **options) -> Method; its docstring's first line is the description.
    Keyword arguments that are choices or numbers become flags."""
    hyperparameters: Callable[..., Hyperparameters]
    presets: Mapping[str, Preset]
    settings: Mapping[str, Any] = {}
    """The command's other flags, where this method's defaults are its own."""
    logits: int = 0
    """Outputs of the method's discriminator; 0 for none."""
    special: (
        Literal[
            "attribution networks",
            "conditional prior",
            "feature network",
            "grouped decoder",
            "layered networks",
            "label networks",
            "latent adversarial networks",
            "mixture prior",
            "translation networks",
        ]
        | None
    ) = None
    """What the method needs in its networks besides, or in place of, the usual ones."""


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
