"""What stands beside a method in its file: how it is built, from which networks and batches, and published settings."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxvae.data.batches import Single
from jaxvae.method import Hyperparameters, Method
from jaxvae.networks.options import Autoencoder, NetworkOptions


class Preset(NamedTuple):
    """Published settings: hyperparameters, and values of other flags that belong to them."""

    hyperparameters: Hyperparameters
    settings: Mapping[str, Any] = {}
    """Flag, with underscores -> value, such as {"latents": 10, "batch_size": 64}."""


class Entry(NamedTuple):
    """A method as the command line offers it."""

    name: str
    """Name on the command line."""
    build: Callable[..., Method]
    """(networks, *, hyperparameters, likelihood, **options) -> Method. The first line of its docstring describes the
    method in `jaxvae list`; keyword arguments that are numbers or one of several words become flags, whose help is
    their line in the docstring."""
    hyperparameters: Callable[..., Hyperparameters]
    """Class of the hyperparameters, a NamedTuple of numbers with defaults; its fields are flags."""
    batches: type[Single] = Single
    """What a batch holds; the fields of this dataclass are flags."""
    networks: type[NetworkOptions] = Autoencoder
    """Networks that the method needs; the fields of this dataclass are flags."""
    presets: Mapping[str, Preset] = {}
    """Published settings by name, for `--preset`."""
    defaults: Mapping[str, Any] = {}
    """Values of other flags where the defaults of this method are its own: flag, with underscores -> value."""
    idle: Callable[[Any], Mapping[str, str]] = lambda options: {}
    """Options -> flags that have no effect beside them, and what those are for: they are hidden and refused."""
    settled: Callable[[Any, Any, int], Any] = lambda hyperparameters, options, steps: hyperparameters
    """(hyperparameters, options, number of steps of the run) -> hyperparameters, with numbers for those that are None,
    whose defaults follow from the others."""


DSPRITES = {"data": "sprites", "image_size": 64}
"""The data set that most papers share, as drawn here."""


def study(hyperparameters: Hyperparameters, **settings: Any) -> Preset:
    """The settings of the large-scale study (Locatello et al., 2019), which are the same for all of its methods.

    Conv nets, 10 latents, Bernoulli likelihood, 300,000 steps with batches of 64 images, Adam at 1e-4. The study swept
    six values of each method's weight; a preset holds one of the middle ones, and the method's file names all six.
    """
    common = {**DSPRITES, "network": "conv", "latents": 10, "batch_size": 64, "steps": 300_000}
    return Preset(hyperparameters, {**common, **settings})
