"""Networks that take an image apart, into content and attribute, and put it together again: those of the ICAM."""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network, Posterior
from jaxvae.networks.discriminator import SLOPE
from jaxvae.networks.layers import Conv, ConvTranspose
from jaxvae.networks.linen import from_linen

Shape = tuple[int, int, int]
NORMAL = nn.initializers.normal(0.02)


class Sizes(NamedTuple):
    """How large the networks are."""

    width: int
    """Channels of the content's first layer, a quarter of its last."""
    blocks: int
    """Residual blocks of the content encoder, and one fewer in the generator, but one at least."""
    pools: int
    """Blocks that halve an image after the attribute encoder's first layer has."""
    discriminator: tuple[int, ...]
    """Channels of its layers, which halve the image."""
    content: int
    """Layers of the content's discriminator, which halve it."""


SIZES = {
    "small": Sizes(8, 1, 2, (8, 16, 32), 1),
    "paper": Sizes(16, 4, 3, (16, 32, 64, 128, 256, 256), 3),
}


def conv(features: int, kernel: int, dtype: DTypeLike) -> nn.Conv:
    """Of stride 1, as the paper starts it."""
    return nn.Conv(features, (kernel, kernel), kernel_init=NORMAL, dtype=dtype)


def instance_norm(x: jax.Array) -> jax.Array:
    """Every channel of every image on its own, in full precision; inside a compact module."""
    return nn.GroupNorm(num_groups=None, group_size=1)(x.astype(jnp.float32)).astype(x.dtype)


def halved_by_mean(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C]"""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the input, with instance norm."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, h, w, C] -> [B, h, w, C]"""
        y = nn.relu(instance_norm(conv(x.shape[-1], 3, self.dtype)(x)))
        return x + instance_norm(conv(x.shape[-1], 3, self.dtype)(y))


class ContentEncoder(nn.Module):
    """To a quarter of the sides."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> content [B, H/4, W/4, 4 width], float32"""
        x = nn.relu(conv(self.sizes.width, 3, self.dtype)(image))
        for factor in (2, 4):
            x = nn.relu(instance_norm(Conv(factor * self.sizes.width, 4, self.dtype)(x)))
        for _ in range(self.sizes.blocks):
            x = ResidualBlock(self.dtype)(x)
        return x.astype(jnp.float32)


class AttributeEncoder(nn.Module):
    """Residual blocks with average pooling, then a map of means and one of log variances."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """[B, H, W, C] -> mean and logvar [B, D], one latent per place of the last map"""
        x = nn.leaky_relu(Conv(self.sizes.width, 4, self.dtype)(image), SLOPE)
        for factor in range(2, 2 + self.sizes.pools):
            width = factor * self.sizes.width
            y = conv(width, 3, self.dtype)(nn.leaky_relu(conv(width, 3, self.dtype)(x), SLOPE))
            x = nn.leaky_relu(halved_by_mean(y + conv(width, 1, self.dtype)(x)), SLOPE)
        flat = (image.shape[0], -1)
        mean, logvar = (conv(1, 1, self.dtype)(x).reshape(flat).astype(jnp.float32) for _ in range(2))
        return Posterior(mean, logvar)


class Translator(nn.Module):
    """Content and attribute, side by side, back to an image."""

    image_shape: Shape
    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, content: jax.Array, attribute: jax.Array) -> jax.Array:
        """[B, H/4, W/4, 4 width], [B, D] -> [B, H, W, C] from -1 to 1, float32"""
        height, width, channels = self.image_shape
        shrunk, repeats = 2 ** (1 + self.sizes.pools), 2 ** (self.sizes.pools - 1)
        x = attribute.reshape(-1, height // shrunk, width // shrunk, 1).astype(self.dtype)
        x = ResidualBlock(self.dtype)(conv(self.sizes.width, 3, self.dtype)(x))
        x = jnp.repeat(jnp.repeat(x, repeats, axis=1), repeats, axis=2)
        x = jnp.concatenate([content.astype(self.dtype), x], axis=-1)
        for _ in range(max(1, self.sizes.blocks - 1)):
            x = ResidualBlock(self.dtype)(x)
        for factor in (2, 1):
            x = ConvTranspose(factor * self.sizes.width, self.dtype)(x)
            # Over all of an image: in one channel alone it would take the attribute's strength away.
            x = nn.leaky_relu(nn.GroupNorm(1)(x.astype(jnp.float32)).astype(self.dtype), SLOPE)
        return nn.tanh(conv(channels, 1, self.dtype)(x).astype(jnp.float32))


class ImageDiscriminator(nn.Module):
    """Convolutions of stride 2, and two heads that are averaged over the image."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, H, W, C] -> logit of being real [B], and of either class [B, 2], float32"""
        x = image
        for width in self.sizes.discriminator:
            x = nn.leaky_relu(Conv(width, 3, self.dtype)(x), SLOPE)
        real, kind = (conv(outputs, 1, self.dtype)(x).astype(jnp.float32).mean(axis=(1, 2)) for outputs in (1, 2))
        return real[:, 0], kind


class ContentDiscriminator(nn.Module):
    """Tells the class from the content."""

    sizes: Sizes
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, content: jax.Array) -> jax.Array:
        """[B, h, w, c] -> logits of either class [B, 2], float32"""
        x = content
        for _ in range(self.sizes.content):
            x = nn.leaky_relu(Conv(content.shape[-1], 4, self.dtype)(x), SLOPE)
        return nn.Dense(2, kernel_init=NORMAL, dtype=self.dtype)(x.reshape(x.shape[0], -1)).astype(jnp.float32)


class AttributeClassifier(nn.Module):
    """Tells the class from the attribute, linearly."""

    @nn.compact
    def __call__(self, attribute: jax.Array) -> jax.Array:
        """[B, D] -> logits of either class [B, 2]"""
        return nn.Dense(2, kernel_init=NORMAL)(attribute)


def translation_networks(
    image_shape: Shape, size: Literal["small", "paper"] = "small", dtype: DTypeLike = jnp.float32
) -> dict[str, Network]:
    """The networks of the ICAM, for images from -1 to 1 of two classes.

    Args:
      image_shape: (height, width, channels), sides divisible by 8 (small) or 64 (paper).
      size: "small", with attributes of H W / 64 latents; or "paper", the two-dimensional nets of Bass et al. (2020),
        with attributes of H W / 256 latents, 64 for their 128 x 128 pixels.
      dtype: of the computation; parameters and outputs are float32 whatever it is.

    Returns:
      "content": image -> map; "attribute": image -> Posterior; "classifier": attribute -> logits [B, 2]; "decoder":
      (content, attribute) -> image; "discriminator" and "random_discriminator": image -> (logit [B], logits [B, 2]);
      "content_discriminator": content -> logits [B, 2].

    Raises:
      ValueError: an unknown size, or sides that are not divisible.
    """
    if size not in SIZES:
        raise ValueError(f"networks are small or paper, got {size!r}")
    sizes, (height, width, _) = SIZES[size], image_shape
    divisor = 2 ** max(1 + sizes.pools, len(sizes.discriminator))
    if height % divisor or width % divisor:
        raise ValueError(f"the {size} networks need image sides divisible by {divisor}, got {height}x{width}")
    content = (height // 4, width // 4, 4 * sizes.width)
    latents = (height * width) >> (2 * (1 + sizes.pools))
    return {
        "content": from_linen(ContentEncoder(sizes, dtype), image_shape),
        "attribute": from_linen(AttributeEncoder(sizes, dtype), image_shape),
        "classifier": from_linen(AttributeClassifier(), (latents,)),
        "decoder": from_linen(Translator(image_shape, sizes, dtype), content, (latents,)),
        "discriminator": from_linen(ImageDiscriminator(sizes, dtype), image_shape),
        "random_discriminator": from_linen(ImageDiscriminator(sizes, dtype), image_shape),
        "content_discriminator": from_linen(ContentDiscriminator(sizes, dtype), content),
    }
