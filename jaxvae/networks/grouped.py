"""A decoder in groups: each group of an image's values has a small generator, fed by a linear map of the code."""

import math
from collections import Counter
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.linen import from_linen

Shape = tuple[int, int, int]


class Generators(nn.Module):
    """One net per group, all of the same hidden widths."""

    order: tuple[int, ...]
    """Of the groups' values, one group after another, in the flat image."""
    sizes: tuple[int, ...]
    image_shape: Shape
    hidden: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, loads: jax.Array) -> jax.Array:
        """[B, G, p] -> raw outputs [B, H, W, C], float32"""
        outputs = []
        for group, size in enumerate(self.sizes):
            x = loads[:, group]
            for layer, width in enumerate(self.hidden):
                x = nn.tanh(nn.Dense(width, dtype=self.dtype, name=f"group{group}_{layer}")(x))
            outputs.append(nn.Dense(size, dtype=self.dtype, name=f"group{group}")(x))
        places = sorted(range(len(self.order)), key=self.order.__getitem__)
        values = jnp.concatenate(outputs, axis=1)[:, jnp.array(places)]
        return values.reshape(-1, *self.image_shape).astype(jnp.float32)


def grouped_decoder(
    image_shape: Shape,
    latent_dim: int,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    width: int = 1,
    hidden: Sequence[int] = (),
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """The decoder of the oi-VAE in its parts, for groups that share a code.

    Args:
      image_shape: (height, width, channels).
      latent_dim: K, the size of the code.
      groups: places of each group's values in the flat image; together all of them, each once. The rows of the image if
        not given.
      width: p, numbers that a generator is fed.
      hidden: widths of each generator's hidden layers, tanh; none is a linear generator.
      dtype: of the computation; parameters and outputs are float32 whatever it is.

    Returns:
      "loadings": code [B, K] -> [B, G, p], with the one parameter "weights" [G, K, p], standard normal at the start;
      "decoder": [B, G, p] -> raw outputs [B, H, W, C]; "scales": nothing -> log standard deviations [H, W, C].

    Raises:
      ValueError: a size below 1, or groups that are empty, overlap, or leave a value out.
    """
    values = math.prod(image_shape)
    if groups is None:
        row = values // image_shape[0]
        groups = [range(first, first + row) for first in range(0, values, row)]
    if min(latent_dim, width, *hidden) < 1 or not all(len(group) for group in groups):
        raise ValueError(
            f"no size may be 0, got latent_dim={latent_dim}, width={width}, hidden={tuple(hidden)} and groups of "
            f"{[len(group) for group in groups]} values"
        )
    order = tuple(int(place) for group in groups for place in group)
    times = Counter(order)
    wrong = sorted(place for place in {*times, *range(values)} if times[place] != 1 or place not in range(values))
    if wrong:
        raise ValueError(
            f"groups must hold each of the {values} values of an image once; not so for {len(wrong)}: {wrong[:5]}"
        )
    generators = Generators(order, tuple(len(group) for group in groups), image_shape, tuple(hidden), dtype)
    shape = (len(groups), latent_dim, width)
    return {
        "loadings": Network(
            lambda key: {"weights": jax.random.normal(key, shape)},
            lambda params, z: jnp.einsum("bk,gkp->bgp", z, params["weights"]),
        ),
        "decoder": from_linen(generators, (len(groups), width)),
        "scales": Network(lambda key: jnp.full(image_shape, math.log(0.1)), lambda params: params),
    }
