"""What the command line asks for, as data, and how it becomes a method and a source."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, NamedTuple, Self, TypeVar

import jax.numpy as jnp
import tyro

from jaxvae.data import DATA, Source
from jaxvae.method import Method
from jaxvae.methods import METHODS, Likelihood, bernoulli, gaussian, laplace
from jaxvae.networks import ARCHITECTURES, autoencoder

HP = TypeVar("HP")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LIKELIHOODS = {"bernoulli": bernoulli, "gaussian": gaussian, "laplace": laplace}


@dataclass(frozen=True)
class Config(Generic[HP]):
    """Everything that decides the numbers of a run. Two runs of one Config on one machine end in the same bits."""

    method: tyro.conf.Fixed[str]
    """see `jaxvae list`"""
    hp: HP
    """hyperparameters of the method"""
    data: str = "scene"
    """see `jaxvae list`"""
    image_size: int | None = None
    """pixels per side, a multiple of 16; the data's own if not given"""
    network: str = "mlp-small"
    """see `jaxvae list`"""
    latents: int = 10
    """size of the code"""
    likelihood: str = "bernoulli"
    """of a pixel: bernoulli, gaussian or laplace"""
    scale: float = 1.0
    """standard deviation of the gaussian, or scale of the laplace likelihood"""
    steps: int = 5000
    """updates in all, those before an interruption included"""
    batch_size: int = 128
    """images per update"""
    seed: int = 0
    """of everything random"""
    dtype: str = "float32"
    """of the networks' arithmetic: float32 or bfloat16; parameters and losses stay float32"""
    log_every: int = 100
    """updates per row of metrics.jsonl"""
    checkpoint_every: int = 1000
    """updates per checkpoint"""

    def to_json(self) -> dict[str, Any]:
        """As nested dicts of JSON values."""
        return {**asdict(replace(self, hp=None)), "hp": self.hp._asdict()}  # type: ignore[attr-defined, arg-type]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. ValueError for another version's fields."""
        try:
            hp = choose("method", values["method"], METHODS).hyperparameters(**values["hp"])
            return cls(**{**values, "hp": hp})
        except (TypeError, KeyError) as error:
            raise ValueError(f"this config.json was not written by this version of jaxvae: {error}") from error


class Experiment(NamedTuple):
    """A Config made real."""

    source: Source
    method: Method


def build(config: Config[Any]) -> Experiment:
    """The source and the method that a Config names. ValueError, in one line, for what can't be."""
    for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("log_every", 1), ("checkpoint_every", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(config, name)}")
    if config.seed >= 2**32:
        raise ValueError(f"--seed must be below 2**32, got {config.seed}")
    for name, value in config.hp._asdict().items():
        if not math.isfinite(value):
            raise ValueError(f"hyperparameter {name} must be a finite number, got {value}")
        if name == "warmup" and value < 0:
            raise ValueError(f"warmup is a number of updates and must be >= 0, got {value}")
    if config.hp.learning_rate <= 0:
        raise ValueError(f"the learning rate must be positive, got {config.hp.learning_rate}")
    make_source = choose("data", config.data, DATA)
    source = make_source() if config.image_size is None else make_source(resolution=config.image_size)
    choose("network", config.network, ARCHITECTURES)
    dtype = choose("dtype", config.dtype, DTYPES)
    networks = autoencoder(config.network, source.image_shape, config.latents, dtype)
    method = choose("method", config.method, METHODS).build(
        networks, likelihood=_likelihood(config), hyperparameters=config.hp
    )
    return Experiment(source, method)


def choose(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """`options[name]`, or a ValueError that lists what there is and suggests the nearest."""
    if name in options:
        return options[name]
    raise ValueError(f"unknown {kind} {name!r}{_nearest(name, options)} There are: {', '.join(options)}.")


def _nearest(name: str, options: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, options, n=1)
    return f": did you mean {near[0]!r}?" if near else "."


def _likelihood(config: Config[Any]) -> Likelihood:
    make = choose("likelihood", config.likelihood, LIKELIHOODS)
    if config.likelihood == "bernoulli":
        return make()
    if not 0 < config.scale < math.inf:
        raise ValueError(f"the scale of the {config.likelihood} likelihood must be positive, got {config.scale}")
    return make(config.scale)
