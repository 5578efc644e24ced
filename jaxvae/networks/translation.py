"""Networks of the ICAM, which split an image into content and attribute and translate it between two classes."""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network, Posterior
from jaxvae.networks.discriminator import SLOPE
from jaxvae.networks.layers import Conv, ConvTranspose
from jaxvae.networks.linen import from_linen
from jaxvae.networks.shapes import picture_shape

Shape = tuple[int, ...]
NORMAL = nn.initializers.normal(0.02)


class Sizes(NamedTuple):
    """Sizes of the networks."""

    width: int
    """Channels of the content encoder's first layer, a quarter of those of its last."""
    blocks: int
    """Number of residual blocks of the content encoder. The generator has one fewer, but at least one."""
    pools: int
    """Number of blocks that halve the image after the attribute encoder's first layer, which halves it as well."""
    discriminator: tuple[int, ...]
    """Channels of the discriminator's layers, each of which halves the image."""
    content: int
    """Number of layers of the content's discriminator, each of which halves it."""


SIZES = {
    "small": Sizes(8, 1, 2, (8, 16, 32), 1),
    "paper": Sizes(16, 4, 3, (16, 32, 64, 128, 256, 256), 3),
}


def conv(features: int, kernel: int, dtype: DTypeLike) -> nn.Conv:
    """Builds a convolution of stride 1 with the paper's initialization."""
    return nn.Conv(features, (kernel, kernel), kernel_init=NORMAL, dtype=dtype)


def instance_norm(x: jax.Array) -> jax.Array:
    """Normalises every channel of every image on its own, in full precision. It must be called in a compact module."""
    return nn.GroupNorm(num_groups=None, group_size=1)(x.astype(jnp.float32)).astype(x.dtype)


def halved_by_mean(x: jax.Array) -> jax.Array:
    """Takes means of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to the input."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, C] to [B, h, w, C]."""
        y = nn.relu(instance_norm(conv(x.shape[-1], 3, self.dtype)(x)))
        return x + instance_norm(conv(x.shape[-1], 3, self.dtype)(y))


class ContentEncoder(nn.Module):
    """Encodes an image into a content map with a quarter of its sides."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to content [B, H/4, W/4, 4 width], float32."""
        x = nn.relu(conv(self.sizes.width, 3, self.dtype)(image))
        for factor in (2, 4):
            x = nn.relu(instance_norm(Conv(factor * self.sizes.width, 4, self.dtype)(x)))
        for _ in range(self.sizes.blocks):
            x = ResidualBlock(self.dtype)(x)
        return x.astype(jnp.float32)


class AttributeEncoder(nn.Module):
    """Residual blocks with average pooling, then a map of means and a map of log variances."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps images [B, H, W, C] to means and log variances [B, D], with one latent per position of the last map."""
        x = nn.leaky_relu(Conv(self.sizes.width, 4, self.dtype)(image), SLOPE)
        for factor in range(2, 2 + self.sizes.pools):
            width = factor * self.sizes.width
            y = conv(width, 3, self.dtype)(nn.leaky_relu(conv(width, 3, self.dtype)(x), SLOPE))
            x = nn.leaky_relu(halved_by_mean(y + conv(width, 1, self.dtype)(x)), SLOPE)
        flat = (image.shape[0], -1)
        mean, logvar = (conv(1, 1, self.dtype)(x).reshape(flat).astype(jnp.float32) for _ in range(2))
        return Posterior(mean, logvar)


class Translator(nn.Module):
    """Decodes content and attribute, concatenated, into an image."""

    event_shape: Shape
    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, content: jax.Array, attribute: jax.Array) -> jax.Array:
        """Maps content [B, H/4, W/4, 4 width] and attribute [B, D] to images [B, H, W, C] in [-1, 1], float32."""
        height, width, channels = self.event_shape
        shrunk, repeats = 2 ** (1 + self.sizes.pools), 2 ** (self.sizes.pools - 1)
        x = attribute.reshape(-1, height // shrunk, width // shrunk, 1).astype(self.dtype)
        x = ResidualBlock(self.dtype)(conv(self.sizes.width, 3, self.dtype)(x))
        x = jnp.repeat(jnp.repeat(x, repeats, axis=1), repeats, axis=2)
        x = jnp.concatenate([content.astype(self.dtype), x], axis=-1)
        for _ in range(max(1, self.sizes.blocks - 1)):
            x = ResidualBlock(self.dtype)(x)
        for factor in (2, 1):
            x = ConvTranspose(factor * self.sizes.width, self.dtype)(x)
            # Normalised over the whole image: normalising each channel would remove the strength of the attribute.
            x = nn.leaky_relu(nn.GroupNorm(1)(x.astype(jnp.float32)).astype(self.dtype), SLOPE)
        return nn.tanh(conv(channels, 1, self.dtype)(x).astype(jnp.float32))


class ImageDiscriminator(nn.Module):
    """Convolutions of stride 2, and two heads that are averaged over the image."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps images [B, H, W, C] to the logit of being real [B] and the logits of both classes [B, 2], float32."""
        x = image
        for width in self.sizes.discriminator:
            x = nn.leaky_relu(Conv(width, 3, self.dtype)(x), SLOPE)
        real, kind = (conv(outputs, 1, self.dtype)(x).astype(jnp.float32).mean(axis=(1, 2)) for outputs in (1, 2))
        return real[:, 0], kind


class ContentDiscriminator(nn.Module):
    """Predicts the class from the content."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, content: jax.Array) -> jax.Array:
        """Maps content [B, h, w, c] to the logits of both classes [B, 2], float32."""
        x = content
        for _ in range(self.sizes.content):
            x = nn.leaky_relu(Conv(content.shape[-1], 4, self.dtype)(x), SLOPE)
        return nn.Dense(2, kernel_init=NORMAL, dtype=self.dtype)(x.reshape(x.shape[0], -1)).astype(jnp.float32)


class AttributeClassifier(nn.Module):
    """Predicts the class from the attribute by a linear map."""

    @nn.compact
    def __call__(self, attribute: jax.Array) -> jax.Array:
        """Maps attributes [B, D] to the logits of both classes [B, 2]."""
        return nn.Dense(2, kernel_init=NORMAL)(attribute)


def translation_networks(
    event_shape: Shape, size: Literal["small", "paper"] = "small", dtype: DTypeLike = jnp.float32
) -> dict[str, Network]:
    """Builds the networks of the ICAM, for images of two classes with values in [-1, 1].

    Args:
      event_shape: Shape of the images (height, width, channels), with sides divisible by 8 (small) or 64 (paper).
      size: Size of the networks: "small" has attributes of H W / 64 latents; "paper" has the two-dimensional networks
        of Bass et al. (2020), with attributes of H W / 256 latents, which are 64 for their 128 x 128 pixels.
      dtype: Precision of the computation. Parameters and outputs are always float32.

    Returns:
      The networks "content", image -> map; "attribute", image -> Posterior; "classifier", attribute -> logits [B, 2];
      "decoder", (content, attribute) -> image; "discriminator" and "random_discriminator", image -> (logit [B], logits
      [B, 2]); and "content_discriminator", content -> logits [B, 2].

    Raises:
      ValueError: The size is unknown, or the sides are not divisible.
    """
    if size not in SIZES:
        raise ValueError(f"networks are small or paper, got {size!r}")
    sizes, (height, width, _) = SIZES[size], picture_shape(event_shape, "icam")
    divisor = 2 ** max(1 + sizes.pools, len(sizes.discriminator))
    if height % divisor or width % divisor:
        raise ValueError(f"the {size} networks need image sides divisible by {divisor}, got {height}x{width}")
    content = (height // 4, width // 4, 4 * sizes.width)
    latents = (height * width) >> (2 * (1 + sizes.pools))
    return {
        "content": from_linen(ContentEncoder(sizes, dtype), event_shape),
        "attribute": from_linen(AttributeEncoder(sizes, dtype), event_shape),
        "classifier": from_linen(AttributeClassifier(), (latents,)),
        "decoder": from_linen(Translator(event_shape, sizes, dtype), content, (latents,)),
        "discriminator": from_linen(ImageDiscriminator(sizes, dtype), event_shape),
        "random_discriminator": from_linen(ImageDiscriminator(sizes, dtype), event_shape),
        "content_discriminator": from_linen(ContentDiscriminator(sizes, dtype), content),
    }
