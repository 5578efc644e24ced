"""Dense networks in place of larger ones: they are quick to compile, and have the same interfaces.

The networks themselves are tested in tests/networks, and with their methods in test_published_networks.py.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from jaxvae.method import Posterior
from jaxvae.networks.linen import from_linen
from jaxvae.networks.mlp import MLPDecoder, MLPEncoder


class Tiny(nn.Module):
    dtype: jnp.dtype

    def dense(self, x, outputs):
        return nn.Dense(outputs, dtype=self.dtype)(x).astype(jnp.float32)

    def flat(self, *inputs):
        return jnp.concatenate([x.reshape(x.shape[0], -1) for x in inputs], axis=-1)


class Map(Tiny):
    @nn.compact
    def __call__(self, image):
        return self.dense(image, image.shape[-1])


class Score(Tiny):
    """Logit [B] of an image or a code."""

    @nn.compact
    def __call__(self, x):
        return self.dense(jnp.tanh(self.dense(self.flat(x), 16)), 1)[:, 0]


class Code(Tiny):
    """[B, ...] -> [B, outputs]"""

    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.leaky_relu(self.dense(self.flat(x), self.outputs), 0.2)


class Picture(Tiny):
    """Codes -> [B, *shape] from -1 to 1."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, *codes):
        return jnp.tanh(self.dense(self.flat(*codes), math.prod(self.shape))).reshape(-1, *self.shape)


class Attribute(Tiny):
    @nn.compact
    def __call__(self, image):
        x = self.flat(image)
        return Posterior(self.dense(x, 4), self.dense(x, 4))


class Logits(Tiny):
    """Of either class, linear."""

    @nn.compact
    def __call__(self, x):
        return self.dense(self.flat(x), 2)


class Discriminator(Tiny):
    @nn.compact
    def __call__(self, image):
        x = jnp.tanh(self.dense(self.flat(image), 16))
        return self.dense(x, 1)[:, 0], self.dense(x, 2)


class Foreground(Tiny):
    @nn.compact
    def __call__(self, frame):
        return nn.relu(self.dense(frame, 4))


class Background(Tiny):
    @nn.compact
    def __call__(self, frame):
        b, height, width, c = frame.shape
        return self.dense(frame.reshape(b, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4)), 4)


class Motion(Tiny):
    @nn.compact
    def __call__(self, first, second):
        shift = jnp.tanh(0.1 * self.dense(self.flat(first, second), 2))
        still = jnp.broadcast_to(jnp.eye(2)[None], (len(first), 2, 2))
        return jnp.concatenate([still, shift[:, :, None]], axis=-1)


class Renderer(Tiny):
    channels: int

    @nn.compact
    def __call__(self, foreground, background):
        behind = background.repeat(2, axis=1).repeat(2, axis=2)
        return nn.sigmoid(self.dense(jnp.concatenate([foreground, behind], axis=-1), self.channels))


def tiny_autoencoder(event_shape, latents, dtype=jnp.float32, *, aux_dim=0, activation=nn.relu):
    """Encoder and decoder with one hidden layer, as `jaxvae.networks.autoencoder` gives those with more."""
    height, width, channels = event_shape
    encoder = MLPEncoder(latents, (64,), dtype=dtype)
    decoder = MLPDecoder(event_shape, (64,), activation, dtype)
    return {
        "encoder": from_linen(encoder, (height, width, channels + aux_dim)),
        "decoder": from_linen(decoder, (latents,)),
    }


def tiny_networks(name, event_shape, latents, dtype):
    """By name of the network; None for a method that has others."""
    height, width, _ = event_shape
    match name:
        case "va-gan":
            return {"map": from_linen(Map(dtype), event_shape), "critic": from_linen(Score(dtype), event_shape)}
        case "alae":
            return {
                "mapping": from_linen(Code(dtype, latents), (latents,)),
                "decoder": from_linen(Picture(dtype, event_shape), (latents,)),
                "encoder": from_linen(Code(dtype, latents), event_shape),
                "discriminator": from_linen(Score(dtype), (latents,)),
            }
        case "icam":
            return {
                "content": from_linen(Picture(dtype, (4, 4, 2)), event_shape),
                "attribute": from_linen(Attribute(dtype), event_shape),
                "classifier": from_linen(Logits(dtype), (4,)),
                "decoder": from_linen(Picture(dtype, event_shape), (4, 4, 2), (4,)),
                "discriminator": from_linen(Discriminator(dtype), event_shape),
                "random_discriminator": from_linen(Discriminator(dtype), event_shape),
                "content_discriminator": from_linen(Logits(dtype), (4, 4, 2)),
            }
        case "equivariant-rendering":
            frame, front, back = (height, width, 3), (height, width, 4), (height // 2, width // 2, 4)
            return {
                "foreground": from_linen(Foreground(dtype), frame),
                "background": from_linen(Background(dtype), frame),
                "motion": from_linen(Motion(dtype), frame, frame),
                "renderer": from_linen(Renderer(dtype, 3), front, back),
            }
    return None
