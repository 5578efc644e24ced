"""The networks of a method, as options of the command line: dataclasses whose fields are flags and that make networks.

A method whose networks are an autoencoder names one of these classes in its entry; others define a class of their own
beside the method.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self

import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.choose import choose
from jaxvae.method import Network
from jaxvae.networks.autoencoders import DENSE, DenseLayers, autoencoder
from jaxvae.networks.discriminator import SLOPE, discriminator
from jaxvae.schema import schema_of


class Examples(Protocol):
    """Properties of the data that networks depend on. Any `jaxvae.data.Source` has them."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an example: (height, width, channels) of a picture, (D,) of a vector, (T, D) of a series."""
        ...

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each factor."""
        ...


@dataclass(frozen=True)
class NetworkOptions:
    """Networks."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks' arithmetic. Parameters and losses are float32 in any case."""

    def make(self, source: Examples) -> dict[str, Network]:
        """Builds the networks for the examples of a source, by name.

        Raises:
          ValueError: The sizes are incompatible. The message is one line.
        """
        raise NotImplementedError

    def settled(self) -> Self:
        """Returns the networks without references to files that may change."""
        return self

    def idle(self, tabular: bool) -> dict[str, str]:
        """Returns flags that have no effect with these settings, and what each of them is for.

        `tabular` tells whether the examples are the rows of a table with kinds of columns.
        """
        return {}

    @property
    def noisy(self) -> tuple[str, ...]:
        """Names of the networks with dropout, see `jaxvae.training.with_dropout`."""
        return ()

    @property
    def jax_dtype(self) -> DTypeLike:
        """Precision as a JAX dtype."""
        return choose("dtype", self.dtype, {"float32": jnp.float32, "bfloat16": jnp.bfloat16})


@dataclass(frozen=True)
class Autoencoder(NetworkOptions):
    """Encoder and decoder."""

    network: str = "mlp-small"
    """Architecture of encoder and decoder, as `jaxvae list` gives it."""
    latents: int = 10
    """Number of latents."""
    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers, such as 128 64; the decoder has them in reverse order. By default, those
    of the network."""
    layer_norm: bool = False
    """Puts a layer norm before the activation of each hidden layer."""
    dropout: float = 0.0
    """Probability of setting a hidden unit to 0 during training, at least 0 and below 1."""

    without_dropout: ClassVar[tuple[str, ...]] = ()
    """Networks of the autoencoder that are of another kind, without dropout."""

    def make(self, source: Examples) -> dict[str, Network]:
        """Builds an encoder and a decoder."""
        return self.autoencoder(source)

    def autoencoder(self, source: Examples, aux_dim: int = 0) -> dict[str, Network]:
        """Builds an encoder that sees `aux_dim` further values, and a decoder."""
        return autoencoder(
            self.network,
            source.event_shape,
            self.latents,
            self.jax_dtype,
            aux_dim=aux_dim,
            schema=schema_of(source),
            layers=self.layers,
        )

    @property
    def layers(self) -> DenseLayers:
        """Hidden layers of dense networks."""
        return DenseLayers(self.hidden, self.layer_norm, self.dropout)

    def idle(self, tabular: bool) -> dict[str, str]:
        """Convolutions have no such layers, and "elu" has layer norms anyway."""
        if self.network == "elu":
            return {"layer_norm": "--network mlp, mlp-small, selu and gelu"}
        dense = f"--network {', '.join(DENSE[:-1])} and {DENSE[-1]}"
        return {} if self.network in DENSE else dict.fromkeys(("hidden", "layer_norm", "dropout"), dense)

    @property
    def noisy(self) -> tuple[str, ...]:
        """Encoder and decoder, with dropout."""
        return tuple(name for name in ("encoder", "decoder") if self.dropout and name not in self.without_dropout)


@dataclass(frozen=True)
class WithDiscriminator(Autoencoder):
    """Encoder, decoder, and a discriminator of codes."""

    discriminator: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers of the discriminator."""

    logits: ClassVar[int] = 2

    @property
    def slope(self) -> float:
        """Slope of the discriminator's leaky ReLU below 0."""
        return SLOPE

    def make(self, source: Examples) -> dict[str, Network]:
        """Builds an encoder, a decoder and a discriminator."""
        critic = discriminator(self.latents, self.logits, self.discriminator, self.jax_dtype, self.slope)
        return {**super().make(source), "discriminator": critic}


@dataclass(frozen=True)
class SizedNetworks(NetworkOptions):
    """Networks of a fixed architecture."""

    net_size: Literal["small", "paper"] = "small"
    """Size of the networks: small, or as published."""
