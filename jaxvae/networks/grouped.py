"""A decoder in groups: each group of pixel values has a small generator, whose input is a linear map of the code."""

import math
from collections import Counter
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.linen import from_linen

Shape = tuple[int, ...]


class Generators(nn.Module):
    """One generator per group; all have the same hidden widths."""

    order: tuple[int, ...]
    """Positions of the groups' values in the flattened example, one group after another."""
    sizes: tuple[int, ...]
    event_shape: Shape
    hidden: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, loads: jax.Array) -> jax.Array:
        """Maps the groups' inputs [B, G, p] to raw outputs [B, *event_shape], float32."""
        outputs = []
        for group, size in enumerate(self.sizes):
            x = loads[:, group]
            for layer, width in enumerate(self.hidden):
                x = nn.tanh(nn.Dense(width, dtype=self.dtype, name=f"group{group}_{layer}")(x))
            outputs.append(nn.Dense(size, dtype=self.dtype, name=f"group{group}")(x))
        places = sorted(range(len(self.order)), key=self.order.__getitem__)
        values = jnp.concatenate(outputs, axis=1)[:, jnp.array(places)]
        return values.reshape(-1, *self.event_shape).astype(jnp.float32)


def grouped_decoder(
    event_shape: Shape,
    latent_dim: int,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    width: int = 1,
    hidden: Sequence[int] = (),
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """Builds the parts of the decoder of the oi-VAE, whose groups share a code.

    Args:
      event_shape: Shape of an example.
      latent_dim: Number of latents K.
      groups: Positions of each group's values in the flattened example. Together the groups contain every position
        once. By default, they are the rows of an image, the moments of a series, or the single values of a vector.
      width: Number of inputs p of each generator.
      hidden: Widths of each generator's hidden layers, with tanh; without hidden layers, generators are linear.
      dtype: Precision of the computation. Parameters and outputs are always float32.

    Returns:
      The networks "loadings", code [B, K] -> [B, G, p], whose one parameter "weights" [G, K, p] is initialized from a
      standard normal; "decoder", [B, G, p] -> raw outputs [B, *event_shape]; and "scales", without inputs -> log
      standard deviations [*event_shape].

    Raises:
      ValueError: A size is below 1, or groups are empty, overlap, or leave a value out.
    """
    values = math.prod(event_shape)
    if groups is None:
        row = values // event_shape[0]
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
            f"groups must hold each of the {values} values of an example once; not so for {len(wrong)}: {wrong[:5]}"
        )
    generators = Generators(order, tuple(len(group) for group in groups), event_shape, tuple(hidden), dtype)
    shape = (len(groups), latent_dim, width)
    return {
        "loadings": Network(
            lambda key: {"weights": jax.random.normal(key, shape)},
            lambda params, z: jnp.einsum("bk,gkp->bgp", z, params["weights"]),
        ),
        "decoder": from_linen(generators, (len(groups), width)),
        "scales": Network(lambda key: jnp.full(event_shape, math.log(0.1)), lambda params: params),
    }
