"""Pairs of encoder and decoder by name, for examples of any shape."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.choose import choose_or_import
from jaxvae.method import Network
from jaxvae.networks.conv import BurgessDecoder, BurgessEncoder, KimDecoder, KimEncoder, StudyDecoder, StudyEncoder
from jaxvae.networks.conv1d import SeriesDecoder, SeriesEncoder
from jaxvae.networks.linen import from_linen
from jaxvae.networks.mlp import MLPDecoder, MLPEncoder
from jaxvae.networks.shapes import picture_shape, series_shape
from jaxvae.networks.tabular import inputs_width, of_rows
from jaxvae.networks.xtanh import XtanhDecoder, XtanhEncoder
from jaxvae.schema import Schema

Shape = tuple[int, ...]


def _study(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Convolutional networks of the large-scale study (Locatello et al., 2019)."""
    return StudyEncoder(latent_dim, dtype), StudyDecoder(shape, dtype)


def _burgess(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Convolutional networks of Burgess et al. (2018), with 32 channels throughout."""
    return BurgessEncoder(latent_dim, dtype), BurgessDecoder(shape, dtype)


def _kim(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Convolutional networks of Kim & Mnih (2018), with dense layers of 128 and 4x4 kernels throughout."""
    return KimEncoder(latent_dim, dtype), KimDecoder(shape, dtype)


def _mlp(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Dense networks of Higgins et al. (2017), with layers of 1200 units and tanh in the decoder."""
    return MLPEncoder(latent_dim, dtype=dtype), MLPDecoder(shape, dtype=dtype)


def _mlp_small(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with two dense layers of 256 and ReLU, fast on a laptop."""
    return (
        MLPEncoder(latent_dim, (256, 256), dtype=dtype),
        MLPDecoder(shape, (256, 256), nn.relu, dtype),
    )


def _selu(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with four dense layers of 256 and SELU, from Graving's code after the VAE-SNE paper."""
    return MLPEncoder(latent_dim, (256,) * 4, nn.selu, dtype), MLPDecoder(shape, (256,) * 4, nn.selu, dtype)


def _elu(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with one dense layer of 128 and ELU, whose layer norms have no parameters (DRVI)."""
    encoder = MLPEncoder(latent_dim, (128,), nn.elu, dtype, layer_norm=True, affine=False)
    return encoder, MLPDecoder(shape, (128,), nn.elu, dtype, layer_norm=True, affine=False)


def _gelu(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with two dense layers of 256 and GELU, as smooth as penalties of curvature need it."""
    return MLPEncoder(latent_dim, (256, 256), nn.gelu, dtype), MLPDecoder(shape, (256, 256), nn.gelu, dtype)


def _conv1d(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Up to four convolutions over time with stride 2, and a dense layer of 256, for series of any length."""
    return SeriesEncoder(latent_dim, dtype), SeriesDecoder(series_shape(shape, "network 'conv1d'"), dtype)


def _xtanh(shape: Shape, latent_dim: int, dtype: DTypeLike) -> tuple[nn.Module, nn.Module]:
    """Dense networks with two layers of 100 and tanh(h) + h/10 (Khemakhem et al., 2020), for vectors."""
    return XtanhEncoder(latent_dim, dtype), XtanhDecoder(shape, dtype)


ARCHITECTURES: dict[str, Callable[[Shape, int, DTypeLike], tuple[nn.Module, nn.Module]]] = {
    "conv": _study,
    "burgess": _burgess,
    "kim": _kim,
    "mlp": _mlp,
    "mlp-small": _mlp_small,
    "selu": _selu,
    "elu": _elu,
    "gelu": _gelu,
    "xtanh": _xtanh,
    "conv1d": _conv1d,
}
"""Functions (event_shape, latent_dim, dtype) -> (encoder, decoder), by name."""

DENSE = ("mlp", "mlp-small", "selu", "elu", "gelu")
"""Architectures whose layers `DenseLayers` describes."""


class DenseLayers(NamedTuple):
    """Hidden layers of the architectures in `DENSE`."""

    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers; the decoder has them in reverse order. If empty, those of the
    architecture."""
    layer_norm: bool = False
    """Whether a layer norm stands before each activation; in "elu", one does in any case."""
    dropout: float = 0.0
    """Probability that a hidden unit is set to 0, from 0 to below 1. It acts on calls with a key for each example as
    the last input, as `jaxvae.training.with_dropout` makes them."""

    def of(self, encoder: MLPEncoder, decoder: MLPDecoder) -> tuple[MLPEncoder, MLPDecoder]:
        """Returns the modules with these layers.

        Raises:
          ValueError: A width is below 1, or the dropout is not a probability below 1.
        """
        if min(self.hidden, default=1) < 1:
            raise ValueError(f"the widths of hidden layers must be at least 1, got {' '.join(map(str, self.hidden))}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        layer_norm = self.layer_norm or encoder.layer_norm
        more: dict[str, Any] = {"layer_norm": layer_norm, "dropout": self.dropout}
        widths = (self.hidden, self.hidden[::-1]) if self.hidden else (encoder.widths, decoder.widths)
        return encoder.clone(widths=widths[0], **more), decoder.clone(widths=widths[1], **more)


def autoencoder(
    architecture: str,
    event_shape: Shape,
    latent_dim: int = 10,
    dtype: DTypeLike = jnp.float32,
    *,
    aux_dim: int = 0,
    schema: Schema | None = None,
    layers: DenseLayers = DenseLayers(),
) -> dict[str, Network]:
    """Builds the encoder and the decoder of a VAE.

    Args:
      architecture: Key of `ARCHITECTURES`, or "package.module:NAME" for a function of your own, which is called like
        those in `ARCHITECTURES` and returns Linen modules or `Network`s.
      event_shape: Shape of an example. "conv", "burgess" and "kim" need pictures (height, width, channels) with sides
        divisible by 16; "conv1d" needs series
        (times, values); the others take any shape.
      latent_dim: Number of latents D.
      dtype: Precision of the computation. Parameters and outputs are always float32.
      aux_dim: Number of channels, or entries of a vector, that the encoder sees in addition to those of the example.
      schema: Columns, if the examples are rows of a table: the encoder sees which values are missing.
      layers: Hidden layers of the architectures in `DENSE`.

    Returns:
      The networks "encoder", from examples to a Posterior, and "decoder", from codes to raw outputs.

    Raises:
      ValueError: The architecture is unknown or for examples of another shape, latent_dim < 1, or `layers` is out of
        range or for another architecture.
    """
    make = choose_or_import("network", architecture, ARCHITECTURES)
    if latent_dim < 1:
        raise ValueError(f"a code needs at least 1 latent, got latent_dim={latent_dim}")
    if architecture in ("conv", "burgess", "kim"):
        height, width, _ = picture_shape(event_shape, f"network {architecture!r}")
        if height % 16 or width % 16:
            raise ValueError(
                f"network {architecture!r} needs image sides divisible by 16, got {height}x{width}: "
                "choose another image size (--image-size resizes), or the network 'mlp'"
            )
    encoder, decoder = make(event_shape, latent_dim, dtype)
    if architecture in DENSE:
        encoder, decoder = layers.of(encoder, decoder)
    elif layers != DenseLayers():
        raise ValueError(f"hidden, layer_norm and dropout are for the networks {', '.join(DENSE)}: leave them out")
    seen = (*event_shape[:-1], event_shape[-1] + aux_dim)
    if schema is not None:
        seen = (inputs_width(schema) + aux_dim,)
    networks = {
        name: part if isinstance(part, Network) else from_linen(part, shape)
        for name, part, shape in (("encoder", encoder, seen), ("decoder", decoder, (latent_dim,)))
    }
    return networks if schema is None else {**networks, "encoder": of_rows(networks["encoder"], schema)}
